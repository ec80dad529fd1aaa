//! How the projections stand, for whoever asks: queries that wait for a position, the routes
//! that show progress, health and metrics.
//!
//! The projector writes here after every transaction and reads back only the head, so a status can be late
//! by one transaction, which has many pages during a replay, but never holds the projector up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::es::projection::definition::{Definition, NEAR};
use crate::watch::Watch;

/// What a projection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjectionState {
    /// It follows the log.
    Live,
    /// It has not reached the end of the log yet, and its answers are old.
    CatchingUp,
    /// It is being replayed from the first event, beside the live rows, which go on answering.
    Rebuilding,
    /// It cannot go on; the error says why. Its rows stay as they are and answer.
    Stalled,
}

impl ProjectionState {
    /// The word for it: `live`, `catching-up`, `rebuilding` or `stalled`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::CatchingUp => "catching-up",
            Self::Rebuilding => "rebuilding",
            Self::Stalled => "stalled",
        }
    }
}

/// How one projection stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectionStatus {
    /// Its name.
    pub name: &'static str,
    /// The last position that its live rows contain.
    pub position: u64,
    /// The end of the log, as the feed last reported it; none before the first report, and after a failure
    /// until the next report.
    pub head: Option<u64>,
    /// For how long it has been behind the end of the log; zero when it is not.
    pub behind_for: Duration,
    /// What it is doing.
    pub state: ProjectionState,
    /// Why it is stalled, or why the last rebuild failed.
    pub error: Option<String>,
    /// How far its replay has come, while there is one.
    pub rebuild: Option<RebuildProgress>,
    /// Whether its rows are being made for the first time and have not reached the head that was found
    /// then: they do not answer yet.
    pub filling: bool,
}

impl ProjectionStatus {
    /// Events in the log that the live rows lack; none while the head is not known.
    pub fn lag(&self) -> Option<u64> {
        self.head.map(|head| head.saturating_sub(self.position))
    }
}

/// How far a replay has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RebuildProgress {
    /// The last position replayed.
    pub position: u64,
    /// Events a second since it began.
    pub events_per_second: f64,
    /// Seconds left at that rate; none before there is a rate, and while the head is not known.
    pub seconds_left: Option<f64>,
}

/// Shared between the projector and those who ask.
#[derive(Debug)]
pub(in crate::es) struct Published {
    entries: Vec<Entry>,
    feed: Mutex<FeedState>,
}

#[derive(Debug)]
struct Entry {
    name: &'static str,
    position: Arc<Watch>,
    state: Mutex<EntryState>,
}

#[derive(Debug, Default)]
struct FeedState {
    said: Option<Said>,
    /// The feed answers, but with something that must not be applied.
    error: Option<String>,
}

/// What the feed said last. It is forgotten whole at a doubt: the feed that answers next may be another log,
/// or an older state of this one.
#[derive(Clone, Copy, Debug)]
struct Said {
    head: u64,
    asked: Instant,
}

#[derive(Debug)]
struct EntryState {
    behind_since: Option<Instant>,
    caught_up: bool,
    fill: Fill,
    error: Option<String>,
    replay: Option<Replay>,
    rebuild_error: Option<String>,
}

/// Whether rows are being made for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::es) enum Fill {
    /// They have reached the head that was found when they were begun.
    Done,
    /// They have not; the head is not known yet.
    Begun,
    /// They have not reached this head.
    Until(u64),
}

#[derive(Clone, Copy, Debug)]
struct Replay {
    from: u64,
    position: u64,
    since: Instant,
}

impl Replay {
    fn at(position: u64) -> Self {
        Self { from: position, position, since: Instant::now() }
    }

    fn progress(&self, head: Option<u64>) -> RebuildProgress {
        let seconds = self.since.elapsed().as_secs_f64();
        let done = self.position.saturating_sub(self.from) as f64;
        let rate = if seconds > 0.0 { done / seconds } else { 0.0 };
        let left = head.map(|head| head.saturating_sub(self.position) as f64);
        RebuildProgress {
            position: self.position,
            events_per_second: rate,
            seconds_left: left.filter(|_| rate > 0.0).map(|left| left / rate),
        }
    }
}

impl Published {
    pub(in crate::es) fn new(positions: impl Iterator<Item = (Definition, u64, Fill)>) -> Self {
        let entry = |(definition, position, fill): (Definition, u64, Fill)| Entry {
            name: definition.name,
            position: Arc::new(Watch::at(position)),
            state: Mutex::new(EntryState {
                behind_since: Some(Instant::now()),
                caught_up: false,
                fill,
                error: None,
                replay: None,
                rebuild_error: None,
            }),
        };
        Self { entries: positions.map(entry).collect(), feed: Mutex::new(FeedState::default()) }
    }

    /// The position of that projection's live rows, to wait on.
    pub(in crate::es) fn watch(&self, name: &str) -> Option<&Arc<Watch>> {
        self.entries.iter().find(|entry| entry.name == name).map(|entry| &entry.position)
    }

    pub(in crate::es) fn close(&self) {
        self.entries.iter().for_each(|entry| entry.position.close());
    }

    pub(in crate::es) fn statuses(&self) -> Vec<ProjectionStatus> {
        let feed = lock(&self.feed);
        self.entries.iter().map(|entry| entry.status(&feed)).collect()
    }

    /// The end of the log, as the feed last said.
    pub(in crate::es) fn head(&self) -> Option<u64> {
        lock(&self.feed).said.map(|said| said.head)
    }

    /// The feed said that the log ends at `head`, when it was asked at `asked`. An answer to an earlier
    /// question changes nothing: a page may have been read ahead.
    pub(in crate::es) fn feed_said(&self, head: u64, asked: Instant) {
        let mut feed = lock(&self.feed);
        if feed.said.is_none_or(|said| said.asked <= asked) {
            feed.said = Some(Said { head, asked });
        }
    }

