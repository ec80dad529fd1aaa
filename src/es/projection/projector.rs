//! The projector: applies pages of the feed to projections, rows and checkpoint in one
//! transaction.
//!
//! Each projection has a separate checkpoint, and so fails, lags and is rebuilt alone.
//! Table sets at the same position share a page and a transaction. A rebuild is one more
//! set of tables at another position, renamed into place after catching up; no second code path exists
//! for rebuilds.
//!
//! SQLite has one writer, so one thread does all of this. While a set lags behind the others (a rebuild,
//! a projection stopped before), pages for the set and for the front are fetched side by side and
//! processed in the order of arrival.
//!
//! **Invariant:** a table set applies event `checkpoint + 1` of the log at its beginning, or no event.
//! Anything else stops the set and is reported: a gap, another log, a broken hash chain, poison.
//!
//! Read next: `Projector::run`, a page's whole life; then `rebuild.rs`, `follower.rs`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use uuid::Uuid;

use super::checked_page::{CheckedPage, PageRequest};
use super::continuity::{self, Continuity};
use super::definition::Definition;
use super::definition_check;
use super::open_error::OpenError;
use super::projector_event::{CatchUpError, CommitPhase, ProjectorEvent};
use super::read_db::{self, Checkpoint, Form};
use super::reserve::Reserve;
use super::status::{Changed, ProjectionStatus, StatusBoard};
use super::table_set::{Failure, TableSet};
use crate::es::database_file::{DatabaseFile, DatabasePath, FileLock};

/// How long to wait for the lock on the database: a verification holds the lock for a moment.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// Pages in one transaction, at most. With 10 000 accounts, nine in ten events of one page touch
/// another row, and one in eight of 32 pages. More pages would hold more rows in memory.
const MAX_OPEN_PAGES: usize = 32;

/// Projections and their database. Drive the projector with [`Projector::catch_up`], or let threads
/// follow a feed with [`Projector::start`].
pub struct Projector {
    pub(super) db: Connection,
    // Dropped in this order: SQLite must close the file before this process does.
    _lock: FileLock,
    pub(super) file: Arc<DatabaseFile>,
    log_id: Option<Uuid>,
    /// The live tables of each projection, and the rebuilds beside them.
    pub(super) sets: Vec<TableSet>,
    /// For each projection, the position at which the first rows begin to answer.
    fills: Vec<Option<u64>>,
    continuity: Continuity,
    /// Pages in the open transaction; 0 without a transaction.
    open_pages: usize,
    /// Whether transactions of several pages have filled the caches.
    has_replayed: bool,
    /// Abandoned rebuilds with tables to drop.
    pub(super) leftover: Vec<Definition>,
    /// Set during a rebuild, unless the disk had too little space.
    pub(super) reserve: Option<Reserve>,
    pub(super) board: Arc<StatusBoard>,
    pub(super) on_event: Box<dyn Fn(ProjectorEvent) + Send>,
    pub(super) on_commit: Box<dyn Fn(CommitPhase) + Send>,
}

impl Projector {
    /// Opens or creates the database at `path` with the projections `definitions`. Rows of
    /// another version of a projection are rebuilt beside the old ones; an interrupted rebuild goes
    /// on at its checkpoint.
    ///
    /// # Errors
    /// See [`OpenError`]; the file is not changed then.
    pub fn open(path: &Path, definitions: &[Definition]) -> Result<Self, OpenError> {
        Self::open_within(LOCK_PATIENCE, path, definitions)
    }

