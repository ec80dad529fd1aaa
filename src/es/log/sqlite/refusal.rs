//! Why a file is not opened as a log, and what the operator can do.

use std::path::Path;

use uuid::Uuid;

use super::file::SCHEMA_VERSION;
use super::lock::LOCK_SUFFIX;
use crate::es::Error;
use crate::es::database_file::DatabasePath;

pub(in crate::es) fn unusable(path: &Path, what: &str) -> Error {
    Error::Unusable(format!("{} cannot be used: {what}", path.display()))
}

pub(in crate::es) fn other_version(path: &Path, version: i64) -> Error {
    let what = format!(
        "its schema has version {version}, this build knows {SCHEMA_VERSION}: use the build that wrote it, or a later one"
    );
    unusable(path, &what)
}

pub(in crate::es) fn foreign(path: &Path) -> Error {
    unusable(path, "it is a SQLite database of another program: choose another path")
}

pub(in crate::es) fn damaged(path: &Path, what: &str) -> Error {
    unusable(path, &format!("it is damaged ({what}): restore a backup; --verify tells more"))
}

/// The refusal of a database that is gone, or empty, where there was a log.
pub(in crate::es) fn lost(path: &DatabasePath, is_there: bool, log_id: Uuid) -> Error {
    let lock = path.beside(LOCK_SUFFIX);
    let is_lost = if is_there { "is empty" } else { "does not exist any more" };
    let what = format!(
        "it {is_lost}, but held log {log_id}: put it back or restore a backup; to begin another log, delete {}",
        lock.display()
    );
    unusable(path, &what)
}

/// The refusal of a file that SQLite cannot read.
pub(in crate::es) fn unreadable(path: &Path, error: &rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => damaged(path, &error.to_string()),
        Some(ErrorCode::NotADatabase) => {
            let what = format!("{error}: choose another path, or restore a backup if it was one");
            unusable(path, &what)
        }
        _ => {
            let what = format!("{error}: check the path and the permissions of the file and its directory");
            unusable(path, &what)
        }
    }
}

/// Whatever goes wrong while a log is opened is a reason not to use it.
pub(in crate::es) fn refused(path: &Path, error: Error) -> Error {
    match error {
        Error::Corrupt(what) => damaged(path, &what),
        Error::Storage(what) => unusable(path, &format!("{what}: see to the disk, then try again")),
        other @ (Error::Unusable(_)
        | Error::Overloaded
        | Error::Stopped
        | Error::OutcomeUnknown
        | Error::Panicked) => other,
    }
}
