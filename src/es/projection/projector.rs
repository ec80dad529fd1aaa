//! The projector: takes pages of the feed into projections, rows and checkpoint in one
//! transaction.
//!
//! Each projection has a checkpoint of its own, so that one can fail, lag or be rebuilt alone.
//! Those that stand at the same position share a page and a transaction. A rebuild is one more
//! build of a projection, at a position of its own, which is renamed into place once it has
//! caught up; there is no second code path for it.
//!
//! SQLite has one writer, so one thread does all of this. While something is behind (a rebuild,
//! a projection that was stopped), pages for it and for the front are fetched side by side and taken in
//! the order in which they come. Of each there is one at a time, so neither starves the other.
//!
//! Far from the end of the log a transaction takes several pages, since a row that many of them
//! change is then written once. Near it each page is committed at once: somebody waits for it.
//!
//! **Invariant:** a build takes event `checkpoint + 1` of the log it began with, or nothing.
//! Anything else stops it loudly: a gap, another log, a broken hash chain, an event that it
//! cannot apply.
//!
//! Read next: `table_set.rs`, one set of tables; `projector/continuity.rs`, how a log that was restored
//! is found; `projector/rebuild.rs`; `follower.rs`, the threads around it.

mod continuity;
mod head;
mod rebuild;
mod reserve;
#[cfg(test)]
pub(in crate::es) mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use uuid::Uuid;

use crate::es::database_file::{DatabaseFile, DatabasePath, FileLock};
use crate::es::projection::checked_page::{CheckedPage, follows};
use crate::es::projection::definition::{Definition, NEAR};
use crate::es::projection::event::{CatchUpError, Notice};
use crate::es::projection::read_db::{self as store, Checkpoint, Form, OpenError};
use crate::es::projection::status::Fill;
use crate::es::projection::status::{ProjectionStatus, Published};
use crate::es::projection::table_set::{Build, Failure};
use crate::es::{Feed, MAX_PAGE};
use reserve::Reserve;

/// What to do about a feed that does not continue what was read.
const REMEDY: &str = "Start the right event store, or delete this database to follow the one that is there";

/// Projections and their database. Drive it yourself with [`Projector::catch_up`], or let it
/// follow a feed on threads of its own with [`Projector::start`].
pub struct Projector {
    db: Connection,
    // Dropped in this order: the descriptor of the file goes after SQLite's.
    _lock: FileLock,
    file: Arc<DatabaseFile>,
    log_id: Option<Uuid>,
    /// One for each definition, in order.
    live: Vec<Build>,
    /// What is being rebuilt beside them.
    next: Vec<Build>,
    proof: continuity::Proof,
    /// Pages in the transaction that is open; none is with 0.
    open_pages: usize,
    memory: Footprint,
    /// Rebuilds that were given up and whose tables could not be dropped yet.
    leftover: Vec<Definition>,
    /// There while something is rebuilt, unless the disk had no space for it.
    reserve: Option<Reserve>,
    pub(in crate::es) published: Arc<Published>,
    /// How long it rests after a page of a fast stream while nobody asks.
    pub(in crate::es) rest: Duration,
    pub(in crate::es) notice: Box<dyn Fn(Notice) + Send>,
    committed: Box<dyn Fn() + Send>,
}

/// Whether a replay has filled the caches, and its commits write much at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Footprint {
    Small,
    Large,
}

/// How long the lock on the database is waited for: a verification has it for the moment of a look.
const LOOK: Duration = Duration::from_millis(500);

/// A page with so many events is a part of a replay, not of following.
const LARGE_PAGE: usize = 1_000;

/// Pages in one transaction, at most. With 10 000 accounts, nine in ten events of one page touch
/// another row, and one in eight of so many pages. More would hold more rows in memory.
const MOST_OPEN_PAGES: usize = 32;

/// The part of the log that is wanted next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::es) struct Request {
    pub(in crate::es) after: u64,
    pub(in crate::es) limit: u32,
    pub(in crate::es) wait: Duration,
    pub(in crate::es) purpose: Purpose,
}

/// What a page is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::es) enum Purpose {
    /// To read on.
    Follow,
    /// To see that the last event that was read is still there, after so many doubts.
    Proof(u64),
    /// To learn where the log ends, while every build has stopped.
    Head,
}

impl Projector {
    /// Opens or creates the database at `path` with the projections `definitions`. Rows of
    /// another version of a projection are rebuilt beside the old ones; a rebuild that was interrupted goes
    /// on where it was.
    ///
    /// # Errors
    /// See [`OpenError`]; the file is not changed then.
    pub fn open(path: &Path, definitions: &[Definition]) -> Result<Self, OpenError> {
        Self::open_within(LOOK, path, definitions)
    }

