//! The state of the projections, for queries waiting for a position and for the routes of
//! progress, health and metrics.
//!
//! The projector writes here after every transaction and reads back only the head, and readers never hold
//! the projector up. A status can be late by one transaction, which has many pages during a replay.
//!
//! **Invariant:** a position is raised here after its commit, and never before.
//!
//! Read next: `follower.rs`, through which other threads read the board.

use std::mem::replace;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::definition::LIVE_LAG_EVENTS;
use super::demand::Demand;
use super::refusal::{RebuildError, RebuildRefused};
use crate::lock::lock;
use crate::watch::Watch;

/// The state of a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjectionState {
    /// The rows follow the log.
    Live,
    /// The rows have not reached the end of the log yet: answers lag.
    CatchingUp,
    /// The log is replayed from the first event into new rows, while the live rows keep answering.
    Rebuilding,
    /// An operator has paused following: no event is applied, and the rows keep answering as they are.
    Paused,
    /// The projection cannot go on; the error says why. The rows keep answering as they are.
    Stalled,
}

impl ProjectionState {
    /// Returns `live`, `catching-up`, `rebuilding`, `paused` or `stalled`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::CatchingUp => "catching-up",
            Self::Rebuilding => "rebuilding",
            Self::Paused => "paused",
            Self::Stalled => "stalled",
        }
    }
}

/// The position and state of one projection.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectionStatus {
    /// The name of the projection.
    pub name: &'static str,
    /// The last position in the live rows.
    pub position: u64,
    /// The end of the log, as the feed last reported; unknown before the first report, and after a failure
    /// until the next report.
    pub head: Option<u64>,
    /// For how long the rows have lagged behind the end of the log; zero without a lag.
    pub behind_for: Duration,
    /// The state.
    pub state: ProjectionState,
    /// Why the projection is stalled, or why the last rebuild failed.
    pub error: Option<String>,
    /// The progress of the running rebuild.
    pub rebuild: Option<RebuildProgress>,
    /// Whether the rows are filled for the first time and have not reached the initial head of the log:
    /// the rows do not answer yet.
    pub filling: bool,
}

impl ProjectionStatus {
    /// Returns the number of events missing in the live rows; unknown while the head is unknown.
    pub fn lag(&self) -> Option<u64> {
        self.head.map(|head| head.saturating_sub(self.position))
    }
}

/// The progress of a replay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RebuildProgress {
    /// The last position replayed.
    pub position: u64,
    /// Events a second since the beginning of the replay.
    pub events_per_second: f64,
    /// Seconds left at that rate; unknown without a rate or a head.
    pub seconds_left: Option<f64>,
}

/// Shared between the projector and the threads of queries.
#[derive(Debug)]
pub(super) struct StatusBoard {
    names: Vec<&'static str>,
    /// The position of each projection's live rows.
    positions: Vec<Arc<Watch>>,
    /// The number of ended rebuilds of each projection.
    rebuilds: Vec<Watch>,
    pub(super) demand: Demand,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    head: Option<u64>,
    /// Why the projector waits.
    failure: Option<String>,
    is_paused: bool,
    entries: Vec<Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    lags_since: Option<Instant>,
    is_caught_up: bool,
    is_filling: bool,
    stalled: Option<String>,
    replay: Option<Replay>,
    /// Of the last rebuild that has ended, kept during the next rebuild: a caller may still wait to read it.
    outcome: Option<RebuildOutcome>,
}

/// How a rebuild ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RebuildOutcome {
    SwappedIn,
    Cancelled,
    Failed(String),
}

/// Whether an update was news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug)]
struct Replay {
    from: u64,
    position: u64,
    since: Instant,
}

impl Replay {
    fn from(position: u64) -> Self {
        Self { from: position, position, since: Instant::now() }
    }

    fn progress(&self, head: Option<u64>) -> RebuildProgress {
        let seconds = self.since.elapsed().as_secs_f64();
        let done = self.position.saturating_sub(self.from) as f64;
        let rate = if seconds > 0.0 { done / seconds } else { 0.0 };
        let left = head.map(|head| head.saturating_sub(self.position) as f64);
        let seconds_left = left.filter(|_| rate > 0.0).map(|left| left / rate);
        RebuildProgress { position: self.position, events_per_second: rate, seconds_left }
    }
}

