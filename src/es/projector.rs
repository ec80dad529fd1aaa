//! The projector: takes pages of the feed into projections, rows and checkpoint in one
//! transaction.
//!
//! Each projection has a checkpoint of its own, so that one can fail, lag or be rebuilt alone.
//! Those that stand at the same position share a page and a transaction. A rebuild is one more
//! build of a projection, at a position of its own, which is renamed into place once it has
//! caught up; there is no second code path for it.
//!
//! SQLite has one writer, so one thread does all of this. While something is behind (a rebuild,
//! a projection that was stopped), pages for it and for the front take turns: following the log
//! never starves, and a rebuild gets at least half of the time.
//!
//! **Invariant:** a build takes event `checkpoint + 1` of the log it began with, or nothing.
//! Anything else stops it loudly: a gap, another log, a broken hash chain, an event that it
//! cannot apply.
//!
//! Read next: `projector/proof.rs`, how a log that was restored is found; then `projection_loop.rs`,
//! the threads around it.

mod proof;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use uuid::Uuid;

use super::Feed;
use super::projection::{Definition, MAX_PAGE, Names, ProjectionError, Rows};
use super::projection_notice::{CatchUpError, Notice};
use super::projection_page::{CheckedPage, follows};
use super::projection_status::{ProjectionStatus, Published};
use super::projection_store::{self as store, Checkpoint, Found, OpenError};

/// What to do about a feed that does not continue what was read.
const REMEDY: &str = "Start the right event store, or delete this database to follow the one that is there";

/// Projections and their database. Drive it yourself with [`Projector::catch_up`], or let it
/// follow a feed on threads of its own with [`Projector::start`].
pub struct Projector {
    db: Connection,
    log_id: Option<Uuid>,
    /// One for each definition, in order.
    live: Vec<Build>,
    /// What is being rebuilt beside them.
    next: Vec<Build>,
    turn: Turn,
    proof: proof::Proof,
    memory: Footprint,
    pub(super) published: Arc<Published>,
    pub(super) notice: Box<dyn Fn(Notice) + Send>,
    committed: Box<dyn Fn() + Send>,
}

/// One set of tables that a projection fills.
struct Build {
    definition: Definition,
    /// Of its definition.
    index: usize,
    names: Names,
    rows: Box<dyn Rows>,
    checkpoint: Checkpoint,
    poison: Option<Poison>,
}

/// The event that a build stopped before, and why.
struct Poison {
    position: u64,
    error: String,
}

/// Whether a replay has filled the caches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Footprint {
    Small,
    Large,
}

/// A page with so many events is a part of a replay, not of following.
const LARGE_PAGE: usize = 1_000;

#[derive(Clone, Copy)]
enum Turn {
    Front,
    Behind,
}

/// The part of the log that is wanted next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) after: u64,
    pub(super) limit: u32,
    pub(super) wait: Duration,
    pub(super) purpose: Purpose,
}

/// What a page is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To read on.
    Follow,
    /// To see that the last event that was read is still there.
    Proof,
}

