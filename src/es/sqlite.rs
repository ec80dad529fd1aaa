//! The event store on SQLite, the embedded default.
//!
//! One writer, any number of readers, each on a connection of its own: in WAL mode readers never
//! wait for the writer nor the writer for them. `synchronous=FULL` makes a commit durable with one
//! sync. The rules of the log itself are in `schema.sql`, where every client meets them.
//!
//! **Invariant:** one process writes. The writer holds a lock on the database file for as long as it
//! lives; SQLite alone would let a second one in between two transactions. And no receipt is given for a
//! file that has lost its name: see [`DatabaseFile::check`].
//!
//! Read next: `sqlite_file.rs`, how the file is opened; `sqlite_checkpoint.rs`, the thread beside the
//! writer; then `executor.rs`.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::database_file::{Access, DatabaseFile};
use super::log_upkeep::{LogBytes, LogUpkeep};
use super::sqlite_checkpoint::{Checkpointer, LONGEST_WAL};
use super::sqlite_file::{self, BUSY_TIMEOUT, WriterLock};
use super::store::{Database, EventReader, EventStore, Fingerprint, Head, Receipt, Snapshot, Visitor};
use super::{Error, Hash, RecordedEvent};

/// Statements kept prepared per connection: more than there are in this file.
const STATEMENT_CACHE: usize = 32;

/// The writer's page cache, in KiB. A stream in use has the end of its index entries on a page of its
/// own, and a page that is not kept is read again for each event: this keeps 2000 such streams.
const WRITER_CACHE_KIB: i64 = 8 << 10;

/// What is written to see whether the storage works again: as much as a commit of some dozens of
/// commands. Where there is less room, commands would fail again.
const PROBE_BYTES: usize = 64 << 10;

pub(super) const EVENT_COLUMNS: &str = "position, event_id, stream_id, stream_type, version, type, \
                             schema_version, data, metadata, recorded_at, hash";

/// A SQLite file that holds a log. Opening it creates it where there is none.
#[derive(Debug)]
pub struct SqliteDatabase {
    file: Arc<DatabaseFile>,
    log_id: Uuid,
}

impl SqliteDatabase {
    /// Opens the database at `path`, or creates it.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the file is not a log of this version, or is damaged as far as a
    /// look at its ends can tell; it is left as it is.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let (file, log_id) = sqlite_file::open(path.as_ref())?;
        Ok(Self { file: Arc::new(file), log_id })
    }
}

impl Database for SqliteDatabase {
    fn log_id(&self) -> Uuid {
        self.log_id
    }

    fn writer(&self, upkeep: Arc<LogUpkeep>) -> Result<Box<dyn EventStore>, Error> {
        let lock = WriterLock::take(&self.file, self.log_id)?;
        let connection = connect(&self.file, Access::Write)?;
        // A first read, with which SQLite opens the write-ahead log.
        connection.query_row("SELECT head FROM log", [], |_| Ok(()))?;
        self.file.watch();
        let checkpointer = connect(&self.file, Access::Write)?;
        let checkpointer = Checkpointer::start(checkpointer, Arc::clone(&self.file), Arc::clone(&upkeep))?;
        let file = Arc::clone(&self.file);
        Ok(Box::new(SqliteStore {
            connection,
            begun_at: 0,
            appended: 0,
            has_recovered: false,
            checkpointer,
            _lock: lock,
            file,
            upkeep,
        }))
    }

    fn reader(&self) -> Result<Box<dyn EventReader>, Error> {
        let connection = connect(&self.file, Access::Read)?;
        Ok(Box::new(SqliteReader { connection, file: Arc::clone(&self.file) }))
    }

    fn bytes(&self) -> LogBytes {
        self.file.bytes()
    }

    fn check(&self) -> Result<(), Error> {
        Ok(self.file.check()?)
    }
}

// ---------------------------------------------------------------------------- connections

fn connect(file: &DatabaseFile, access: Access) -> Result<Connection, Error> {
    // Readers may write too, as far as SQLite is concerned: the first reader of a WAL must be able to
    // recover it. `query_only` keeps them from writing rows.
    let connection = file.connect(Access::Write)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    // Where SQLite has statistics compiled in, it would plan a statement anew for each value bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    match access {
        Access::Read => connection.pragma_update(None, "query_only", "ON")?,
        Access::Write => {
            // One sync per commit: a receipt is never lost, not even to a power cut.
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
            connection.pragma_update(None, "wal_autocheckpoint", LONGEST_WAL)?;
            // INSERT OR REPLACE then fires delete triggers too; the schema holds without it.
            connection.pragma_update(None, "recursive_triggers", "ON")?;
            // The schema has no foreign keys; those of another program's tables must not refuse our rows.
            connection.pragma_update(None, "foreign_keys", "OFF")?;
        }
    }
    Ok(connection)
}

// --------------------------------------------------------------------------------- writing

