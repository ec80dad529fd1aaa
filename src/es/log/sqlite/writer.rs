//! The writer's connection: one transaction for each batch, one sync for each transaction.
//!
//! Read next: `wal_flusher.rs`, the thread beside it.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use uuid::Uuid;

use super::connection::writing;
use super::lock::WriterLock;
use super::reader::read_stream;
use super::row::{insert_event, insert_receipt, uuid_at};
use super::wal_flusher::WalFlusher;
use super::wal_thresholds::WalLimit;
use crate::es::database_file::{BUSY_TIMEOUT, DatabaseFile};
use crate::es::log::store::{EventStore, Fingerprint, Head, Receipt, Snapshot, Visitor};
use crate::es::log::upkeep::LogUpkeep;
use crate::es::{Error, Hash, RecordedEvent};

/// Bytes that a recovery writes to find out whether the storage works again: as many as a commit of some
/// dozens of commands. On a disk with less room the next commands would fail again.
const PROBE_BYTES: usize = 64 << 10;

pub(super) struct SqliteStore {
    connection: Connection,
    wal_limit: WalLimit,
    /// Position of the last event when the transaction began.
    begun_at: u64,
    /// Events in the open transaction.
    appended: u64,
    /// Whether the connection was opened again after the last failure.
    has_recovered: bool,
    flusher: WalFlusher,
    upkeep: Arc<LogUpkeep>,
    // Dropped in this order: the descriptor of the file is closed after SQLite's descriptors.
    lock: WriterLock,
    file: Arc<DatabaseFile>,
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // Without a database under its name, only the lock file still says which log is lost.
        if self.file.check().is_err() {
            self.lock.keep_file();
        }
        // SQLite removes the write-ahead log with the last connection; readers may connect again later.
        self.file.unwatch();
    }
}

impl SqliteStore {
    pub(super) fn new(
        connection: Connection,
        wal_limit: WalLimit,
        flusher: WalFlusher,
        upkeep: Arc<LogUpkeep>,
        lock: WriterLock,
        file: Arc<DatabaseFile>,
    ) -> Self {
        let (begun_at, appended, has_recovered) = (0, 0, false);
        Self { connection, wal_limit, begun_at, appended, has_recovered, flusher, upkeep, lock, file }
    }

    fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>, Error> {
        Ok(self.connection.prepare_cached(sql)?)
    }

    /// Flushes the write-ahead log because the files may have lost their names: a restart would miss a
    /// removed write-ahead log, but finds the database.
    fn save(&self) {
        if !self.connection.is_autocommit() {
            // The transaction is abandoned in any case.
            drop(self.connection.execute_batch("ROLLBACK"));
        }
        // The caller reports the first error; an orderly stop flushes the rest.
        drop(self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())));
    }

    /// See [`EventStore::recover`].
    fn reopen(&mut self) -> Result<(), Error> {
        // Dropping the old connection abandons its transaction.
        self.connection = writing(&self.file, self.wal_limit).inspect_err(|_| self.save())?;
        // On a full disk, a flushed write-ahead log is written from the beginning again. The file keeps its
        // size, because another program could take the freed space. If a reader prevents the flush, the next
        // recovery tries again.
        self.connection.busy_timeout(Duration::ZERO)?;
        let flushed = self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        self.upkeep.record_flush(flushed.map_err(|error| error.to_string()));
        self.connection.busy_timeout(BUSY_TIMEOUT)?;
        self.probe()
    }

    /// Finds out whether a failed commit has left its events. The recovery writes over the place of the
    /// events, and syncs: absent events stay absent, after a crash too. Events that are present may still be
    /// missing on the disk; callers ask again, by their keys.
    fn outcome_of_failed_commit(&mut self, failed: Error) -> Error {
        let found = self.reopen().and_then(|()| {
            let head: u64 = self.prepare("SELECT head FROM log")?.query_row([], |row| row.get(0))?;
            Ok(head)
        });
        self.has_recovered = found.is_ok();
        if found == Ok(self.begun_at) { failed } else { Error::OutcomeUnknown }
    }

    /// Writes and syncs as much as commands do, in the only table whose rows are disposable.
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
        // IMMEDIATE: a deferred transaction takes the write lock later, and can fail half way.
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
        insert_event(&self.connection, event)?;
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
        Ok(insert_receipt(&self.connection, key, command, receipt)?)
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
        // Before the COMMIT: a restart would not find events in a file that has lost its name.
        self.file.check()?;
        let committed = self.prepare("COMMIT").and_then(|mut commit| Ok(commit.execute([])?));
        if let Err(error) = committed {
            return Err(self.outcome_of_failed_commit(error));
        }
        // The events are in the file, but a file without a name may not be found at the next start.
        let wal_bytes = self.file.wal_bytes().map_err(|_| Error::OutcomeUnknown)?;
        self.flusher.count_commit(self.appended, wal_bytes);
        Ok(())
    }

    fn recover(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.has_recovered) {
            return Ok(());
        }
        self.reopen()
    }
}