impl Projector {
    /// Opens or creates the database at `path` with the projections `definitions`. Rows of
    /// another version of a projection are dropped here and replayed later; a rebuild that was
    /// interrupted goes on where it was.
    ///
    /// # Errors
    /// See [`OpenError`]; the file is not changed then.
    pub fn open(path: &Path, definitions: &[Definition]) -> Result<Self, OpenError> {
        let mut db = store::open(path)?;
        let mut live = Vec::new();
        let mut next = Vec::new();
        let mut outdated = Vec::new();
        for (index, definition) in definitions.iter().enumerate() {
            let (names, checkpoint, found) = store::live(&mut db, definition)?;
            live.push(Build::new(definition, index, names, checkpoint));
            match found {
                Found::Usable => {}
                Found::Outdated => outdated.push(index),
            }
            if let Some((names, checkpoint)) = store::unfinished_next(&db, definition)? {
                next.push(Build::new(definition, index, names, checkpoint));
            }
        }
        let published =
            Published::new(live.iter().map(|build| (build.definition, build.checkpoint.position)));
        outdated.iter().for_each(|index| published.replays_in_place(*index));
        next.iter().for_each(|build| published.rebuild_begins(build.index, build.checkpoint.position));
        Ok(Self {
            log_id: store::log_id(&db)?,
            db,
            live,
            next,
            turn: Turn::Front,
            proof: proof::Proof::default(),
            memory: Footprint::Small,
            published: Arc::new(published),
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
        while self.positions().first().is_some_and(|lowest| *lowest < until) {
            let Some(mut request) = self.wanted(Duration::ZERO) else { break };
            let left = until.saturating_sub(request.after);
            if left == 0 && request.purpose == Purpose::Follow {
                continue; // The front is there; what is behind has the next turn.
            }
            request.limit = u32::try_from(left).unwrap_or(u32::MAX).clamp(1, request.limit);
            let taken = self.fetch_and_take(feed, &request);
            if taken.inspect_err(|_| self.doubt())? == 0 && self.positions().len() == 1 {
                break;
            }
        }
        Ok(())
    }

    fn fetch_and_take(&mut self, feed: &mut dyn Feed, request: &Request) -> Result<usize, CatchUpError> {
        let page = feed.page(request.after, request.limit, request.wait);
        let page = page.map_err(|error| CatchUpError::Feed(error.to_string()))?;
        let page = CheckedPage::read(page).map_err(|error| CatchUpError::Feed(error.to_string()))?;
        self.take(request, &page)?;
        Ok(page.len())
    }

    /// Begins to rebuild a projection from the first event, beside its live rows.
    ///
    /// # Errors
    /// When the database refuses; nothing has begun then.
    pub(super) fn begin_rebuild(&mut self, index: usize) -> rusqlite::Result<()> {
        let definition = self.live[index].definition;
        let begun = store::begin_next(&mut self.db, &definition);
        let names = begun.inspect_err(|error| {
            self.published.rebuild_ends(index, Err(error.to_string()));
        })?;
        (self.committed)();
        self.next.push(Build::new(&definition, index, names, Checkpoint::START));
        self.published.rebuild_begins(index, 0);
        (self.notice)(Notice::RebuildBegan { projection: definition.name });
        self.swap_what_is_complete()
    }

    /// The page that is wanted next, waiting at its end for `patience` at most; nothing when
    /// every build has stopped. What is behind is read up to where the next one stands, so that
    /// they meet there and go on together.
    pub(super) fn wanted(&mut self, patience: Duration) -> Option<Request> {
        let positions = self.positions();
        let (lowest, front) = (*positions.first()?, *positions.last()?);
        if let Some(proof) = self.proof.wanted(front) {
            return Some(proof);
        }
        let purpose = Purpose::Follow;
        let Some(&above) = positions.range(lowest + 1..).next() else {
            return Some(Request { after: lowest, limit: MAX_PAGE, wait: patience, purpose });
        };
        self.turn = match self.turn {
            Turn::Front => Turn::Behind,
            Turn::Behind => Turn::Front,
        };
        let (after, limit) = match self.turn {
            Turn::Front => (front, MAX_PAGE),
            Turn::Behind => (lowest, u32::try_from(above - lowest).unwrap_or(MAX_PAGE).min(MAX_PAGE)),
        };
        Some(Request { after, limit, wait: Duration::ZERO, purpose })
    }

    fn positions(&self) -> BTreeSet<u64> {
        let builds = self.live.iter().chain(&self.next);
        builds.filter(|build| build.poison.is_none()).map(|build| build.checkpoint.position).collect()
    }

    /// Takes a page into all builds that stand where it begins.
    pub(super) fn take(&mut self, request: &Request, page: &CheckedPage) -> Result<(), CatchUpError> {
        match request.purpose {
            Purpose::Follow => {}
            Purpose::Proof => return self.prove(request, page),
        }
        self.check(request.after, page)?;
        if self.published.feed_is_sound(page.head) {
            (self.notice)(Notice::FeedIsSound);
        }
        if page.len() > 0 {
            self.apply(request, page)?;
        }
        self.publish(request.after);
        self.stop_the_poisoned()?;
        self.swap_what_is_complete()?;
        if page.len() >= LARGE_PAGE {
            self.memory = Footprint::Large;
        } else if self.memory == Footprint::Large && self.next.is_empty() {
            self.shrink()?;
        }
        Ok(())
    }

    /// Gives back what a replay has taken; between two transactions no build needs its memory.
    fn shrink(&mut self) -> rusqlite::Result<()> {
        for build in &mut self.live {
            build.rows = (build.definition.over)(&build.names);
        }
        self.memory = Footprint::Small;
        self.db.execute_batch("PRAGMA shrink_memory")
    }

    /// Whether the page continues what was read up to `after`.
    fn check(&self, after: u64, page: &CheckedPage) -> Result<(), CatchUpError> {
        self.check_log(after, page)?;
        let Some(first) = page.events().next() else {
            return Ok(());
        };
        for build in self.at(after) {
            follows(&first, after, &build.checkpoint.hash)
                .map_err(|error| CatchUpError::Feed(format!("{error}. {REMEDY}")))?;
        }
        Ok(())
    }

    fn at(&self, position: u64) -> impl Iterator<Item = &Build> {
        let builds = self.live.iter().chain(&self.next);
        builds.filter(move |build| build.stands_at(position))
    }

    /// Applies the page; a build that an event stops is applied up to that event, the others
    /// whole.
    fn apply(&mut self, request: &Request, page: &CheckedPage) -> Result<(), CatchUpError> {
        // At most two rounds for each build: one finds its event, one more that its rows before
        // that cannot be written either.
        while let Err(failure) = self.try_apply(request, page) {
            // What builds hold in memory may have run ahead of the database.
            for build in self.live.iter_mut().chain(&mut self.next) {
                build.rows = (build.definition.over)(&build.names);
            }
            match failure {
                Failure::Database(error) => return Err(CatchUpError::Database(error)),
                Failure::Event { build, position, error } => {
                    let builds = self.live.iter_mut().chain(&mut self.next);
                    if let Some(build) = builds.into_iter().nth(build) {
                        build.poison = Some(Poison { position, error });
                    }
                }
            }
        }
        Ok(())
    }

    /// One transaction: the rows of each build, and its checkpoint.
    fn try_apply(&mut self, request: &Request, page: &CheckedPage) -> Result<(), Failure> {
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if self.log_id.is_none() {
            store::remember_log(&tx, page.log_id)?;
        }
        let mut moved = Vec::new();
        for (number, build) in self.live.iter_mut().chain(&mut self.next).enumerate() {
            if build.checkpoint.position == request.after {
                let reached = build.run(number, &tx, page, request.limit)?;
                crash_point!("between-rows-and-checkpoint");
                if reached != build.checkpoint {
                    let name = store::build_name(&build.definition, build.names.suffix());
                    store::advance(&tx, &name, build.checkpoint, reached)?;
                }
                moved.push((number, reached));
            }
        }
        crash_point!("before-checkpoint-commit");
        tx.commit()?;
        crash_point!("after-checkpoint-commit");
        (self.committed)();
        self.log_id = Some(page.log_id);
        let mut builds: Vec<_> = self.live.iter_mut().chain(&mut self.next).collect();
        for (number, reached) in moved {
            builds[number].checkpoint = reached;
        }
        Ok(())
    }

    fn publish(&self, after: u64) {
        for build in &self.live {
            if build.checkpoint.position >= after {
                self.published.reached(build.index, build.checkpoint.position);
            }
        }
        for build in &self.next {
            self.published.rebuild_reached(build.index, build.checkpoint.position);
            crash_point!("in-rebuild");
        }
    }

    /// A live build that an event has stopped says so; a rebuild is given up.
    fn stop_the_poisoned(&mut self) -> rusqlite::Result<()> {
        for build in &self.live {
            if let Some(poison) = &build.poison
                && self.published.stalled(build.index, poison.to_string())
            {
                let error = poison.to_string();
                (self.notice)(Notice::Stalled { projection: build.definition.name, error });
            }
        }
        for build in self.next.extract_if(.., |build| build.poison.is_some()) {
            let error = build.poison.map(|poison| poison.to_string()).unwrap_or_default();
            self.published.rebuild_ends(build.index, Err(format!("the rebuild failed: {error}")));
            (self.notice)(Notice::RebuildFailed { projection: build.definition.name, error });
            store::discard_next(&mut self.db, &build.definition)?;
            (self.committed)();
        }
        Ok(())
    }

    /// Puts rebuilds in place that have come as far as the rows they replace (an answer never
    /// goes back in time) and to within a page of the head.
    fn swap_what_is_complete(&mut self) -> rusqlite::Result<()> {
        let head = self.published.head();
        let live = &self.live;
        let complete = |build: &mut Build| {
            let position = build.checkpoint.position;
            position >= live[build.index].checkpoint.position
                && head.saturating_sub(position) <= u64::from(MAX_PAGE)
        };
        let complete: Vec<Build> = self.next.extract_if(.., complete).collect();
        for build in complete {
            store::swap(&mut self.db, &build.definition)?;
            crash_point!("after-swap");
            (self.committed)();
            let Build { definition, index, names, checkpoint, .. } = build;
            self.live[index] = Build::new(&definition, index, names.live(), checkpoint);
            self.published.rebuild_ends(index, Ok(()));
            self.published.reached(index, checkpoint.position);
            let position = checkpoint.position;
            (self.notice)(Notice::Rebuilt { projection: definition.name, position });
        }
        Ok(())
    }
}

impl fmt::Debug for Projector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projector").field("log_id", &self.log_id).field("status", &self.status()).finish()
    }
}

