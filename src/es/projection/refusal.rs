//! Why the projector does not follow an order: a rebuild, a cancel, a pause.
//!
//! **Invariant:** after a refusal the live rows are as they were.
//!
//! Read next: `running_projector.rs`, which takes the orders.

use std::fmt;

/// Why a rebuild does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebuildRefused {
    /// The projection is unknown.
    UnknownProjection,
    /// A rebuild of this projection is running; wait for the end.
    Running,
    /// No rebuild is running.
    NotRunning,
    /// The projector has been busy with a transaction for ten seconds; try again.
    Busy,
    /// The projector has stopped.
    Stopped,
}

impl fmt::Display for RebuildRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownProjection => "there is no projection of that name",
            Self::Running => "a rebuild of this projection is running",
            Self::NotRunning => "no rebuild of this projection is running",
            Self::Busy => "the projector is busy with a transaction; try again",
            Self::Stopped => "the projector has stopped",
        })
    }
}

impl std::error::Error for RebuildRefused {}

/// Why [`RunningProjector::rebuild_and_wait`](super::RunningProjector::rebuild_and_wait) has no new rows to
/// report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RebuildError {
    /// The rebuild did not begin.
    Refused(RebuildRefused),
    /// The rebuild was cancelled or given up, for this reason. The live rows are untouched.
    GivenUp(String),
    /// The time is up. The rebuild goes on.
    TimedOut,
}

impl From<RebuildRefused> for RebuildError {
    fn from(refused: RebuildRefused) -> Self {
        Self::Refused(refused)
    }
}

impl fmt::Display for RebuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::GivenUp(reason) => f.write_str(reason),
            Self::TimedOut => f.write_str("the rebuild has not ended in time; it goes on"),
        }
    }
}

impl std::error::Error for RebuildError {}

/// Why [`RunningProjector::pause`](super::RunningProjector::pause) or
/// [`RunningProjector::resume`](super::RunningProjector::resume) has not taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseError {
    /// The projector has stopped.
    Stopped,
    /// The projector has been busy with a transaction for ten seconds. The order has no effect; give the order
    /// again.
    TimedOut,
}

impl fmt::Display for PauseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "the projector has stopped",
            Self::TimedOut => "the projector is busy with a transaction; try again",
        })
    }
}

impl std::error::Error for PauseError {}