    /// As [`Projector::open`], and waits for `patience` at most while another process has the database.
    ///
    /// # Errors
    /// See [`OpenError`]; the file is not changed then.
    pub fn open_within(
        patience: Duration,
        path: &Path,
        definitions: &[Definition],
    ) -> Result<Self, OpenError> {
        let file = DatabaseFile::existing_or_new(DatabasePath::resolve(path)?)?;
        let lock = file.lock(patience).map_err(|refused| OpenError::in_use(file.path(), refused.holder))?;
        // The process that had it may have taken the name along.
        file.check().map_err(rusqlite::Error::from)?;
        let mut db = store::open(&file)?;
        let mut live = Vec::new();
        let mut next = Vec::new();
        let mut statuses = Vec::new();
        for (index, definition) in definitions.iter().enumerate() {
            let found = store::live(&mut db, definition)?;
            statuses.push((*definition, found.checkpoint.position, found.fill));
            live.push(Build::new(definition, index, found.names, found.checkpoint).of_form(found.form));
            let replacement = match (store::unfinished_next(&db, definition)?, found.form) {
                (Some(unfinished), _) => Some(unfinished),
                (None, Form::Outdated) => Some((store::begin_next(&mut db, definition)?, Checkpoint::START)),
                (None, Form::Current) => None,
            };
            let replacement = replacement.map(|(names, at)| Build::new(definition, index, names, at));
            next.extend(replacement);
        }
        let published = Published::new(statuses.into_iter());
        next.iter().for_each(|build| published.rebuild_begins(build.index, build.checkpoint.position));
        // An interrupted rebuild goes on without it on a full disk, as far as it comes.
        let reserve = if next.is_empty() { None } else { Reserve::beside(&file).ok() };
        Ok(Self {
            log_id: store::log_id(&db)?,
            db,
            _lock: lock,
            file: Arc::new(file),
            live,
            next,
            proof: continuity::Proof::default(),
            open_pages: 0,
            memory: Footprint::Small,
            leftover: Vec::new(),
            reserve,
            published: Arc::new(published),
            rest: Duration::ZERO,
            notice: Box::new(|_| {}),
            committed: Box::new(|| {}),
        })
    }

    /// The same projector, which tells `notice` what a log should show.
    #[must_use]
    pub fn with_notice(mut self, notice: impl Fn(Notice) + Send + 'static) -> Self {
        self.notice = Box::new(notice);
        self
    }

    /// The same projector, which calls `committed` after each commit and before anybody is told of
    /// it: whoever keeps a snapshot of the rows lets go of it there. It must be quick.
    #[must_use]
    pub fn with_commit_hook(mut self, committed: impl Fn() + Send + 'static) -> Self {
        self.committed = Box::new(committed);
        self
    }

    /// The same projector, which rests for `rest` after each page of a fast stream while nobody asks
    /// for its rows: it costs less then, and its rows are older. Who reads them says so before, with
    /// [`super::RunningProjector::hurry`].
    #[must_use]
    pub fn with_rests_of(mut self, rest: Duration) -> Self {
        self.rest = rest;
        self
    }

    /// The database, for connections that read it.
    pub fn file(&self) -> &Arc<DatabaseFile> {
        &self.file
    }

    /// How each projection stands, in the order of the definitions.
    pub fn status(&self) -> Vec<ProjectionStatus> {
        self.published.statuses()
    }

    /// Takes everything that `feed` has up to position `until` at most, without waiting for more.
    /// Rebuilds that were begun are completed on the way.
    ///
    /// # Errors
    /// When the feed fails or says what must not be applied, or the database refuses. What was
    /// taken before is kept. A projection that an event stops is no error here; see
    /// [`Projector::status`].
    pub fn catch_up(&mut self, feed: &mut dyn Feed, until: u64) -> Result<(), CatchUpError> {
        let taken = self.take_until(feed, until);
        taken.and(self.commit())
    }

    fn take_until(&mut self, feed: &mut dyn Feed, until: u64) -> Result<(), CatchUpError> {
        while self.positions().first().is_some_and(|lowest| *lowest < until) {
            let front = || self.wanted_at_front(Duration::ZERO);
            let Some(mut request) = self.wanted_behind().or_else(front) else { break };
            let left = until.saturating_sub(request.after);
            request.limit = u32::try_from(left).unwrap_or(u32::MAX).clamp(1, request.limit);
            let taken = self.fetch_and_take(feed, &request);
            if taken.inspect_err(|_| self.doubt())? == 0 && self.positions().len() == 1 {
                break;
            }
        }
        Ok(())
    }