impl Build {
    fn new(definition: &Definition, index: usize, names: Names, checkpoint: Checkpoint) -> Self {
        let rows = (definition.over)(&names);
        Self { definition: *definition, index, names, rows, checkpoint, poison: None }
    }

    fn stands_at(&self, position: u64) -> bool {
        self.poison.is_none() && self.checkpoint.position == position
    }

    /// Applies at most `limit` events of the page, and none from the poisonous one on.
    fn run(
        &mut self,
        number: usize,
        tx: &Transaction<'_>,
        page: &CheckedPage,
        limit: u32,
    ) -> Result<Checkpoint, Failure> {
        let stop_before = self.poison.as_ref().map_or(u64::MAX, |poison| poison.position);
        let mut reached = self.checkpoint;
        let failed = |position, error| Failure::of(number, position, error);
        let events = page.events().take(limit as usize);
        for event in events.take_while(|event| event.position < stop_before) {
            self.rows.apply(tx, &event).map_err(|error| failed(event.position, error))?;
            reached = Checkpoint::after(&event);
        }
        // Which event's rows cannot be written is not known, so the build stops before them all.
        self.rows.flush(tx).map_err(|error| failed(self.checkpoint.position + 1, error))?;
        Ok(reached)
    }
}

impl fmt::Display for Poison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} cannot be applied: {}", self.position, self.error)
    }
}

/// Why a transaction was rolled back.
enum Failure {
    Event { build: usize, position: u64, error: String },
    Database(rusqlite::Error),
}

impl Failure {
    fn of(build: usize, position: u64, error: ProjectionError) -> Self {
        let poison = error.is_poison();
        match error {
            ProjectionError::Storage(error) if !poison => Self::Database(error),
            other @ (ProjectionError::Decode(_)
            | ProjectionError::Impossible(_)
            | ProjectionError::Storage(_)) => Self::Event { build, position, error: other.to_string() },
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}