    /// Forgets what the feed said.
    pub(in crate::es) fn forget_feed(&self) {
        lock(&self.feed).said = None;
        for entry in &self.entries {
            // How far behind the rows are is not known, which counts as behind.
            lock(&entry.state).behind_since.get_or_insert_with(Instant::now);
        }
    }

    /// What the feed said was sound, and is kept. Whether that is news.
    pub(in crate::es) fn feed_is_sound(&self) -> bool {
        lock(&self.feed).error.take().is_some()
    }

    /// The feed says what must not be applied. Whether that is news.
    pub(in crate::es) fn feed_is_unsound(&self, error: String) -> bool {
        let mut feed = lock(&self.feed);
        let news = feed.error.as_ref() != Some(&error);
        feed.error = Some(error);
        news
    }

    /// The live rows of the `index`th projection contain `position`.
    pub(in crate::es) fn reached(&self, index: usize, position: u64) {
        // Before the lock of the entry: `statuses` takes the locks in that order.
        let head = self.head();
        let entry = &self.entries[index];
        let mut state = lock(&entry.state);
        match head {
            Some(head) if position >= head => {
                state.behind_since = None;
                state.caught_up = true;
            }
            Some(head) => {
                state.behind_since.get_or_insert_with(Instant::now);
                state.caught_up &= head - position <= NEAR;
            }
            None => {}
        }
        drop(state);
        entry.position.raise(position);
    }

    /// How far the first rows of the `index`th projection have to come.
    pub(in crate::es) fn fill(&self, index: usize) -> Fill {
        lock(&self.entries[index].state).fill
    }

    pub(in crate::es) fn set_fill(&self, index: usize, fill: Fill) {
        lock(&self.entries[index].state).fill = fill;
    }

    /// Whether the rows of that projection do not answer yet.
    pub(in crate::es) fn is_filling(&self, name: &str) -> bool {
        let entry = self.entries.iter().find(|entry| entry.name == name);
        entry.is_some_and(|entry| lock(&entry.state).fill != Fill::Done)
    }

    /// An event stopped the live rows. Whether that is news.
    pub(in crate::es) fn stalled(&self, index: usize, error: String) -> bool {
        let mut state = lock(&self.entries[index].state);
        let news = state.error.as_ref() != Some(&error);
        state.error = Some(error);
        news
    }

    /// Claims the projection for a rebuild, so that of two who ask at once one is refused.
    pub(in crate::es) fn claim_rebuild(&self, name: &str) -> Result<usize, RebuildRefused> {
        let index = self.entries.iter().position(|entry| entry.name == name);
        let index = index.ok_or(RebuildRefused::UnknownProjection)?;
        let mut state = lock(&self.entries[index].state);
        if state.replay.is_some() {
            return Err(RebuildRefused::Running);
        }
        state.replay = Some(Replay::at(0));
        Ok(index)
    }

    /// The projection of that name, where it is being rebuilt.
    pub(in crate::es) fn rebuilding(&self, name: &str) -> Option<usize> {
        let index = self.entries.iter().position(|entry| entry.name == name)?;
        lock(&self.entries[index].state).replay.map(|_| index)
    }

    /// A rebuild goes on from `position`.
    pub(in crate::es) fn rebuild_begins(&self, index: usize, position: u64) {
        let mut state = lock(&self.entries[index].state);
        state.replay = Some(Replay::at(position));
        state.rebuild_error = None;
    }

    pub(in crate::es) fn rebuild_reached(&self, index: usize, position: u64) {
        if let Some(replay) = &mut lock(&self.entries[index].state).replay {
            replay.position = position;
        }
    }

    /// The rebuild is over: its rows are live, or it failed.
    pub(in crate::es) fn rebuild_ends(&self, index: usize, result: Result<(), String>) {
        let mut state = lock(&self.entries[index].state);
        state.replay = None;
        match result {
            // The new rows have passed whatever stopped the old ones.
            Ok(()) => state.error = None,
            Err(error) => state.rebuild_error = Some(error),
        }
    }
}

impl Entry {
    fn status(&self, feed: &FeedState) -> ProjectionStatus {
        let state = lock(&self.state);
        let position = self.position.value();
        let projection_state = if state.error.is_some() || feed.error.is_some() {
            ProjectionState::Stalled
        } else if state.replay.is_some() {
            ProjectionState::Rebuilding
        } else if state.caught_up {
            ProjectionState::Live
        } else {
            ProjectionState::CatchingUp
        };
        ProjectionStatus {
            name: self.name,
            position,
            head: feed.said.map(|said| said.head.max(position)),
            behind_for: state.behind_since.map(|since| since.elapsed()).unwrap_or_default(),
            state: projection_state,
            error: state.error.clone().or(feed.error.clone()).or(state.rebuild_error.clone()),
            rebuild: state.replay.map(|replay| replay.progress(feed.said.map(|said| said.head))),
            filling: state.fill != Fill::Done,
        }
    }
}

/// The data behind these locks are plain values, consistent after any panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a rebuild does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebuildRefused {
    /// There is no projection of that name.
    UnknownProjection,
    /// One is running; wait for it.
    Running,
    /// None is running, so none can be given up.
    NotRunning,
    /// The projector has stopped.
    Stopped,
}

impl std::fmt::Display for RebuildRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::UnknownProjection => "there is no projection of that name",
            Self::Running => "a rebuild of this projection is running",
            Self::NotRunning => "no rebuild of this projection is running",
            Self::Stopped => "the projector has stopped",
        })
    }
}

impl std::error::Error for RebuildRefused {}
