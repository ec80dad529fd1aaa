//! Reports of the projector: an error to its caller when the projector cannot go on, an event to a log at
//! each change.
//!
//! **Invariant:** events inform and never control: a feed hears of a rejected page through
//! [`crate::es::Feed::rejected`].
//!
//! Read next: `status.rs`, the same news as a state.

use std::fmt;

/// Why the projector does not go on. The projector retries.
#[derive(Debug)]
pub enum CatchUpError {
    /// The feed has no page now. Rows keep answering, and report their lag.
    FeedAway(String),
    /// The feed's page must not be applied.
    PageRejected(String),
    /// The database refuses: disk full, file locked.
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for CatchUpError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl fmt::Display for CatchUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FeedAway(error) | Self::PageRejected(error) => f.write_str(error),
            Self::Database(error) => write!(f, "the read database refuses: {error}"),
        }
    }
}

impl std::error::Error for CatchUpError {}

/// A change for a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProjectorEvent {
    /// The projector waits: a page was rejected, or the database refuses. Sent once until the
    /// reason changes.
    Waiting(String),
    /// Pages are applied again after [`ProjectorEvent::Waiting`].
    Recovered,
    /// An operator paused following: no event is applied until the resume.
    Paused,
    /// An operator resumed following.
    Resumed,
    /// An event stopped a projection.
    Stalled {
        /// The projection.
        projection: &'static str,
        /// The event, and why it cannot be applied.
        error: String,
    },
    /// A rebuild began.
    RebuildBegan {
        /// The projection.
        projection: &'static str,
    },
    /// A rebuild is complete, and the new rows are live.
    Rebuilt {
        /// The projection.
        projection: &'static str,
        /// The position of the new rows.
        position: u64,
    },
    /// An operator cancelled a rebuild; the live rows are untouched.
    RebuildCancelled {
        /// The projection.
        projection: &'static str,
    },
    /// A rebuild was given up; the live rows are untouched.
    RebuildFailed {
        /// The projection.
        projection: &'static str,
        /// Why.
        error: String,
    },
}

impl fmt::Display for ProjectorEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting(error) => write!(f, "the projector waits: {error}"),
            Self::Recovered => f.write_str("the projector goes on"),
            Self::Paused => f.write_str("following is paused: no event is applied until it is resumed"),
            Self::Resumed => f.write_str("following is resumed"),
            Self::Stalled { projection, error } => write!(f, "projection {projection} is stalled: {error}"),
            Self::RebuildBegan { projection } => write!(f, "projection {projection} is being rebuilt"),
            Self::Rebuilt { projection, position } => {
                write!(f, "projection {projection} is rebuilt, up to position {position}")
            }
            Self::RebuildCancelled { projection } => {
                write!(f, "the rebuild of projection {projection} was cancelled")
            }
            Self::RebuildFailed { projection, error } => {
                write!(f, "the rebuild of projection {projection} was given up: {error}")
            }
        }
    }
}

/// A moment at which the projector calls its commit hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitPhase {
    /// From here on, a query may see the new rows.
    Begins,
    /// From here on, every new transaction sees the new rows.
    Ended,
}