    /// Opens as [`Projector::open`] does, and waits for `patience` at most while another process has the
    /// database.
    ///
    /// # Errors
    /// See [`OpenError`]; the file is not changed then.
    pub fn open_within(
        patience: Duration,
        path: &Path,
        definitions: &[Definition],
    ) -> Result<Self, OpenError> {
        // Before the file: a program with a mistake leaves no database behind.
        definition_check::check(definitions)?;
        let file = DatabaseFile::existing_or_new(DatabasePath::resolve(path)?)?;
        let lock = read_db::lock_within(patience, &file)?;
        let mut db = read_db::open(&file)?;
        let (mut sets, mut fills, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for (index, definition) in definitions.iter().enumerate() {
            let (names, checkpoint, form) = read_db::find_or_create_live(&mut db, definition)?;
            // Outdated rows keep answering while their replacement is built beside them.
            let next = match (read_db::find_next(&db, definition)?, form) {
                (None, Form::Outdated) => {
                    Some((read_db::create_next(&mut db, definition)?, Checkpoint::START))
                }
                (unfinished, Form::Outdated | Form::Current) => unfinished,
            };
            positions.push((definition.name, checkpoint.position));
            fills.push(read_db::fill(&db, definition)?);
            sets.push(TableSet::new(definition, index, names, checkpoint, form));
            sets.extend(next.map(|(names, at)| TableSet::new(definition, index, names, at, Form::Current)));
        }
        let board = board_of(&positions, &fills, &sets);
        // On a full disk, an interrupted rebuild goes on without a reserve as far as possible.
        let reserve = if sets.iter().all(TableSet::is_live) { None } else { Reserve::beside(&file).ok() };
        Ok(Self {
            log_id: read_db::log_id(&db)?,
            db,
            _lock: lock,
            file: Arc::new(file),
            sets,
            fills,
            continuity: Continuity::Unknown,
            open_pages: 0,
            has_replayed: false,
            leftover: Vec::new(),
            reserve,
            board: Arc::new(board),
            on_event: Box::new(|_| {}),
            on_commit: Box::new(|_| {}),
        })
    }

    /// Returns the same projector, which calls `on_event` for everything worth logging.
    #[must_use]
    pub fn with_events(mut self, on_event: impl Fn(ProjectorEvent) + Send + 'static) -> Self {
        self.on_event = Box::new(on_event);
        self
    }

    /// Returns the same projector, which calls `on_commit` before and after each commit of rows or tables, and
    /// before any wait for the new rows ends. Release read snapshots at both calls, which must be quick. The
    /// notes about first fills, which no query reads, are committed without a call.
    #[must_use]
    pub fn with_commit_hook(mut self, on_commit: impl Fn(CommitPhase) + Send + 'static) -> Self {
        self.on_commit = Box::new(on_commit);
        self
    }

    /// Returns the database file, for readers.
    pub fn file(&self) -> &Arc<DatabaseFile> {
        &self.file
    }

    /// Returns the status of each projection, in the order of the definitions.
    pub fn status(&self) -> Vec<ProjectionStatus> {
        self.board.statuses()
    }

    /// Doubts the feed after a failure: the next answer may come from another log, or from an older state
    /// of this log.
    pub(super) fn doubt(&mut self) {
        self.continuity = Continuity::Unknown;
        self.board.forget_head();
    }

    /// Returns whether the feed has still to prove its history.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.continuity == Continuity::Unknown
    }

    /// Returns whether a transaction holds pages to commit.
    pub(super) fn is_open(&self) -> bool {
        self.open_pages > 0
    }

    /// Commits the pages of the open transaction.
    pub(super) fn commit(&mut self) -> Result<(), CatchUpError> {
        self.process(None)
    }

    /// Processes the page for a request, from the arrival of the page to the moment at which queries see the
    /// events. Without a page, commits the pages applied before.
    ///
    /// # Errors
    /// When the page is rejected, or the database refuses. No event of the page is applied then.
    pub(super) fn process(
        &mut self,
        received: Option<(&PageRequest, &CheckedPage)>,
    ) -> Result<(), CatchUpError> {
        if let Some((request, page)) = received.filter(|_| self.board.is_paused()) {
            self.check(request, page)?;
            return Ok(self.publish()?);
        }
        self.run(received).or_else(|failure| self.roll_back(failure))?;
        if self.is_open() {
            return Ok(());
        }
        self.settle_rebuilds()?;
        // Only now: a full disk takes the pages of a transaction, and refuses its commit.
        if received.is_some() && !self.is_in_doubt() && self.board.clear_failure() == Changed::Yes {
            (self.on_event)(ProjectorEvent::Recovered);
        }
        Ok(self.release_memory()?)
    }