    fn fetch_and_take(&mut self, feed: &mut dyn Feed, request: &Request) -> Result<usize, CatchUpError> {
        let asked = Instant::now();
        let page = feed.page(request.after, request.limit, request.wait);
        let page = page.map_err(|error| CatchUpError::Feed(error.to_string()))?;
        let page = CheckedPage::read(page, asked).map_err(|error| CatchUpError::Feed(error.to_string()))?;
        self.take(request, &page)?;
        Ok(page.len())
    }

    /// The next page for the builds that have come furthest, waiting at the end of the log for
    /// `patience` at most; nothing when every build has stopped, or when what is behind is so near
    /// that one page brings it there: if the front went on, they might never meet.
    pub(in crate::es) fn wanted_at_front(&self, patience: Duration) -> Option<Request> {
        let positions = self.positions();
        let (Some(&lowest), Some(&highest)) = (positions.first(), positions.last()) else {
            // Nothing can be applied, but how far the rows are behind must not stand still.
            let after = self.furthest().max(self.published.head().unwrap_or(0));
            return Some(Request { after, limit: 1, wait: patience, purpose: Purpose::Head });
        };
        if let Some(proof) = self.proof.wanted(highest) {
            return Some(proof);
        }
        let is_near = lowest < highest && highest - lowest <= u64::from(MAX_PAGE);
        let purpose = Purpose::Follow;
        (!is_near).then_some(Request { after: highest, limit: MAX_PAGE, wait: patience, purpose })
    }

    /// The next page for the build that is furthest behind the front, if one is: up to where the
    /// next one stands, so that they meet there and go on together.
    pub(in crate::es) fn wanted_behind(&self) -> Option<Request> {
        if self.is_in_doubt() {
            return None;
        }
        let positions = self.positions();
        let after = *positions.first()?;
        let above = positions.range(after + 1..).next()?;
        let limit = u32::try_from(above - after).unwrap_or(MAX_PAGE).min(MAX_PAGE);
        Some(Request { after, limit, wait: Duration::ZERO, purpose: Purpose::Follow })
    }

    fn positions(&self) -> BTreeSet<u64> {
        let builds = self.live.iter().chain(&self.next);
        builds.filter(|build| !build.has_stopped()).map(|build| build.reached.position).collect()
    }

    /// Takes a page into all builds that stand where it begins. Whether what was taken is
    /// committed is for [`Projector::has_more_to_come`] to say, and for [`Projector::commit`] to do.
    pub(in crate::es) fn take(&mut self, request: &Request, page: &CheckedPage) -> Result<(), CatchUpError> {
        match request.purpose {
            Purpose::Follow => {}
            Purpose::Proof(doubts) => return self.prove(doubts, request, page),
            Purpose::Head => return self.take_head(page),
        }
        self.check(request.after, page)?;
        self.learn_head(page)?;
        if page.len() > 0 {
            self.goes_on(request.after);
            self.apply(request, page).or_else(|failure| self.roll_back(failure))?;
        }
        if self.has_more_to_come(page) {
            return Ok(());
        }
        self.commit()?;
        self.goes_well();
        if page.len() >= LARGE_PAGE && self.memory == Footprint::Small {
            store::checkpoint_at(&self.db, store::REPLAY_CHECKPOINT_PAGES)?;
            self.memory = Footprint::Large;
        } else if page.len() < LARGE_PAGE && self.memory == Footprint::Large && self.next.is_empty() {
            self.shrink()?;
        }
        Ok(())
    }

    /// Whether the transaction stays open for another page, because the end of the log is far.
    fn has_more_to_come(&self, page: &CheckedPage) -> bool {
        let is_far = |last| page.head.saturating_sub(last) >= NEAR;
        (1..MOST_OPEN_PAGES).contains(&self.open_pages) && page.last_position().is_some_and(is_far)
    }

    /// Whether what was taken is still to be committed.
    pub(in crate::es) fn is_open(&self) -> bool {
        self.open_pages > 0
    }

    /// Commits what was taken, and reports it.
    pub(in crate::es) fn commit(&mut self) -> Result<(), CatchUpError> {
        self.check_file()?;
        if self.is_open() {
            self.try_commit().or_else(|failure| self.roll_back(failure))?;
            self.goes_well();
            if !self.next.is_empty()
                && let Err(error) = self.set_space_aside()
            {
                self.give_up_rebuilds(&format!("{}: {error}", rebuild::NO_SPACE))?;
            }
        }
        self.drop_leftovers()?;
        self.publish()?;
        self.stop_the_poisoned()?;
        self.swap_what_is_complete()
    }

    /// Nothing is committed to a file that has lost its name: queries would never see it.
    fn check_file(&mut self) -> Result<(), CatchUpError> {
        let checked = self.file.check();
        checked.or_else(|displaced| self.roll_back(Failure::Database(displaced.into())))
    }