struct SqliteStore {
    connection: Connection,
    /// Where the log ended when the transaction began.
    begun_at: u64,
    /// Events in the transaction that is open.
    appended: usize,
    /// Whether the connection was opened anew after the last failure.
    has_recovered: bool,
    checkpointer: Checkpointer,
    upkeep: Arc<LogUpkeep>,
    // Dropped in this order: the descriptor of the file goes after SQLite's.
    _lock: WriterLock,
    file: Arc<DatabaseFile>,
}

impl SqliteStore {
    fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>, Error> {
        Ok(self.connection.prepare_cached(sql)?)
    }

    /// Moves what the write-ahead log holds into the database, when the file may not be found under its name
    /// again: a restart would miss a write-ahead log that was removed, but not the database.
    fn save(&self) {
        if !self.connection.is_autocommit() {
            // The transaction is given up anyway.
            drop(self.connection.execute_batch("ROLLBACK"));
        }
        // The error that led here is told; an orderly stop moves what this could not.
        drop(self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())));
    }

    /// See [`EventStore::recover`].
    fn reopen(&mut self) -> Result<(), Error> {
        // Dropping the old connection gives up its transaction.
        self.connection = connect(&self.file, Access::Write).inspect_err(|_| self.save())?;
        // On a full disk, the write-ahead log may be used from its beginning again once it is moved into
        // the database. It keeps its size: what it gave back, another program might take. A reader may
        // be in the way; then the next call tries again.
        self.connection.busy_timeout(Duration::ZERO)?;
        let restarted = self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        self.upkeep.checkpointed(restarted.map_err(|error| error.to_string()));
        self.connection.busy_timeout(BUSY_TIMEOUT)?;
        self.probe()
    }

    /// Finds out at once whether a commit that failed has left its events. The recovery writes where they
    /// would lie, and syncs: what is absent then stays absent, after a crash too. What is present need not
    /// be on the disk; callers ask again, by their keys.
    fn outcome_of_failed_commit(&mut self, failed: Error) -> Error {
        let found = self.reopen().and_then(|()| {
            let head: u64 = self.prepare("SELECT head FROM log")?.query_row([], |row| row.get(0))?;
            Ok(head)
        });
        self.has_recovered = found.is_ok();
        if found == Ok(self.begun_at) { failed } else { Error::OutcomeUnknown }
    }

    /// Writes as much as commands do, to the disk, in the one table whose rows mean nothing.
    fn probe(&self) -> Result<(), Error> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let insert =
            "INSERT OR REPLACE INTO snapshots (stream_id, version, shape, state) VALUES ('probe', 0, '', ?1)";
        self.connection.execute(insert, ["x".repeat(PROBE_BYTES)])?;
        self.connection.execute_batch("DELETE FROM snapshots WHERE stream_id = 'probe'; COMMIT")?;
        Ok(())
    }
}

impl EventStore for SqliteStore {
    fn begin(&mut self) -> Result<Head, Error> {
        // IMMEDIATE: a deferred transaction that turns into a writing one can fail half way.
        self.prepare("BEGIN IMMEDIATE")?.execute([])?;
        (self.appended, self.has_recovered) = (0, false);
        let sql = "SELECT log.head, events.hash, events.recorded_at
                   FROM log LEFT JOIN events ON events.position = log.head";
        let head = self.prepare(sql)?.query_row([], |row| {
            Ok(Head {
                position: row.get(0)?,
                hash: Hash(row.get::<_, Option<[u8; 32]>>(1)?.unwrap_or(Hash::ZERO.0)),
                recorded_at: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
            })
        })?;
        self.begun_at = head.position;
        Ok(head)
    }

    fn events_after(&mut self, stream_id: Uuid, version: u64, visit: &mut Visitor<'_>) -> Result<(), Error> {
        read_stream(&self.connection, stream_id, version, u32::MAX, visit)
    }

    fn append(&mut self, event: &RecordedEvent<'_>) -> Result<(), Error> {
        // OR ROLLBACK: as the schema's triggers do, for the same reason.
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
        self.appended += 1;
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
        self.file.check()?;
        let committed = self.prepare("COMMIT").and_then(|mut commit| Ok(commit.execute([])?));
        if let Err(error) = committed {
            return Err(self.outcome_of_failed_commit(error));
        }
        // The events are in a file. Whether it will be found again is not known if it has lost its name.
        self.file.check().map_err(|_| Error::OutcomeUnknown)?;
        self.checkpointer.committed(self.appended);
        Ok(())
    }

    fn recover(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.has_recovered) {
            return Ok(());
        }
        self.reopen()
    }
}

// --------------------------------------------------------------------------------- reading

struct SqliteReader {
    connection: Connection,
    file: Arc<DatabaseFile>,
}

impl EventReader for SqliteReader {
    fn head(&mut self) -> Result<u64, Error> {
        let mut statement = self.connection.prepare_cached("SELECT head FROM log")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    fn read(&mut self, after: u64, limit: u32, visit: &mut Visitor<'_>) -> Result<(), Error> {
        self.file.check()?;
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
        self.file.check()?;
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
pub(super) fn event_of<'r>(
    row: &'r Row<'_>,
) -> Result<RecordedEvent<'r>, Box<dyn std::error::Error + Send + Sync>> {
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
