//! A log's database: opened once, then a writer and any number of readers connect to it.
//!
//! Read next: `file.rs`, how the file is opened; `writer.rs`.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use uuid::Uuid;

use super::file::{self, BUSY_TIMEOUT};
use super::lock::WriterLock;
use super::reader::SqliteReader;
use super::wal_flusher::{Checkpointer, LONGEST_WAL};
use super::writer::SqliteStore;
use crate::es::Error;
use crate::es::database_file::{Access, DatabaseFile};
use crate::es::log::store::{Database, EventReader, EventStore};
use crate::es::log::upkeep::{LogBytes, LogUpkeep};

/// Statements kept prepared per connection: more than there are in this file.
const STATEMENT_CACHE: usize = 32;

/// The writer's page cache, in KiB. A stream in use has the end of its index entries on a page of its
/// own, and a page that is not kept is read again for each event: this keeps 2000 such streams.
const WRITER_CACHE_KIB: i64 = 8 << 10;

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
        let (file, log_id) = file::open(path.as_ref())?;
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
        Ok(Box::new(SqliteStore::new(connection, checkpointer, upkeep, lock, file)))
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

pub(super) fn connect(file: &DatabaseFile, access: Access) -> Result<Connection, Error> {
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