    /// Runs a page through all steps of its life.
    fn run(&mut self, received: Option<(&PageRequest, &CheckedPage)>) -> Result<(), Failure> {
        // Received: fetched, parsed and checked alone on the fetching thread.
        if let Some((request, page)) = received {
            let positions = self.positions();
            if !positions.is_empty() && !positions.contains(&request.after) {
                // After a rollback no set stands at the position any more: the events are fetched again.
                return Ok(());
            }
            // Checked: the page must continue the history of every set that stands there.
            self.check(request, page)?;
            // Applied, in the open transaction or in a new one.
            if page.last_position().is_some_and(|last| last > request.after) {
                self.begin(page.log_id)?;
                for set in self.sets.iter_mut().filter(|set| set.stands_at(request.after)) {
                    set.apply(&self.db, page, request.limit)?;
                }
                // Far from the head a transaction takes several pages: a row with many changes is
                // written once. Near the head each page is committed at once: queries wait for it.
                if self.open_pages < MAX_OPEN_PAGES && page.is_far_from_head() {
                    return Ok(());
                }
            }
        }
        // A file without its name gets no commit: no query would ever see the rows.
        self.file.check().map_err(rusqlite::Error::from)?;
        if self.is_open() {
            // Committed: rows and checkpoint in one transaction.
            self.commit_rows()?;
        }
        // Published: queries waiting for the position go on.
        Ok(self.publish()?)
    }

    /// Checks that the page continues the history of the sets at its beginning, and learns the head.
    fn check(&mut self, request: &PageRequest, page: &CheckedPage) -> Result<(), CatchUpError> {
        let front = self.positions().last().copied();
        let standing = self.sets.iter().filter(|set| set.stands_at(request.after));
        let continuity = continuity::check(request, page, self.log_id, standing)?;
        // Only the front knows the head: a page for lagging sets may have been fetched long before.
        if front.is_some_and(|front| request.after < front) {
            return Ok(());
        }
        // A page beyond the front, which is fetched during a pause, proves nothing about the rows.
        if front.is_none_or(|front| request.after == front) {
            self.continuity = continuity;
        }
        Ok(self.learn_head(page.head)?)
    }

    /// Commits the rows of the open transaction, and moves the checkpoints with them.
    fn commit_rows(&mut self) -> Result<(), Failure> {
        for set in &mut self.sets {
            set.flush(&self.db)?;
            crash_point!("between-rows-and-checkpoint");
            read_db::advance(&self.db, &set.definition, &set.names, [set.checkpoint, set.reached])?;
        }
        crash_point!("before-checkpoint-commit");
        let pages = self.open_pages;
        self.commit_with_hook(|db| read_db::commit(db, pages))?;
        crash_point!("after-checkpoint-commit");
        self.sets.iter_mut().for_each(|set| set.checkpoint = set.reached);
        self.open_pages = 0;
        self.has_replayed |= pages > 1;
        Ok(())
    }

    /// Releases the memory of a replay, once all sets are at the head: SQLite's page cache of up to 16 MiB, and
    /// the rows that projections cache. Single pages need a fraction.
    fn release_memory(&mut self) -> rusqlite::Result<()> {
        let (positions, head) = (self.positions(), self.board.head());
        if !self.has_replayed || positions.len() > 1 || head > positions.first().copied() {
            return Ok(());
        }
        self.has_replayed = false;
        self.sets.iter_mut().for_each(TableSet::forget_rows);
        // Statements over the tables of an ended rebuild are among them.
        self.db.flush_prepared_statement_cache();
        self.db.execute_batch("PRAGMA shrink_memory")
    }

