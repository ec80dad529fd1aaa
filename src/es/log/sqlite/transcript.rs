//! The receipts of a log as rows, and a log that is built from the rows of another: for exports and imports.
//!
//! Read next: `audit/import.rs`, which checks the rows.

use std::path::Path;

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::row::{insert_event, insert_receipt, uuid_at};
use super::schema::SCHEMA;
use crate::es::database_file::{Access, DatabaseFile, DatabasePath};
use crate::es::log::store::{Fingerprint, Receipt};
use crate::es::{Error, RecordedEvent};

/// An idempotency key with its command and its receipt.
#[derive(Debug)]
pub(in crate::es) struct KeptReceipt {
    pub(in crate::es) key: String,
    pub(in crate::es) command: Fingerprint,
    pub(in crate::es) receipt: Receipt,
}

/// The receipts of a log up to a position.
pub(in crate::es) struct ReceiptRows {
    connection: Connection,
    until: u64,
}

impl ReceiptRows {
    /// Opens the receipts of the commands that were recorded up to `until`.
    pub(in crate::es) fn open(file: &DatabaseFile, until: u64) -> Result<Self, Error> {
        Ok(Self { connection: file.connect(Access::Read)?, until })
    }

    /// Returns at most `limit` receipts with keys after `after`, in order.
    pub(in crate::es) fn page(&self, after: &str, limit: u32) -> Result<Vec<KeptReceipt>, Error> {
        let sql = "SELECT idempotency_key, command, stream_id, version, position FROM receipts
                   WHERE idempotency_key > ?1 AND position <= ?2 ORDER BY idempotency_key LIMIT ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        // Commands that were recorded after the head have their events in no export.
        let rows = statement.query_map(params![after, self.until, limit], |row| {
            let stream_id = uuid_at(row, 2)?;
            let receipt = Receipt { stream_id, version: row.get(3)?, position: row.get(4)? };
            Ok(KeptReceipt { key: row.get(0)?, command: row.get(1)?, receipt })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// A new log, to which events are added with the positions, times and hashes that they have already.
pub(in crate::es) struct NewLog(Connection);

impl NewLog {
    /// Creates the log in a new file that no other process knows.
    pub(in crate::es) fn create(path: &Path, log_id: Uuid) -> Result<Self, Error> {
        let file = DatabaseFile::existing_or_new(DatabasePath::resolve(path)?)?;
        let connection = file.connect(Access::Write)?;
        // Until the file has its name, a crash loses nothing but work: one sync at the end is enough.
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.execute_batch(SCHEMA)?;
        connection.execute("INSERT INTO log (only, log_id) VALUES (1, ?1)", [log_id.to_string()])?;
        // One transaction for many rows: a commit for each would take hours.
        connection.execute_batch("BEGIN")?;
        Ok(Self(connection))
    }

    /// Adds an event; the triggers of the schema refuse an event out of order.
    pub(in crate::es) fn append(&mut self, event: &RecordedEvent<'_>) -> Result<(), Error> {
        Ok(insert_event(&self.0, event)?)
    }

    /// Adds a receipt; the triggers of the schema refuse a key that is taken.
    pub(in crate::es) fn keep(
        &mut self,
        KeptReceipt { key, command, receipt }: &KeptReceipt,
    ) -> Result<(), Error> {
        Ok(insert_receipt(&self.0, key, command, receipt)?)
    }

    /// Ends a part of the work, which bounds the memory that SQLite needs for changed pages.
    pub(in crate::es) fn save(&mut self) -> Result<(), Error> {
        Ok(self.0.execute_batch("COMMIT; BEGIN")?)
    }

    /// Completes the file.
    pub(in crate::es) fn close(self) -> Result<(), Error> {
        self.0.execute_batch("COMMIT")?;
        self.0.close().map_err(|(_, error)| Error::from(error))
    }
}
