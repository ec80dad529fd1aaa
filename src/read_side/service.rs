//! The read side at work: the database, the projector, and the waiting queries.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::database::ReadDatabase;
use super::upstream::{Contact, HttpFeed, Upstream};
use crate::discovery::BaseUrl;
use crate::es::{
    self, DatabaseFile, Feed, OpenError, ProjectionStatus, Projector, ProjectorEvent, RebuildRefused,
    RunningProjector,
};
use crate::http::LongPolls;
use uuid::Uuid;

/// The configuration of the read side.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadOptions {
    /// The registries of the write side.
    pub registries: Vec<BaseUrl>,
    /// The only write side to follow; registries are ignored then.
    pub write_side: Option<BaseUrl>,
    /// The longest pause between two looks at the feed, 30 s at most.
    pub poll_interval: Duration,
    /// How many requests may wait for a position at once.
    pub max_waits: usize,
    /// The largest lag of a ready service, in events.
    pub ready_lag: u64,
}

/// The state of the service; for a [`crate::http::Router`] with [`super::routes`].
#[derive(Debug)]
pub struct ReadSide {
    pub(super) database: Arc<ReadDatabase>,
    pub(super) projector: RunningProjector,
    pub(super) long_polls: LongPolls,
    pub(super) upstream: Arc<Upstream>,
    ready_lag: u64,
    /// Whether all rows were near the head when the head was last known.
    was_near: AtomicBool,
}

impl ReadSide {
    /// Begins to follow the write side at any registered address, now or later, with the database
    /// from [`ReadSide::open`].
    ///
    /// # Errors
    /// When the system has no threads.
    pub fn start(projector: Projector, options: ReadOptions) -> Result<Self, StartError> {
        let followed = followed_log(projector.file());
        let upstream = Upstream::start(options.registries.clone(), options.write_side.clone(), followed)?;
        let feed = HttpFeed::new(Arc::clone(&upstream));
        Self::follow(projector, upstream, feed, &options)
    }

    pub(super) fn follow(
        projector: Projector,
        upstream: Arc<Upstream>,
        feed: impl Feed + Clone + 'static,
        options: &ReadOptions,
    ) -> Result<Self, StartError> {
        let database = Arc::new(ReadDatabase::new(Arc::clone(projector.file())));
        let source = Arc::clone(&upstream);
        let projector = projector.with_events(move |event| log_event(&source, &event));
        let pool = Arc::clone(&database);
        let projector = projector.with_commit_hook(move |phase| pool.follow_commit(phase));
        let projector = projector.start(feed, options.poll_interval)?;
        let long_polls = LongPolls::new(options.max_waits);
        let (ready_lag, was_near) = (options.ready_lag, AtomicBool::new(false));
        Ok(Self { database, projector, long_polls, upstream, ready_lag, was_near })
    }

    /// Begins to rebuild all read models from the first event, beside the rows that answer.
    pub fn rebuild_all(&self) {
        for status in self.projector.status() {
            match self.projector.rebuild(status.name) {
                // A running rebuild suffices.
                Ok(()) | Err(RebuildRefused::Running) => {}
                Err(
                    refused @ (RebuildRefused::UnknownProjection
                    | RebuildRefused::NotRunning
                    | RebuildRefused::Busy
                    | RebuildRefused::Stopped),
                ) => log::error!("projection {} cannot be rebuilt: {refused}", status.name),
            }
        }
    }

    /// Returns whether the service can do its whole job: a write side was met, and the rows are within
    /// [`ReadOptions::ready_lag`] of the end of the log. While the write side is away, the end of the log is
    /// unknown, and the last result holds.
    ///
    /// # Errors
    /// The missing condition, as a sentence.
    pub fn readiness(&self) -> Result<(), String> {
        self.check_file()?;
        let statuses = self.projector.status();
        let found = statuses.iter().try_for_each(|status| self.is_near(status));
        if statuses.iter().all(|status| status.head.is_some()) {
            self.was_near.store(found.is_ok(), Ordering::Relaxed);
            return found;
        }
        if self.was_near.load(Ordering::Relaxed) {
            return Ok(());
        }
        found.and(Err(
            "no write side with the followed log answers, so the end of the log is unknown".to_owned()
        ))
    }

