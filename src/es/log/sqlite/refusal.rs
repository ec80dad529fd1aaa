//! The meaning of SQLite's errors for a log, and the refusals of a file as a log.
//!
//! A refusal names the file, the fault, and what the operator can do.
//!
//! Read next: `file.rs`, which refuses.

use std::path::Path;

use rusqlite::ErrorCode;
use uuid::Uuid;

use super::schema::SCHEMA_VERSION;
use crate::es::Error;

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            // A violated constraint is damage too: this crate appends by the rules of the schema.
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation) => {
                Self::Corrupt(error.to_string())
            }
            // SQLite read the row, but the value has a type or form that this crate never writes.
            None => Self::Corrupt(error.to_string()),
            Some(_) => Self::Storage(error.to_string()),
        }
    }
}

pub(super) fn other_version(path: &Path, version: i64) -> Error {
    let what = format!(
        "its schema has version {version}, this build knows {SCHEMA_VERSION}: use the build that wrote it, or a later one"
    );
    Error::unusable(path, &what)
}

pub(super) fn foreign(path: &Path) -> Error {
    Error::unusable(path, "it is a SQLite database of another program: choose another path")
}

fn damaged(path: &Path, what: &str) -> Error {
    Error::unusable(path, &format!("it is damaged ({what}): restore a backup; --verify tells more"))
}

/// Refuses a database that is missing or empty although the lock file `lock` names its log.
pub(super) fn lost(path: &Path, lock: &Path, exists: bool, log_id: Uuid) -> Error {
    let fault = if exists { "is empty" } else { "does not exist any more" };
    let what = format!(
        "it {fault}, but held log {log_id}: put it back or restore a backup; to begin another log, delete {}",
        lock.display()
    );
    Error::unusable(path, &what)
}

/// Refuses a file that SQLite cannot read.
pub(super) fn unreadable(path: &Path, error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => damaged(path, &error.to_string()),
        Some(ErrorCode::NotADatabase) => {
            let what = format!("{error}: choose another path, or restore a backup if it was one");
            Error::unusable(path, &what)
        }
        _ => {
            let what = format!("{error}: check the path and the permissions of the file and its directory");
            Error::unusable(path, &what)
        }
    }
}

/// Turns any failure to open a log into a refusal of the file.
pub(super) fn refused(path: &Path, error: Error) -> Error {
    match error {
        Error::Corrupt(what) => damaged(path, &what),
        Error::Storage(what) => Error::unusable(path, &format!("{what}: see to the disk, then try again")),
        other @ (Error::Unusable(_)
        | Error::WrongKind { .. }
        | Error::InvalidDefinition(_)
        | Error::Overloaded
        | Error::Stopped
        | Error::OutcomeUnknown
        | Error::Panicked) => other,
    }
}
