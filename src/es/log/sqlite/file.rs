//! The SQLite file of a log: created once, opened with suspicion, written by one process.
//!
//! Opening checks in a few milliseconds, before the first command: what kind of file the path names, the
//! schema, the write-ahead log, and the end of the log that the next event continues. Deeper damage is
//! found when the damaged rows are read, or by an audit (`audit/log.rs`).
//!
//! **Invariant:** a log is never repaired silently. A file that fails a check is refused and left unchanged,
//! and the refusal says what to do.
//!
//! Read next: `schema.rs`; `wal_witness.rs`, the check that SQLite itself does not make.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};
use uuid::Uuid;

use super::lock::{LOCK_SUFFIX, LogName};
use super::refusal::{foreign, lost, other_version, refused, unreadable};
use super::row::{EVENT_COLUMNS, event_of};
use super::schema::{FileKind, SCHEMA, SCHEMA_VERSION, kind_of, schema_fault};
use super::wal_witness;
use crate::es::database_file::{Access, DatabaseFile, DatabasePath, OLDEST_SQLITE};
use crate::es::{Error, Hash, chain};

/// Number of events at the end of the log whose hashes are checked on opening: some pages of the file, well
/// below a millisecond.
const CHECKED_AT_OPEN: i64 = 100;

/// Opens the database at `path`, or creates a new database. Returns the file and the identity of the log.
///
/// # Errors
/// [`Error::Unusable`]; the text says what the operator can do.
pub(super) fn open(path: &Path) -> Result<(DatabaseFile, Uuid), Error> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(Error::Unusable(format!(
            "SQLite {} can corrupt databases in WAL mode: use 3.51.3 or later",
            rusqlite::version()
        )));
    }
    let file = open_unread(path)?;
    let path = file.path();
    let refuse = |error: rusqlite::Error| unreadable(path, &error);
    let mut connection = file.connect(Access::Write).map_err(refuse)?;
    let log_id = match kind_of(&connection).map_err(refuse)? {
        FileKind::Empty => create(&mut connection).map_err(|error| refused(path, error)),
        FileKind::Log { version: SCHEMA_VERSION } => {
            check_log(&connection, path).map_err(|error| refused(path, error))
        }
        FileKind::Log { version } => Err(other_version(path, version)),
        FileKind::Foreign => Err(foreign(path)),
    }?;
    drop(connection);
    Ok((file, log_id))
}

/// Opens the file after the checks that must come before SQLite opens the file. SQLite would hide the faults:
/// SQLite recovers the readable part of a damaged write-ahead log, deletes the write-ahead log of an empty
/// file, and creates a new file in place of a missing log.
fn open_unread(path: &Path) -> Result<DatabaseFile, Error> {
    let path = DatabasePath::resolve(path)?;
    let name = LogName::look(&path);
    let file = DatabaseFile::if_there(&path)?;
    let length = file.as_ref().map_or(Ok(0), DatabaseFile::length);
    let is_empty = length.map_err(|error| Error::unusable(&path, &error.to_string()))? == 0;
    match name {
        // The writer of this process or another one is at work: the log is not lost.
        LogName::InUse(_) if !is_empty => {}
        LogName::InUse(refusal) => return Err(refusal),
        LogName::Free(log_id) => {
            // In use, the write-ahead log grows while the check reads.
            if file.as_ref().is_none_or(DatabaseFile::is_idle) {
                wal_witness::check(&path, file.as_ref())?;
            }
            if let Some(log_id) = log_id.filter(|_| is_empty) {
                return Err(lost(&path, &path.beside(LOCK_SUFFIX), file.is_some(), log_id));
            }
        }
    }
    match file {
        Some(file) => Ok(file),
        None => Ok(DatabaseFile::existing_or_new(path)?),
    }
}

/// Creates schema and log in one transaction: a crash leaves an empty file, never half a schema.
fn create(connection: &mut Connection) -> Result<Uuid, Error> {
    // Before the transaction: the mode cannot change within one.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Two processes may create the log at once: the second finds the schema of the first.
    if let FileKind::Empty = kind_of(&transaction)? {
        transaction.execute_batch(SCHEMA)?;
        transaction.execute("INSERT INTO log (only, log_id) VALUES (1, ?1)", [Uuid::now_v7().to_string()])?;
    }
    crash_point!("log-created-before-commit");
    transaction.commit()?;
    read_log_id(connection)
}

fn read_log_id(connection: &Connection) -> Result<Uuid, Error> {
    let text: String = connection.query_row("SELECT log_id FROM log", [], |row| row.get(0))?;
    Uuid::try_parse(&text).map_err(|_| Error::Corrupt("its log_id is no UUID".into()))
}

fn check_log(connection: &Connection, path: &Path) -> Result<Uuid, Error> {
    if let Some(what) = schema_fault(connection)? {
        return Err(Error::unusable(path, &what));
    }
    if connection.is_readonly(rusqlite::MAIN_DB)? {
        let what = "it is read-only: allow this process to write to the file and its directory";
        return Err(Error::unusable(path, what));
    }
    check_end(connection)?;
    // A restored backup, or a copy made by another tool, may be in another journal mode.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    read_log_id(connection)
}

/// Checks that the head is the position of the last event, and the hashes of the last events.
fn check_end(connection: &Connection) -> Result<(), Error> {
    let sql = "SELECT head, coalesce((SELECT max(position) FROM events), 0) FROM log";
    let (head, last): (i64, i64) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if head != last {
        return Err(Error::Corrupt(format!("its head is {head}, but its last event is {last}")));
    }
    let sql = format!("SELECT {EVENT_COLUMNS} FROM events WHERE position >= ?1 ORDER BY position");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([head.saturating_sub(CHECKED_AT_OPEN)])?;
    let mut previous = None;
    while let Some(row) = rows.next()? {
        let event = event_of(row).map_err(|error| Error::Corrupt(error.to_string()))?;
        // The first event of this page has no known predecessor, unless the event begins the log.
        let before = previous.or((event.position == 1).then_some(Hash::ZERO));
        if before.is_some_and(|hash| chain(&hash, &event) != event.hash) {
            return Err(Error::Corrupt(format!("the hash chain is broken at event {}", event.position)));
        }
        previous = Some(event.hash);
    }
    Ok(())
}
