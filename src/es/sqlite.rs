//! The event store on SQLite, the embedded default.
//!
//! One writer, any number of readers, each on a connection of its own: in WAL mode readers never
//! wait for the writer nor the writer for them. `synchronous=FULL` makes a commit durable with one
//! sync. The rules of the log itself are in `schema.sql`, where every client meets them.
//!
//! **Invariant:** one process writes. The writer holds a lock on a file beside the database for as
//! long as it lives; SQLite alone would let a second one in between two transactions.
//!
//! Read next: `executor.rs`.

use std::fs::{File, OpenOptions, TryLockError};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, OpenFlags, OptionalExtension, Row, params};
use uuid::Uuid;

use super::store::{Database, EventReader, EventStore, Fingerprint, Head, Receipt, Snapshot, Visitor};
use super::{Error, Hash, RecordedEvent};

/// The schema that runs.
pub const SCHEMA: &str = include_str!("../../schema.sql");

const APPLICATION_ID: i64 = 0x5441_4c4c;
const SCHEMA_VERSION: i64 = 1;

/// The oldest SQLite without the WAL-reset bug, which could corrupt a database in WAL mode.
const OLDEST_SQLITE: i32 = 3_051_003;

/// Only a backup or somebody's shell can hold a lock that we wait for, and neither for long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements kept prepared per connection: more than there are in this file.
const STATEMENT_CACHE: usize = 32;

const EVENT_COLUMNS: &str = "position, event_id, stream_id, stream_type, version, type, \
                             schema_version, data, metadata, recorded_at, hash";

/// A SQLite file that holds a log. Opening it creates it where there is none.
#[derive(Debug)]
pub struct SqliteDatabase {
    path: PathBuf,
    log_id: Uuid,
    // Held, and so locked, from the first `writer()` on.
    lock: Mutex<Option<File>>,
}