    /// What stood in the way is over. Said only when nothing is left that could still be refused: a full
    /// disk takes the pages of a transaction, and refuses its commit.
    fn goes_well(&self) {
        if self.published.feed_is_sound() {
            (self.notice)(Notice::FeedIsSound);
        }
    }

    /// Gives back what a replay has taken; between two transactions no build needs its memory.
    fn shrink(&mut self) -> rusqlite::Result<()> {
        for build in &mut self.live {
            build.forget();
        }
        store::checkpoint_at(&self.db, store::CHECKPOINT_PAGES)?;
        self.memory = Footprint::Small;
        self.db.execute_batch("PRAGMA shrink_memory")
    }

    /// Whether a page that was asked for so is still to be taken. Without proof of the feed nothing is; and
    /// after a rollback no build stands where it begins: it is asked for again.
    pub(in crate::es) fn is_of_use(&self, request: &Request) -> bool {
        match request.purpose {
            Purpose::Follow => !self.is_in_doubt() && self.at(request.after).next().is_some(),
            Purpose::Proof(_) | Purpose::Head => true,
        }
    }

    /// Whether the page continues what was read up to `after`.
    fn check(&self, after: u64, page: &CheckedPage) -> Result<(), CatchUpError> {
        self.check_log(after, page)?;
        let Some(first) = page.events().next() else {
            return Ok(());
        };
        for build in self.at(after) {
            follows(&first, after, &build.reached.hash)
                .map_err(|error| CatchUpError::Feed(format!("{error}. {REMEDY}")))?;
        }
        Ok(())
    }

    fn at(&self, position: u64) -> impl Iterator<Item = &Build> {
        let builds = self.live.iter().chain(&self.next);
        builds.filter(move |build| build.stands_at(position))
    }

    /// Takes the page into a transaction: the one that is open, or a new one.
    fn apply(&mut self, request: &Request, page: &CheckedPage) -> Result<(), Failure> {
        if !self.is_open() {
            self.db.execute_batch("BEGIN IMMEDIATE")?;
        }
        self.open_pages += 1;
        if self.log_id.is_none() {
            store::remember_log(&self.db, page.log_id)?;
            self.log_id = Some(page.log_id);
        }
        for build in self.live.iter_mut().chain(&mut self.next) {
            if build.reached.position == request.after {
                build.run(&self.db, page, request.limit)?;
            }
        }
        Ok(())
    }

    /// One commit: the rows of each build, and its checkpoint.
    fn try_commit(&mut self) -> Result<(), Failure> {
        for build in self.live.iter_mut().chain(&mut self.next) {
            build.flush(&self.db)?;
            crash_point!("between-rows-and-checkpoint");
            if build.reached != build.checkpoint {
                let name = store::build_name(&build.definition, build.names.suffix());
                store::advance(&self.db, &name, build.checkpoint, build.reached)?;
            }
        }
        crash_point!("before-checkpoint-commit");
        self.db.execute_batch("COMMIT")?;
        crash_point!("after-checkpoint-commit");
        self.open_pages = 0;
        (self.committed)();
        for build in self.live.iter_mut().chain(&mut self.next) {
            build.checkpoint = build.reached;
        }
        Ok(())
    }

    /// Goes back to what is committed. A build that an event has stopped goes no further than that;
    /// the pages are asked for again, for it and for the others.
    fn roll_back(&mut self, failure: Failure) -> Result<(), CatchUpError> {
        self.open_pages = 0;
        for build in self.live.iter_mut().chain(&mut self.next) {
            build.go_back();
        }
        // Some failures have rolled back already.
        if !self.db.is_autocommit() {
            self.db.execute_batch("ROLLBACK")?;
        }
        self.log_id = store::log_id(&self.db)?;
        match failure {
            // The rows of a rebuild can be made again at any time; those that answer have to go on.
            Failure::Database(error) if is_full(&error) && !self.next.is_empty() => {
                self.give_up_rebuilds(&error.to_string())
            }
            Failure::Database(error) => Err(CatchUpError::Database(error)),
            Failure::Poison => Ok(()),
        }
    }

    fn publish(&mut self) -> rusqlite::Result<()> {
        for build in &self.live {
            let position = build.checkpoint.position;
            if let Fill::Until(until) = self.published.fill(build.index)
                && position >= until
                && build.is_current()
            {
                // Before the position is raised: a query that waits for it is to be answered.
                self.published.set_fill(build.index, Fill::Done);
                store::keep_fill(&self.db, build.definition.name, Fill::Done)?;
            }
            self.published.reached(build.index, position);
        }
        for build in &self.next {
            self.published.rebuild_reached(build.index, build.checkpoint.position);
            crash_point!("in-rebuild");
        }
        Ok(())
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

impl fmt::Debug for Projector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projector").field("log_id", &self.log_id).field("status", &self.status()).finish()
    }
}
