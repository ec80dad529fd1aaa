//! The SQLite file of a log: created once, opened with suspicion, written by one process.
//!
//! Whatever a look at the file can tell in a few milliseconds is checked before the first command:
//! what kind of file it is, its schema, its write-ahead log, and the end of the log that the next
//! event will continue. What lies deeper is found when it is read, or by `verify.rs`.
//!
//! **Invariant:** a log is never repaired in silence. A file that is not what it must be is
//! refused and left as it is; the refusal says what to do.
//!
//! Read next: `wal_witness.rs`, the part of it that SQLite itself does not tell.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use uuid::Uuid;

use super::lock::LogName;
use super::refusal::{foreign, lost, other_version, refused, unreadable, unusable};
use super::row::{EVENT_COLUMNS, event_of};
use super::wal_witness;
use crate::es::database_file::{Access, DatabaseFile, DatabasePath};
use crate::es::{Error, Hash, chain};

/// The schema that runs.
pub const SCHEMA: &str = include_str!("../../../../schema.sql");

const APPLICATION_ID: i64 = 0x5441_4c4c;
pub(in crate::es) const SCHEMA_VERSION: i64 = 1;

/// The oldest SQLite without the WAL-reset bug, which could corrupt a database in WAL mode.
const OLDEST_SQLITE: i32 = 3_051_003;

/// Only a backup or somebody's shell can hold a lock that we wait for, and neither for long.
pub(in crate::es) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Events at the end of the log whose hashes are checked when it is opened: some pages of the
/// file, well below a millisecond.
const CHECKED_AT_OPEN: i64 = 100;

/// Opens the database at `path` and creates it where there is none. Returns the file and the log's
/// identity.
///
/// # Errors
/// [`Error::Unusable`], with what the operator can do.
pub(in crate::es) fn open(path: &Path) -> Result<(DatabaseFile, Uuid), Error> {
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
    connection.busy_timeout(BUSY_TIMEOUT)?;
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

/// The file, after the checks that must come before SQLite opens it, because SQLite settles in silence
/// what they are about: of a write-ahead log it takes what it can read, it deletes that of an empty
/// file, and it makes a new file where there was a log.
fn open_unread(path: &Path) -> Result<DatabaseFile, Error> {
    let path = DatabasePath::resolve(path)?;
    let name = LogName::look(&path);
    let file = DatabaseFile::if_there(&path)?;
    let length = file.as_ref().map_or(Ok(0), DatabaseFile::length);
    let is_empty = length.map_err(|error| unusable(&path, &error.to_string()))? == 0;
    match name {
        LogName::InUse(_) if !is_empty => {}
        LogName::InUse(refusal) => return Err(refusal),
        LogName::Free(log_id) => {
            if file.as_ref().is_none_or(DatabaseFile::is_idle) {
                wal_witness::check(&path, file.as_ref())?;
            }
            if let Some(log_id) = log_id.filter(|_| is_empty) {
                return Err(lost(&path, file.is_some(), log_id));
            }
        }
    }
    match file {
        Some(file) => Ok(file),
        None => Ok(DatabaseFile::existing_or_new(path)?),
    }
}

pub(in crate::es) enum FileKind {
    Empty,
    Log { version: i64 },
    Foreign,
}

pub(in crate::es) fn kind_of(connection: &Connection) -> rusqlite::Result<FileKind> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match pragma("application_id")? {
        APPLICATION_ID => FileKind::Log { version: pragma("user_version")? },
        0 if objects == 0 => FileKind::Empty,
        _ => FileKind::Foreign,
    })
}

