//! The duties of a database that holds a log: one trait for the database, one for the writer, one for
//! readers.
//!
//! `sqlite/` is the embedded implementation, and `memory.rs` the implementation for tests. Another database
//! implements the same traits and passes the same suite (`store_suite` in the tests).
//! An audit needs a fourth trait, see `inspection.rs`; `audit/` opens the file of the log with that trait.
//!
//! Read next: `sqlite/mod.rs`, then `command/batch_writer.rs`, the only caller of a writer's connection.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::upkeep::LogUpkeep;
use crate::es::database_file::LogBytes;
use crate::es::{Error, Hash, RecordedEvent};

/// The end of the log, which the next event continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Position of the last event, 0 before the first.
    pub position: u64,
    /// Hash of the last event, [`Hash::ZERO`] before the first.
    pub hash: Hash,
    /// Time of the last event, empty before the first. Times never fall along the log.
    pub recorded_at: String,
}

/// The place at which a command was recorded: the only answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The stream.
    pub stream_id: Uuid,
    /// The stream's version after the command.
    pub version: u64,
    /// Position of the last event of the command.
    pub position: u64,
}

/// SHA-256 of a command, which tells a repeated command from another command.
pub type Fingerprint = [u8; 32];

/// The serialised state of a stream at some version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The version of the stream.
    pub version: u64,
    /// The form of the state; a reader ignores a snapshot of another form.
    pub shape: String,
    /// The state as JSON.
    pub state: String,
}

/// Receives each event in order, and breaks off the reading.
pub type Visitor<'v> = dyn FnMut(&RecordedEvent<'_>) -> Result<ControlFlow<()>, Error> + 'v;

/// The connection of the one writer.
///
/// All calls happen between [`begin`](Self::begin) and [`commit`](Self::commit): reads see the events
/// appended before in the same transaction, and no other connection sees these events until the commit. After
/// [`Error::Storage`] from a read, the caller abandons the transaction with
/// [`recover`](Self::recover).
pub trait EventStore: Send {
    /// Begins a transaction that excludes every other writer, and returns the end of the log.
    ///
    /// # Errors
    /// When the storage fails.
    fn begin(&mut self) -> Result<Head, Error>;

    /// Shows `visit` the events of a stream after that version, in order.
    ///
    /// # Errors
    /// When the storage fails, or when `visit` fails.
    fn events_after(&mut self, stream_id: Uuid, version: u64, visit: &mut Visitor<'_>) -> Result<(), Error>;

    /// Appends an event. The position must be the next of the log, the version the next of the stream: the
    /// store refuses any other event.
    ///
    /// # Errors
    /// When the storage fails or refuses.
    fn append(&mut self, event: &RecordedEvent<'_>) -> Result<(), Error>;

    /// Returns the receipt kept under an idempotency key, and the fingerprint of the command.
    ///
    /// # Errors
    /// When the storage fails.
    fn receipt(&mut self, key: &str) -> Result<Option<(Fingerprint, Receipt)>, Error>;

    /// Keeps a receipt under an unused idempotency key.
    ///
    /// # Errors
    /// When the storage fails or the key is in use.
    fn keep_receipt(&mut self, key: &str, command: &Fingerprint, receipt: &Receipt) -> Result<(), Error>;

    /// Returns the latest snapshot of a stream.
    ///
    /// # Errors
    /// When the storage fails.
    fn snapshot(&mut self, stream_id: Uuid) -> Result<Option<Snapshot>, Error>;

    /// Keeps a snapshot in place of the stream's former snapshot.
    ///
    /// # Errors
    /// When the storage fails.
    fn keep_snapshot(&mut self, stream_id: Uuid, snapshot: &Snapshot) -> Result<(), Error>;

    /// Makes the transaction durable: after a successful return, the events survive the loss of power.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] when the transaction may or may not have been kept; any other error when
    /// no part of the transaction was kept, and no part will be found after a crash either.
    fn commit(&mut self) -> Result<(), Error>;

    /// Abandons an open transaction and all cached pages: the connection is opened again, because after a
    /// failed sync the operating system's cache may differ from the disk. Then tests, by writes and syncs
    /// that change no event, that the storage works again.
    ///
    /// # Errors
    /// When the storage still fails; call `recover` again before the next [`begin`](Self::begin).
    fn recover(&mut self) -> Result<(), Error>;
}

/// A connection that reads committed events, beside the writer and other readers.
pub trait EventReader: Send {
    /// Returns the position of the last event, 0 before the first.
    ///
    /// # Errors
    /// When the storage fails.
    fn head(&mut self) -> Result<u64, Error>;

    /// Shows `visit` at most `limit` events of the log after that position, in order.
    ///
    /// # Errors
    /// When the storage fails, or when `visit` fails.
    fn read(&mut self, after: u64, limit: u32, visit: &mut Visitor<'_>) -> Result<(), Error>;

    /// Shows `visit` at most `limit` events of the log before that position, the last event first.
    ///
    /// # Errors
    /// When the storage fails, or when `visit` fails.
    fn read_back(&mut self, before: u64, limit: u32, visit: &mut Visitor<'_>) -> Result<(), Error>;

    /// Shows `visit` at most `limit` events of a stream after that version, in order.
    ///
    /// # Errors
    /// When the storage fails, or when `visit` fails.
    fn read_stream(
        &mut self,
        stream_id: Uuid,
        after: u64,
        limit: u32,
        visit: &mut Visitor<'_>,
    ) -> Result<(), Error>;
}

/// A database that holds a log: opens one writer's connection at a time, and any number of readers.
pub trait Database: Send + Sync {
    /// Returns the identity of the log, which is created once with the database.
    fn log_id(&self) -> Uuid;

    /// Opens the writer's connection. The database may close the readers' gate of `upkeep` for a moment, and
    /// reports its failures there.
    ///
    /// # Errors
    /// When another writer has the database, or the storage fails.
    fn writer(&self, upkeep: Arc<LogUpkeep>) -> Result<Box<dyn EventStore>, Error>;

    /// Returns how large the files of the log are; zero for a database without files on this machine.
    fn bytes(&self) -> LogBytes {
        LogBytes::default()
    }

    /// Opens one more reader.
    ///
    /// # Errors
    /// When the storage fails.
    fn reader(&self) -> Result<Box<dyn EventReader>, Error>;

    /// Checks that the database can still be found: a file under its name, for example. Quick enough for each
    /// health report.
    ///
    /// # Errors
    /// When commands cannot be recorded or events not be read; the text says why.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}
