//! The failures of this module, one variant for each thing that the caller does next.
//!
//! Two questions, two types: did the business say no (the aggregate's rejection, inside
//! [`ExecuteError`]), or did the machine fail ([`Error`])?
//!
//! Read next: `aggregate.rs`, the source of rejections.

use std::fmt;
use std::path::Path;

use uuid::Uuid;

use crate::es::database_file::{Displaced, PathError};

/// The machine failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The file cannot be used: the file is foreign, newer, damaged, or in use. An operator must act; the
    /// text says how.
    Unusable(String),
    /// Recorded history is damaged, or this build does not understand the history. No row was changed. Deploy
    /// a build that knows the event, or restore a backup.
    Corrupt(String),
    /// A command used a stream as another kind of aggregate than the stream is. Nothing is damaged, and no
    /// event was recorded. Use the stream as `found`, or give the `asked` aggregate another stream.
    WrongKind {
        /// The stream.
        stream_id: Uuid,
        /// The kind of the stream.
        found: String,
        /// The kind that the command named.
        asked: &'static str,
    },
    /// The code of an aggregate breaks a rule of the log: an event is not a JSON object, a name is not a name,
    /// or the upcasters of an event have a gap. No event was recorded. Mend the code; the text names the
    /// culprit.
    InvalidDefinition(String),
    /// The storage failed: disk full, input or output error. No event was acknowledged. Try again
    /// later, a command with the same idempotency key.
    Storage(String),
    /// More commands are waiting than [`super::QUEUE_CAPACITY`]. Try again a little later.
    Overloaded,
    /// The executor has been stopped. Start an executor.
    Stopped,
    /// No answer came in time, and the command may or may not have been carried out. Try again
    /// with the same idempotency key, which finds out.
    OutcomeUnknown,
    /// The command's code panicked: a bug of the aggregate. No event was recorded.
    Panicked,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(what) => f.write_str(what),
            Self::Corrupt(what) => write!(f, "the log is damaged or not understood: {what}"),
            Self::WrongKind { stream_id, found, asked } => write!(
                f,
                "stream {stream_id} is of kind {found:?} and was used as a {asked:?}: a stream is of one kind, so \
                 use {found:?}, or another stream"
            ),
            Self::InvalidDefinition(what) => f.write_str(what),
            Self::Storage(what) => write!(f, "the storage failed: {what}"),
            Self::Overloaded => f.write_str("too many commands are waiting"),
            Self::Stopped => f.write_str("the executor is stopped"),
            Self::OutcomeUnknown => f.write_str("no answer in time: the outcome is unknown"),
            Self::Panicked => f.write_str("the command's code panicked"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// The refusal of the file at `path`; `what` names the fault and what to do.
    pub(in crate::es) fn unusable(path: &Path, what: &str) -> Self {
        Self::Unusable(format!("{} cannot be used: {what}", path.display()))
    }
}

impl From<Displaced> for Error {
    fn from(displaced: Displaced) -> Self {
        // Not `Unusable`: the file may come back under its name, and the next attempt then succeeds.
        Self::Storage(displaced.to_string())
    }
}

impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// Why a command was not carried out. `R` is the aggregate's rejection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecuteError<R> {
    /// A business rule says no. The same command may succeed in another state.
    Rejected(R),
    /// The stream is at another version than the caller expects. Load again, decide again.
    VersionMismatch {
        /// The stream.
        stream_id: Uuid,
        /// The version of the stream.
        actual: u64,
    },
    /// An idempotency key was used for another command. Use a new key.
    KeyReused {
        /// The key.
        key: String,
    },
    /// The machine failed.
    Failed(Error),
}

impl<R> ExecuteError<R> {
    /// Converts the rejection, so that a command on several kinds of aggregates has one type of rejection.
    pub fn map_rejection<S>(self, map: impl FnOnce(R) -> S) -> ExecuteError<S> {
        match self {
            Self::Rejected(rejection) => ExecuteError::Rejected(map(rejection)),
            Self::VersionMismatch { stream_id, actual } => {
                ExecuteError::VersionMismatch { stream_id, actual }
            }
            Self::KeyReused { key } => ExecuteError::KeyReused { key },
            Self::Failed(error) => ExecuteError::Failed(error),
        }
    }
}

impl<R> From<Error> for ExecuteError<R> {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl<R: fmt::Debug> fmt::Display for ExecuteError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => write!(f, "rejected: {rejection:?}"),
            Self::VersionMismatch { stream_id, actual } => {
                write!(f, "stream {stream_id} is at version {actual}")
            }
            Self::KeyReused { key } => write!(f, "the idempotency key {key:?} was used for another command"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<R: fmt::Debug> std::error::Error for ExecuteError<R> {}