impl StatusBoard {
    /// Makes the board of projections at the given positions.
    pub(super) fn new(projections: &[(&'static str, u64)]) -> Self {
        let (names, positions) =
            projections.iter().map(|(name, at)| (*name, Arc::new(Watch::at(*at)))).unzip();
        let rebuilds = projections.iter().map(|_| Watch::at(0)).collect();
        let entry = |_| Entry { lags_since: Some(Instant::now()), ..Entry::default() };
        let entries = projections.iter().map(entry).collect();
        let demand = Demand::none();
        Self { names, positions, rebuilds, demand, state: Mutex::new(State { entries, ..State::default() }) }
    }

    fn index(&self, name: &str) -> Result<usize, RebuildRefused> {
        self.names.iter().position(|known| *known == name).ok_or(RebuildRefused::UnknownProjection)
    }

    pub(super) fn watch(&self, name: &str) -> Option<&Arc<Watch>> {
        self.index(name).ok().map(|index| &self.positions[index])
    }

    pub(super) fn close(&self) {
        self.positions.iter().for_each(|position| position.close());
        self.rebuilds.iter().for_each(Watch::close);
        self.demand.close();
    }

    pub(super) fn statuses(&self) -> Vec<ProjectionStatus> {
        let state = self.lock();
        (0..self.names.len()).map(|index| self.status(index, &state)).collect()
    }

    fn status(&self, index: usize, state: &State) -> ProjectionStatus {
        let (entry, position) = (&state.entries[index], self.positions[index].value());
        let failed = || match &entry.outcome {
            Some(RebuildOutcome::Failed(error)) if entry.replay.is_none() => {
                Some(format!("the rebuild was given up: {error}"))
            }
            Some(RebuildOutcome::Failed(_) | RebuildOutcome::SwappedIn | RebuildOutcome::Cancelled)
            | None => None,
        };
        ProjectionStatus {
            name: self.names[index],
            position,
            // Rows may be ahead of a head that was fetched before the last page.
            head: state.head.map(|head| head.max(position)),
            behind_for: entry.lags_since.map(|since| since.elapsed()).unwrap_or_default(),
            state: if entry.stalled.is_some() || state.failure.is_some() {
                // Also during a pause: a resume alone would not help.
                ProjectionState::Stalled
            } else if state.is_paused {
                ProjectionState::Paused
            } else if entry.replay.is_some() {
                ProjectionState::Rebuilding
            } else if entry.is_caught_up {
                ProjectionState::Live
            } else {
                ProjectionState::CatchingUp
            },
            error: entry.stalled.as_ref().or(state.failure.as_ref()).cloned().or_else(failed),
            rebuild: entry.replay.map(|replay| replay.progress(state.head)),
            filling: entry.is_filling,
        }
    }

    pub(super) fn head(&self) -> Option<u64> {
        self.lock().head
    }

    /// Records the end of the log, as the feed reported.
    pub(super) fn set_head(&self, head: u64) {
        self.lock().head = Some(head);
    }

    /// Forgets the head. The next answer may come from another log, or from an older state of this log.
    pub(super) fn forget_head(&self) {
        let mut state = self.lock();
        state.head = None;
        for entry in &mut state.entries {
            // The lag is unknown, which counts as a lag.
            entry.lags_since.get_or_insert_with(Instant::now);
        }
    }

    /// Records why the projector waits.
    pub(super) fn record_failure(&self, error: &str) -> Changed {
        replace_text(&mut self.lock().failure, error)
    }

    /// Records the end of the failure.
    pub(super) fn clear_failure(&self) -> Changed {
        if self.lock().failure.take().is_some() { Changed::Yes } else { Changed::No }
    }

    /// Records a pause of following.
    pub(super) fn pause(&self) -> Changed {
        if replace(&mut self.lock().is_paused, true) { Changed::No } else { Changed::Yes }
    }

    /// Records the end of the pause.
    pub(super) fn resume(&self) -> Changed {
        if replace(&mut self.lock().is_paused, false) { Changed::Yes } else { Changed::No }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.lock().is_paused
    }

    /// Records `position` in the live rows, and wakes the queries waiting for the position.
    pub(super) fn raise(&self, index: usize, position: u64) {
        let mut state = self.lock();
        let lag = state.head.map(|head| head.saturating_sub(position));
        let entry = &mut state.entries[index];
        if lag == Some(0) {
            (entry.lags_since, entry.is_caught_up) = (None, true);
        } else if let Some(lag) = lag {
            entry.lags_since.get_or_insert_with(Instant::now);
            // Rows that were live once stay live while the lag is a fraction of a second.
            entry.is_caught_up &= lag <= LIVE_LAG_EVENTS;
        }
        // Not under the lock: the woken queries read the board.
        drop(state);
        self.positions[index].raise(position);
    }

    pub(super) fn set_filling(&self, index: usize, is_filling: bool) {
        self.lock().entries[index].is_filling = is_filling;
    }

    pub(super) fn is_filling(&self, name: &str) -> bool {
        self.index(name).is_ok_and(|index| self.lock().entries[index].is_filling)
    }

    /// Records the poison of the live rows.
    pub(super) fn record_stall(&self, index: usize, error: &str) -> Changed {
        replace_text(&mut self.lock().entries[index].stalled, error)
    }

    /// Claims the projection for a rebuild: of two requests at once, one is refused. Returns the index of the
    /// projection and the number of its ended rebuilds.
    pub(super) fn claim_rebuild(&self, name: &str) -> Result<(usize, u64), RebuildRefused> {
        let index = self.index(name)?;
        let entry = &mut self.lock().entries[index];
        if entry.replay.is_some() {
            return Err(RebuildRefused::Running);
        }
        entry.replay = Some(Replay::from(0));
        // Under the lock: no rebuild can end between the claim and the count.
        Ok((index, self.rebuilds[index].value()))
    }

    /// Withdraws the claim of a rebuild that could not be ordered.
    pub(super) fn release_claim(&self, index: usize) {
        self.lock().entries[index].replay = None;
    }

    /// Returns the same as [`StatusBoard::claim_rebuild`] for a projection being rebuilt.
    pub(super) fn rebuilding(&self, name: &str) -> Result<(usize, u64), RebuildRefused> {
        let index = self.index(name)?;
        let state = self.lock();
        state.entries[index].replay.ok_or(RebuildRefused::NotRunning)?;
        Ok((index, self.rebuilds[index].value()))
    }

    /// Records a rebuild from `position` on.
    pub(super) fn begin_rebuild(&self, index: usize, position: u64) {
        self.lock().entries[index].replay = Some(Replay::from(position));
    }

    pub(super) fn raise_rebuild(&self, index: usize, position: u64) {
        if let Some(replay) = &mut self.lock().entries[index].replay {
            replay.position = position;
        }
    }

    pub(super) fn end_rebuild(&self, index: usize, outcome: RebuildOutcome) {
        let mut state = self.lock();
        let entry = &mut state.entries[index];
        entry.replay = None;
        if outcome == RebuildOutcome::SwappedIn {
            // The new rows have passed the poison of the old rows.
            entry.stalled = None;
        }
        entry.outcome = Some(outcome);
        // Under the lock: the next claim counts this rebuild.
        self.rebuilds[index].raise(self.rebuilds[index].value() + 1);
    }

    /// Waits for the end of the rebuild after the first `ended` rebuilds, for `patience` at most.
    pub(super) fn wait_for_rebuild(
        &self,
        (index, ended): (usize, u64),
        patience: Duration,
    ) -> Result<RebuildOutcome, RebuildError> {
        let reached = self.rebuilds[index].wait_for(ended + 1, patience);
        let outcome = self.lock().entries[index].outcome.clone();
        match outcome.filter(|_| reached > ended) {
            Some(outcome) => Ok(outcome),
            None if self.rebuilds[index].is_closed() => Err(RebuildRefused::Stopped.into()),
            None => Err(RebuildError::TimedOut),
        }
    }

    /// The board holds plain values, which are consistent after any panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn replace_text(text: &mut Option<String>, new: &str) -> Changed {
    let old = text.replace(new.to_owned());
    if old.as_deref() == Some(new) { Changed::No } else { Changed::Yes }
}
