//! What the projector says: to its caller when it cannot go on, to a log when something changes.

use std::fmt;

/// Why the projector does not go on. It tries again.
#[derive(Debug)]
pub enum CatchUpError {
    /// The feed fails, or says what must not be applied.
    Feed(String),
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
            Self::Feed(error) => f.write_str(error),
            Self::Database(error) => write!(f, "the read database refuses: {error}"),
        }
    }
}

impl std::error::Error for CatchUpError {}

/// What a log should show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Nothing is taken: a page must not be applied, or the database refuses; said once until it
    /// changes.
    FeedFails(String),
    /// A page must not be applied; said of each, for whoever chooses the feed and not for a log.
    PageRefused,
    /// Pages come again.
    FeedIsSound,
    /// An event stopped a projection.
    Stalled {
        /// Which.
        projection: &'static str,
        /// At what, and why.
        error: String,
    },
    /// A rebuild began.
    RebuildBegan {
        /// Of which projection.
        projection: &'static str,
    },
    /// A rebuild is complete, and its rows are live.
    Rebuilt {
        /// Of which projection.
        projection: &'static str,
        /// The position they have reached.
        position: u64,
    },
    /// A rebuild was given up because an operator wanted that; the live rows are untouched.
    RebuildCancelled {
        /// Of which projection.
        projection: &'static str,
    },
    /// A rebuild was given up; the live rows are untouched.
    RebuildFailed {
        /// Of which projection.
        projection: &'static str,
        /// Why.
        error: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FeedFails(error) => write!(f, "the projector waits: {error}"),
            Self::PageRefused => f.write_str("a page of the feed must not be applied"),
            Self::FeedIsSound => f.write_str("the projector goes on"),
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