    /// Runs `commit` between the two calls of the hook, also where `commit` fails.
    pub(super) fn commit_with_hook<T>(
        &mut self,
        commit: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        (self.on_commit)(CommitPhase::Begins);
        let committed = commit(&mut self.db);
        (self.on_commit)(CommitPhase::Ended);
        committed
    }

    fn begin(&mut self, log_id: Uuid) -> rusqlite::Result<()> {
        if !self.is_open() {
            self.db.execute_batch("BEGIN IMMEDIATE")?;
        }
        self.open_pages += 1;
        if self.log_id.is_none() {
            read_db::remember_log(&self.db, log_id)?;
            self.log_id = Some(log_id);
        }
        Ok(())
    }

    /// Learns the head. Rows filled for the first time answer from the head at the first contact on, or from
    /// the lowest head reported since.
    fn learn_head(&mut self, head: u64) -> rusqlite::Result<()> {
        // A failure has made the projector forget the head. An empty page requested before the failure proves
        // no history, and the head on the page may be that of another log.
        if self.is_in_doubt() && self.board.head().is_none() {
            return Ok(());
        }
        self.board.set_head(head);
        for set in self.sets.iter().filter(|set| set.is_live()) {
            let fill = &mut self.fills[set.index];
            if fill.is_some_and(|until| head < until) {
                *fill = Some(head);
                read_db::save_fill(&self.db, set.definition.name, *fill)?;
            }
        }
        Ok(())
    }

    pub(super) fn publish(&mut self) -> rusqlite::Result<()> {
        for set in &self.sets {
            let position = set.checkpoint.position;
            if !set.is_live() {
                self.board.raise_rebuild(set.index, position);
                crash_point!("in-rebuild");
                continue;
            }
            let fill = &mut self.fills[set.index];
            if fill.is_some_and(|until| position >= until) && set.form == Form::Current {
                // Before the position is raised: a query waiting for the position must be answered.
                *fill = None;
                read_db::save_fill(&self.db, set.definition.name, None)?;
                self.board.set_filling(set.index, false);
            }
            self.board.raise(set.index, position);
        }
        Ok(())
    }

    /// Goes back to the committed rows. The pages are fetched again; a poisoned set then stops
    /// right before the poison.
    fn roll_back(&mut self, failure: Failure) -> Result<(), CatchUpError> {
        if let Failure::Other(rejected @ CatchUpError::PageRejected(_)) = failure {
            // No event of the page was applied, and the pages before are sound.
            return Err(rejected);
        }
        self.open_pages = 0;
        // All sets, since all share the transaction.
        self.sets.iter_mut().for_each(TableSet::roll_back);
        // Some failures have rolled back already.
        if !self.db.is_autocommit() {
            self.db.execute_batch("ROLLBACK")?;
        }
        // The log may have been remembered in the transaction that is rolled back.
        self.log_id = read_db::log_id(&self.db)?;
        match failure {
            Failure::Poison => Ok(()),
            // The rows of a rebuild can be made again at any time; the live rows have to go on.
            Failure::Other(CatchUpError::Database(error)) if is_full(&error) && self.has_rebuilds() => {
                self.give_up_rebuilds(&error.to_string())
            }
            Failure::Other(error) => Err(error),
        }
    }
}

pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

impl fmt::Debug for Projector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projector").field("log_id", &self.log_id).field("status", &self.status()).finish()
    }
}

fn board_of(positions: &[(&'static str, u64)], fills: &[Option<u64>], sets: &[TableSet]) -> StatusBoard {
    let board = StatusBoard::new(positions);
    fills.iter().enumerate().for_each(|(index, fill)| board.set_filling(index, fill.is_some()));
    for set in sets.iter().filter(|set| !set.is_live()) {
        board.begin_rebuild(set.index, set.checkpoint.position);
    }
    board
}
