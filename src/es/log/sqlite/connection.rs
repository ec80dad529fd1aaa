//! The settings of a log's connections.
//!
//! Read next: `writer.rs`, `reader.rs`.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::wal_thresholds::WalLimit;
use crate::es::Error;
use crate::es::database_file::{Access, DatabaseFile};

/// Statements kept prepared per connection: more than the log has.
const STATEMENT_CACHE: usize = 32;

/// KiB of the writer's page cache. An active stream has the end of its index entries on a page of its own,
/// and an evicted page is read again for each event: this size keeps 2000 such streams.
const WRITER_CACHE_KIB: i64 = 8 << 10;

/// Opens a connection for a reader.
pub(super) fn reading(file: &DatabaseFile) -> Result<Connection, Error> {
    let connection = connect(file)?;
    connection.pragma_update(None, "query_only", "ON")?;
    Ok(connection)
}

/// Opens a connection for the writer or for the WAL flusher.
pub(super) fn writing(file: &DatabaseFile, limit: WalLimit) -> Result<Connection, Error> {
    let connection = connect(file)?;
    // One sync per commit: a receipt is never lost, not even to a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", limit.writer_pages())?;
    // After a reader let the WAL grow further, the commit that begins the WAL again cuts the file back.
    connection.pragma_update(None, "journal_size_limit", limit.writer_bytes())?;
    // INSERT OR REPLACE then fires delete triggers too; the schema holds without them.
    connection.pragma_update(None, "recursive_triggers", "ON")?;
    // The schema has no foreign keys; those of another program's tables must not refuse events.
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    Ok(connection)
}

fn connect(file: &DatabaseFile) -> Result<Connection, Error> {
    // Readers open the file for writing too: the first connection of a WAL must be able to recover the
    // WAL, and the last connection flushes the WAL. `query_only` keeps readers from writing rows.
    let connection = file.connect(Access::Write)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    // A SQLite build with STAT4 statistics would otherwise plan a statement again for each bound value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}
