//! What a database must do to hold the log: two small traits, the writer's and the readers'.
//!
//! `sqlite.rs` is the embedded implementation. Another database implements the same traits and
//! passes the same suite (`store_suite` in the tests), and nothing else changes.
//!
//! Read next: `sqlite.rs`, then `executor.rs`, the writer's only caller.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use crate::es::log::upkeep::{LogBytes, LogUpkeep};
use crate::es::{Error, Hash, RecordedEvent};

/// The end of the log: what the next event continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Position of the last event, 0 before the first.
    pub position: u64,
    /// Hash of the last event, [`Hash::ZERO`] before the first.
    pub hash: Hash,
    /// Time of the last event, empty before the first. Times never fall along the log.
    pub recorded_at: String,
}

/// Where a command was recorded. It is all that a command ever returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The stream.
    pub stream_id: Uuid,
    /// The stream's version after the command.
    pub version: u64,
    /// Position of the last event of the command.
    pub position: u64,
}

/// SHA-256 of a command, by which a repeated command is told from another one.
pub type Fingerprint = [u8; 32];

/// The state of a stream at some version, serialised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The version that the state is at.
    pub version: u64,
    /// The form of the state; a snapshot of another form than the reader's is of no use.
    pub shape: String,
    /// The state as JSON.
    pub state: String,
}

/// Given each event in turn; breaks off when it has enough.
pub type Visitor<'v> = dyn FnMut(&RecordedEvent<'_>) -> Result<ControlFlow<()>, Error> + 'v;

/// The connection of the one writer.
///
/// Everything happens between [`begin`](Self::begin) and [`commit`](Self::commit): reads see what
/// was appended before them in the same transaction, and nobody else sees any of it until the
/// commit. After an error other than `Corrupt` from a read, the caller gives up the transaction with
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
    /// When the storage fails, or what `visit` returns.
    fn events_after(&mut self, stream_id: Uuid, version: u64, visit: &mut Visitor<'_>) -> Result<(), Error>;

    /// Appends an event. Its position must be the next of the log, its version the next of its
    /// stream: the store refuses any other.
    ///
    /// # Errors
    /// When the storage fails or refuses.
    fn append(&mut self, event: &RecordedEvent<'_>) -> Result<(), Error>;

    /// The receipt kept under an idempotency key, and the command it was given for.
    ///
    /// # Errors
    /// When the storage fails.
    fn receipt(&mut self, key: &str) -> Result<Option<(Fingerprint, Receipt)>, Error>;

    /// Keeps a receipt under an idempotency key that is not taken.
    ///
    /// # Errors
    /// When the storage fails or the key is taken.
    fn keep_receipt(&mut self, key: &str, command: &Fingerprint, receipt: &Receipt) -> Result<(), Error>;

    /// The latest snapshot of a stream.
    ///
    /// # Errors
    /// When the storage fails.
    fn snapshot(&mut self, stream_id: Uuid) -> Result<Option<Snapshot>, Error>;

    /// Keeps a snapshot in place of the stream's former one.
    ///
    /// # Errors
    /// When the storage fails.
    fn keep_snapshot(&mut self, stream_id: Uuid, snapshot: &Snapshot) -> Result<(), Error>;

    /// Makes everything since [`begin`](Self::begin) durable: when this returns, it survives the
    /// loss of power.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] when the transaction may or may not have been kept; any other error when
    /// nothing of it was kept, and nothing will be found of it after a crash either.
    fn commit(&mut self) -> Result<(), Error>;

    /// Gives up the transaction, if there is one, and everything that was remembered of the
    /// storage: the connection is opened anew. After a failed sync, what the operating system
    /// has cached may not be what is on the disk. Then it makes sure, by writes and syncs that change
    /// nothing, that the storage works again.
    ///
    /// # Errors
    /// When the storage still fails; call it again before the next [`begin`](Self::begin).
    fn recover(&mut self) -> Result<(), Error>;
}

/// A connection that reads what has been committed, beside the writer and other readers.
pub trait EventReader: Send {
    /// Position of the last event, 0 before the first.
    ///
    /// # Errors
    /// When the storage fails.
    fn head(&mut self) -> Result<u64, Error>;

    /// Shows `visit` at most `limit` events of the log after that position, in order.
    ///
    /// # Errors
    /// When the storage fails, or what `visit` returns.
    fn read(&mut self, after: u64, limit: u32, visit: &mut Visitor<'_>) -> Result<(), Error>;

    /// Shows `visit` at most `limit` events of a stream after that version, in order.
    ///
    /// # Errors
    /// When the storage fails, or what `visit` returns.
    fn read_stream(
        &mut self,
        stream_id: Uuid,
        after: u64,
        limit: u32,
        visit: &mut Visitor<'_>,
    ) -> Result<(), Error>;
}

/// A database that holds a log: hands out the writer's connection once, and as many readers as are
/// asked for.
pub trait Database: Send + Sync {
    /// The identity of the log, made once with the database.
    fn log_id(&self) -> Uuid;

    /// Opens the writer's connection. Its upkeep may close the readers' gate for a moment, and reports
    /// what fails.
    ///
    /// # Errors
    /// When another writer has the database, or the storage fails.
    fn writer(&self, upkeep: Arc<LogUpkeep>) -> Result<Box<dyn EventStore>, Error>;

    /// How large the files of the log are; zero for a database that has no files here.
    fn bytes(&self) -> LogBytes {
        LogBytes::default()
    }

    /// Opens one more reader.
    ///
    /// # Errors
    /// When the storage fails.
    fn reader(&self) -> Result<Box<dyn EventReader>, Error>;

    /// Whether what was opened is still where it was: a file under its name, for example. Quick enough
    /// for each health report.
    ///
    /// # Errors
    /// Why commands cannot be recorded and events not be read.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}
