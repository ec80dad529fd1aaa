//! A log's database: opened once, then connected to by one writer and any number of readers.
//!
//! Read next: `file.rs`, how the file is opened; `writer.rs`.

use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::connection::{reading, writing};
use super::file;
use super::lock::{LockFile, WriterLock};
use super::reader::SqliteReader;
use super::wal_flusher::WalFlusher;
use super::wal_thresholds::WalLimit;
use super::writer::SqliteStore;
use crate::es::Error;
use crate::es::database_file::{DatabaseFile, IN_MEMORY, LogBytes};
use crate::es::log::store::{Database, EventReader, EventStore};
use crate::es::log::upkeep::LogUpkeep;

/// A SQLite file that holds a log.
///
/// While the log is open, SQLite keeps `NAME-wal` (committed events that are not in the database yet) and
/// `NAME-shm` beside the file, and the writer keeps `NAME-lock`. Dropping the
/// [`Executor`](crate::es::Executor) and the last [`EventLog`](crate::es::EventLog) leaves the database
/// alone; see also [`SqliteDatabase::keep_lock_file`].
#[derive(Debug)]
pub struct SqliteDatabase {
    file: Arc<DatabaseFile>,
    log_id: Uuid,
    wal_limit: WalLimit,
    lock_file: LockFile,
}

impl SqliteDatabase {
    /// Opens the database at `path`, or creates a new database.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the file is not a log of this version, or when a check of its ends finds
    /// damage; the file is left unchanged. For `:memory:`: use [`MemoryDatabase`](crate::es::MemoryDatabase).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        // `DatabasePath` would refuse the name too, but does not know of `MemoryDatabase`.
        if path.as_os_str() == IN_MEMORY {
            let what =
                "SQLite keeps no log in memory here: open es::MemoryDatabase, or give the path of a file";
            return Err(Error::unusable(path, what));
        }
        let (file, log_id) = file::open(path)?;
        let (wal_limit, lock_file) = (WalLimit::DEFAULT, LockFile::Removed);
        Ok(Self { file: Arc::new(file), log_id, wal_limit, lock_file })
    }

    /// Limits the write-ahead log to `bytes`, 1 MiB to 1 GiB; without this call, 64 MiB. A device with small
    /// flash wants less. A smaller log is flushed more often, and each flush syncs the database.
    ///
    /// Three cases exceed the limit for a while: a reader in another process that stays, a call of
    /// [`EventLog::read`](crate::es::EventLog::read) that stays, and one commit larger than a quarter of the limit.
    ///
    /// # Errors
    /// [`Error::Unusable`] for a number outside of the range.
    pub fn with_wal_limit(self, bytes: u64) -> Result<Self, Error> {
        Ok(Self { wal_limit: WalLimit::of(bytes)?, ..self })
    }

    /// Keeps the file `NAME-lock`, which names the log, when the writer is dropped. With the lock file, a
    /// database that vanished while no process had the log open is refused at the next start as lost. Without
    /// the file, the next start begins a new log.
    #[must_use]
    pub fn keep_lock_file(self) -> Self {
        Self { lock_file: LockFile::Kept, ..self }
    }
}

impl Database for SqliteDatabase {
    fn log_id(&self) -> Uuid {
        self.log_id
    }

    fn writer(&self, upkeep: Arc<LogUpkeep>) -> Result<Box<dyn EventStore>, Error> {
        // The lock comes first: no connection may write before the process has the right to write.
        let lock = WriterLock::take(&self.file, self.log_id, self.lock_file)?;
        let connection = writing(&self.file, self.wal_limit)?;
        // The first read makes SQLite open the write-ahead log, which is watched from here on.
        connection.query_row("SELECT head FROM log", [], |_| Ok(()))?;
        self.file.watch();
        let flusher = WalFlusher::start(
            // A connection of its own: on the writer's connection, commits would wait for each flush.
            writing(&self.file, self.wal_limit)?,
            self.wal_limit,
            Arc::clone(&self.file),
            Arc::clone(&upkeep),
        )?;
        let file = Arc::clone(&self.file);
        Ok(Box::new(SqliteStore::new(connection, self.wal_limit, flusher, upkeep, lock, file)))
    }

    fn reader(&self) -> Result<Box<dyn EventReader>, Error> {
        let connection = reading(&self.file)?;
        Ok(Box::new(SqliteReader { connection, file: Arc::clone(&self.file) }))
    }

    fn bytes(&self) -> LogBytes {
        self.file.bytes()
    }

    fn check(&self) -> Result<(), Error> {
        Ok(self.file.check()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::es::fixtures::TempPath;

    #[test]
    fn a_limit_that_no_flush_could_hold_is_refused() {
        let path = TempPath::new();
        let limited = |bytes| SqliteDatabase::open(&*path).unwrap().with_wal_limit(bytes);
        for bytes in [0, (1 << 20) - 1, (1 << 30) + 1, u64::MAX] {
            let Err(Error::Unusable(what)) = limited(bytes) else { panic!("{bytes} bytes were accepted") };
            assert!(what.contains("give 1048576 to 1073741824 bytes"), "{what}");
        }
        for bytes in [1 << 20, 1 << 30] {
            limited(bytes).unwrap().writer(Arc::default()).unwrap();
        }
    }

    #[test]
    fn a_database_in_memory_is_not_opened_as_a_file() {
        let Err(Error::Unusable(what)) = SqliteDatabase::open(":memory:") else { panic!("it was opened") };
        assert!(what.contains("es::MemoryDatabase"), "{what}");
    }
}