    fn is_near(&self, status: &ProjectionStatus) -> Result<(), String> {
        let ProjectionStatus { name, position, head, .. } = status;
        if status.filling {
            return Err(format!("the read model {name} is being built from the first event"));
        }
        match (status.lag(), head) {
            (Some(lag), Some(head)) if lag > self.ready_lag => Err(format!(
                "the read model {name} is at position {position}, {lag} events behind the head {head}{}",
                self.pause_note()
            )),
            _ => Ok(()),
        }
    }

    /// Returns what an error about a lag adds during a pause, else nothing.
    pub(super) fn pause_note(&self) -> &'static str {
        if self.projector.is_paused() {
            "; following is paused, and goes on with POST /projections/resume"
        } else {
            ""
        }
    }

    /// Checks that the database's path still names the open file.
    ///
    /// # Errors
    /// The finding at the path, and the remedy.
    pub fn check_file(&self) -> Result<(), String> {
        self.database.check().map_err(|displaced| displaced.to_string())
    }

    /// Returns the status of each projection.
    pub fn status(&self) -> Vec<ProjectionStatus> {
        self.projector.status()
    }

    /// Returns whether the last call to a write side was answered.
    pub fn is_write_side_reachable(&self) -> bool {
        matches!(self.upstream.contact(), Contact::Reached(_))
    }

    /// Returns the time at which a write side last answered.
    pub fn last_contact(&self) -> Option<SystemTime> {
        self.upstream.last_contact()
    }

    /// Returns whether following is paused.
    pub fn is_paused(&self) -> bool {
        self.projector.is_paused()
    }

    /// Returns the number of requests waiting for a position.
    pub fn waiting(&self) -> usize {
        self.long_polls.waiting()
    }

    /// Ends all waits, and the look-ups of the write side, which may stop at the same time. Queries go on being
    /// answered, and the write side being followed at its last address.
    pub fn end_waits(&self) {
        self.upstream.close();
        self.projector.end_waits();
    }

    /// Stops following and closes the database. Call this after the last query: a later query would open the
    /// database again.
    pub fn close(&self) {
        self.upstream.close();
        // SQLite removes the write-ahead log with the last connection, but only if that connection may write.
        self.database.close();
        self.projector.stop();
    }
}

/// Returns a function that reads the source log of the rows from the database.
pub(super) fn followed_log(file: &Arc<DatabaseFile>) -> impl Fn() -> Option<Uuid> + Send + 'static {
    let file = Arc::clone(file);
    // Queries report an unreadable database. The connection is not kept: the projector must be the last to
    // close the database.
    move || es::followed_log(&file.reader().ok()?).ok().flatten()
}

fn log_event(upstream: &Upstream, event: &ProjectorEvent) {
    match event {
        ProjectorEvent::Recovered => {
            upstream.trust();
            log::info!("{event}");
        }
        ProjectorEvent::Waiting(_)
        | ProjectorEvent::Stalled { .. }
        | ProjectorEvent::RebuildFailed { .. } => log::error!("{event}"),
        ProjectorEvent::Paused
        | ProjectorEvent::Resumed
        | ProjectorEvent::RebuildBegan { .. }
        | ProjectorEvent::Rebuilt { .. }
        | ProjectorEvent::RebuildCancelled { .. } => log::info!("{event}"),
    }
}

/// Why the read side does not start.
#[derive(Debug)]
pub enum StartError {
    /// The database cannot be opened.
    Database(OpenError),
    /// The system has no thread.
    Thread(std::io::Error),
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        Self::Database(error)
    }
}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        Self::Thread(error)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "the system gives no thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}