/// Creates schema and log in one transaction: a crash leaves an empty file, never half a schema.
fn create(connection: &mut Connection) -> Result<Uuid, Error> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Two processes may create at once; the second finds the work done.
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
    // The schema is what defends history, so a database without one of its triggers is refused.
    if let Some(what) = schema_fault(connection)? {
        return Err(unusable(path, &what));
    }
    if connection.is_readonly(rusqlite::MAIN_DB)? {
        let what = "it is read-only: allow this process to write to the file and its directory";
        return Err(unusable(path, what));
    }
    check_end(connection)?;
    // A backup, or a copy made by other tools, may have come back without it.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    read_log_id(connection)
}

/// What is wrong with the schema, and what to do: an object of `schema.sql` that is missing or says
/// something else, or a trigger or an index of another program on one of our tables, which could change or
/// refuse what is recorded. Tables, views and their indexes that touch none of ours are left alone:
/// Litestream has two, for example.
pub(in crate::es) fn schema_fault(connection: &Connection) -> Result<Option<String>, Error> {
    let ours = Connection::open_in_memory()?;
    ours.execute_batch(SCHEMA)?;
    let (intended, found) = (objects(&ours)?, objects(connection)?);
    if !intended.iter().all(|object| found.contains(object)) {
        let what = "its tables and triggers are not those of schema.sql: restore a backup";
        return Ok(Some(what.to_owned()));
    }
    let is_ours = |table: &str| intended.iter().any(|object| object.table.eq_ignore_ascii_case(table));
    let meddles = |object: &&Object| !intended.contains(object) && is_ours(&object.table);
    Ok(found.iter().find(meddles).map(|Object { kind, name, table, .. }| {
        let verb = kind.to_uppercase();
        format!("its {kind} {name} on {table} is not in schema.sql: remove it with DROP {verb} \"{name}\"")
    }))
}

/// A table, index, trigger or view.
#[derive(PartialEq, Eq)]
struct Object {
    kind: String,
    name: String,
    /// The table that it belongs to; of a table, itself.
    table: String,
    sql: String,
}

fn objects(connection: &Connection) -> rusqlite::Result<Vec<Object>> {
    let sql = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema
               WHERE name NOT LIKE 'sqlite_stat%' ORDER BY name";
    let object = |row: &rusqlite::Row<'_>| {
        let sql = without_comments(row.get_ref(3)?.as_str()?);
        Ok(Object { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql })
    };
    connection.prepare(sql)?.query_map([], object)?.collect()
}

/// SQL without its comments and line breaks: SQLite keeps both, and a comment that is worded anew must
/// not make strangers of the databases that are there.
fn without_comments(sql: &str) -> String {
    let (mut kept, mut rest) = (String::new(), sql);
    while let Some(at) = rest.find(['\'', '-']) {
        let (before, from) = rest.split_at(at);
        kept.push_str(before);
        let end = match from.strip_prefix('\'') {
            Some(text) => text.find('\'').map_or(from.len(), |end| end + 2),
            None if from.starts_with("--") => from.find('\n').unwrap_or(from.len()),
            None => 1,
        };
        if !from.starts_with("--") {
            kept.push_str(&from[..end]);
        }
        rest = &from[end..];
    }
    kept.push_str(rest);
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The head is where the events end, and the last of them are chained.
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
        let before = previous.or((event.position == 1).then_some(Hash::ZERO));
        if before.is_some_and(|hash| chain(&hash, &event) != event.hash) {
            return Err(Error::Corrupt(format!("the hash chain is broken at event {}", event.position)));
        }
        previous = Some(event.hash);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_schema_says_is_compared_and_not_how_it_is_commented() {
        let today = "CREATE TABLE t (\n    a INT, -- it's new\n    b TEXT CHECK (b != '-- no') -- end\n)";
        assert_eq!(without_comments(today), "CREATE TABLE t ( a INT, b TEXT CHECK (b != '-- no') )");
        assert_eq!(without_comments("SELECT 1 - 2, 'it''s - so'"), "SELECT 1 - 2, 'it''s - so'");
        assert_ne!(without_comments("RAISE(ABORT, 'a')"), without_comments("RAISE(ABORT, 'b')"));
    }
}