impl SqliteDatabase {
    /// Opens the database at `path`, or creates it.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the file is not a log of this version; it is left as it is.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        if rusqlite::version_number() < OLDEST_SQLITE {
            return Err(Error::Unusable(format!(
                "SQLite {} can corrupt databases in WAL mode: use 3.51.3 or later",
                rusqlite::version()
            )));
        }
        let mut connection = Connection::open(&path).map_err(|error| unusable(&path, &error.to_string()))?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let log_id = match kind_of(&connection).map_err(|error| unusable(&path, &error.to_string()))? {
            FileKind::Empty => create(&mut connection)?,
            FileKind::Log { version: SCHEMA_VERSION } => {
                check_schema(&connection, &path)?;
                read_log_id(&connection)?
            }
            FileKind::Log { version } => {
                let what = format!(
                    "its schema has version {version}, this build knows {SCHEMA_VERSION}: use the build that wrote it, or a later one"
                );
                return Err(unusable(&path, &what));
            }
            FileKind::Foreign => {
                return Err(unusable(
                    &path,
                    "it is a SQLite database of another program: choose another path",
                ));
            }
        };
        Ok(Self { path, log_id, lock: Mutex::new(None) })
    }

    fn lock_for_writing(&self) -> Result<(), Error> {
        let mut lock = self.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let lock_path = with_suffix(&self.path, "-lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let file = file.map_err(|error| unusable(&lock_path, &error.to_string()))?;
        match file.try_lock() {
            Ok(()) => {
                *lock = Some(file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => {
                Err(unusable(&self.path, "another process writes to it: stop that one first"))
            }
            Err(TryLockError::Error(error)) => Err(unusable(&lock_path, &error.to_string())),
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

impl Database for SqliteDatabase {
    fn log_id(&self) -> Uuid {
        self.log_id
    }

    fn writer(&self) -> Result<Box<dyn EventStore>, Error> {
        self.lock_for_writing()?;
        let connection = connect(&self.path, Access::Write)?;
        Ok(Box::new(SqliteStore { path: self.path.clone(), connection }))
    }

    fn reader(&self) -> Result<Box<dyn EventReader>, Error> {
        Ok(Box::new(SqliteReader { connection: connect(&self.path, Access::Read)? }))
    }
}

fn unusable(path: &Path, what: &str) -> Error {
    Error::Unusable(format!("{} cannot be used: {what}", path.display()))
}

// ------------------------------------------------------------------------- files and schema

enum FileKind {
    Empty,
    Log { version: i64 },
    Foreign,
}

fn kind_of(connection: &Connection) -> rusqlite::Result<FileKind> {
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
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Two processes may create at once; the second finds the work done.
    if let FileKind::Empty = kind_of(&transaction)? {
        transaction.execute_batch(SCHEMA)?;
        transaction.execute("INSERT INTO log (only, log_id) VALUES (1, ?1)", [Uuid::now_v7().to_string()])?;
    }
    transaction.commit()?;
    read_log_id(connection)
}

fn read_log_id(connection: &Connection) -> Result<Uuid, Error> {
    let text: String = connection.query_row("SELECT log_id FROM log", [], |row| row.get(0))?;
    Uuid::try_parse(&text).map_err(|_| Error::Corrupt("its log_id is no UUID".into()))
}

/// The schema is what defends history, so a database without one of its triggers is refused.
fn check_schema(connection: &Connection, path: &Path) -> Result<(), Error> {
    let intended = Connection::open_in_memory()?;
    intended.execute_batch(SCHEMA)?;
    if objects(connection)? == objects(&intended)? {
        return Ok(());
    }
    Err(unusable(path, "its tables and triggers are not those of schema.sql: restore a backup"))
}

fn objects(connection: &Connection) -> rusqlite::Result<Vec<(String, Option<String>)>> {
    connection
        .prepare("SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

fn connect(path: &Path, access: Access) -> Result<Connection, Error> {
    // Readers may write too, as far as SQLite is concerned: the first reader of a WAL must be able to
    // recover it. `query_only` keeps them from writing rows.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    // Where SQLite has statistics compiled in, it would plan a statement anew for each value bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    match access {
        Access::Read => connection.pragma_update(None, "query_only", "ON")?,
        Access::Write => {
            // One sync per commit: a receipt is never lost, not even to a power cut.
            connection.pragma_update(None, "synchronous", "FULL")?;
            // INSERT OR REPLACE then fires delete triggers too; the schema holds without it.
            connection.pragma_update(None, "recursive_triggers", "ON")?;
        }
    }
    Ok(connection)
}

// --------------------------------------------------------------------------------- writing

struct SqliteStore {
    path: PathBuf,
    connection: Connection,
}

impl SqliteStore {
    fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>, Error> {
        Ok(self.connection.prepare_cached(sql)?)
    }
}

impl EventStore for SqliteStore {
    fn begin(&mut self) -> Result<Head, Error> {
        // IMMEDIATE: a deferred transaction that turns into a writing one can fail half way.
        self.prepare("BEGIN IMMEDIATE")?.execute([])?;
        let sql = "SELECT log.head, events.hash, events.recorded_at
                   FROM log LEFT JOIN events ON events.position = log.head";
        self.prepare(sql)?
            .query_row([], |row| {
                Ok(Head {
                    position: row.get(0)?,
                    hash: Hash(row.get::<_, Option<[u8; 32]>>(1)?.unwrap_or(Hash::ZERO.0)),
                    recorded_at: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
                })
            })
            .map_err(Error::from)
    }

    fn events_after(&mut self, stream_id: Uuid, version: u64, visit: &mut Visitor<'_>) -> Result<(), Error> {
        read_stream(&self.connection, stream_id, version, u32::MAX, visit)
    }

    fn append(&mut self, event: &RecordedEvent<'_>) -> Result<(), Error> {
        // OR ROLLBACK: as the schema says at its triggers, so that no statement journal is kept.
        let sql = "INSERT OR ROLLBACK INTO events (position, event_id, stream_id, stream_type, version, type,
                                       schema_version, data, metadata, recorded_at, hash)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        let mut buffers = [Uuid::encode_buffer(); 2];
        let [event_id, stream_id] = &mut buffers;
        self.prepare(sql)?.execute(params![
            event.position,
            &*event.event_id.as_hyphenated().encode_lower(event_id),
            &*event.stream_id.as_hyphenated().encode_lower(stream_id),
            event.stream_type,
            event.version,
            event.event_type,
            event.schema_version,
            event.data,
            event.metadata,
            event.recorded_at,
            event.hash.0,
        ])?;
        Ok(())
    }

    fn receipt(&mut self, key: &str) -> Result<Option<(Fingerprint, Receipt)>, Error> {
        let sql = "SELECT command, stream_id, version, position FROM receipts WHERE idempotency_key = ?1";
        let kept = self.prepare(sql)?.query_row([key], |row| {
            let receipt =
                Receipt { stream_id: uuid_at(row, 1)?, version: row.get(2)?, position: row.get(3)? };
            Ok((row.get(0)?, receipt))
        });
        Ok(kept.optional()?)
    }

    fn keep_receipt(&mut self, key: &str, command: &Fingerprint, receipt: &Receipt) -> Result<(), Error> {
        let sql = "INSERT OR ROLLBACK INTO receipts (idempotency_key, command, stream_id, version, position)
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let stream_id = receipt.stream_id.to_string();
        self.prepare(sql)?.execute(params![key, command, stream_id, receipt.version, receipt.position])?;
        Ok(())
    }

    fn snapshot(&mut self, stream_id: Uuid) -> Result<Option<Snapshot>, Error> {
        let sql = "SELECT version, shape, state FROM snapshots WHERE stream_id = ?1";
        let kept = self.prepare(sql)?.query_row([stream_id.to_string()], |row| {
            Ok(Snapshot { version: row.get(0)?, shape: row.get(1)?, state: row.get(2)? })
        });
        Ok(kept.optional()?)
    }

    fn keep_snapshot(&mut self, stream_id: Uuid, snapshot: &Snapshot) -> Result<(), Error> {
        let sql =
            "INSERT OR REPLACE INTO snapshots (stream_id, version, shape, state) VALUES (?1, ?2, ?3, ?4)";
        self.prepare(sql)?.execute(params![
            stream_id.to_string(),
            snapshot.version,
            snapshot.shape,
            snapshot.state
        ])?;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.prepare("COMMIT")?.execute([])?;
        Ok(())
    }

    fn recover(&mut self) -> Result<(), Error> {
        // Dropping the old connection gives up its transaction.
        self.connection = connect(&self.path, Access::Write)?;
        Ok(())
    }
}

// --------------------------------------------------------------------------------- reading

struct SqliteReader {
    connection: Connection,
}

impl EventReader for SqliteReader {
    fn head(&mut self) -> Result<u64, Error> {
        let mut statement = self.connection.prepare_cached("SELECT head FROM log")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    fn read(&mut self, after: u64, limit: u32, visit: &mut Visitor<'_>) -> Result<(), Error> {
        let sql =
            format!("SELECT {EVENT_COLUMNS} FROM events WHERE position > ?1 ORDER BY position LIMIT ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        // A position beyond SQLite's integers is beyond the log as well.
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        show_all(statement.query(params![after, limit])?, visit)
    }

    fn read_stream(
        &mut self,
        stream_id: Uuid,
        after: u64,
        limit: u32,
        visit: &mut Visitor<'_>,
    ) -> Result<(), Error> {
        read_stream(&self.connection, stream_id, after, limit, visit)
    }
}

fn read_stream(
    connection: &Connection,
    stream_id: Uuid,
    after: u64,
    limit: u32,
    visit: &mut Visitor<'_>,
) -> Result<(), Error> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM events WHERE stream_id = ?1 AND version > ?2 ORDER BY version LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut buffer = Uuid::encode_buffer();
    let stream_id: &str = stream_id.as_hyphenated().encode_lower(&mut buffer);
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    show_all(statement.query(params![stream_id, after, limit])?, visit)
}

fn show_all(mut rows: rusqlite::Rows<'_>, visit: &mut Visitor<'_>) -> Result<(), Error> {
    while let Some(row) = rows.next()? {
        let event = event_of(row).map_err(|error| Error::Corrupt(error.to_string()))?;
        if let ControlFlow::Break(()) = visit(&event)? {
            break;
        }
    }
    Ok(())
}

/// The event of a row of [`EVENT_COLUMNS`], borrowed from it.
fn event_of<'r>(row: &'r Row<'_>) -> Result<RecordedEvent<'r>, Box<dyn std::error::Error + Send + Sync>> {
    let text = |index| -> Result<&'r str, Box<dyn std::error::Error + Send + Sync>> {
        Ok(row.get_ref(index)?.as_str()?)
    };
    Ok(RecordedEvent {
        position: row.get(0)?,
        event_id: Uuid::try_parse(text(1)?)?,
        stream_id: Uuid::try_parse(text(2)?)?,
        stream_type: text(3)?,
        version: row.get(4)?,
        event_type: text(5)?,
        schema_version: row.get(6)?,
        data: text(7)?,
        metadata: text(8)?,
        recorded_at: text(9)?,
        hash: Hash(row.get_ref(10)?.as_blob()?.try_into()?),
    })
}

fn uuid_at(row: &Row<'_>, index: usize) -> rusqlite::Result<Uuid> {
    let text = row.get_ref(index)?.as_str()?;
    Uuid::try_parse(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
    })
}
