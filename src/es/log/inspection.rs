//! The duty of a database towards an audit: to show the rows of a log as they are, sound or damaged.
//!
//! A store refuses a damaged row; an audit must name the damage and read on. So an inspection returns texts
//! and signed numbers as they are stored, and in place of a damaged event the reason why the event is
//! unreadable.
//!
//! **Invariant:** an inspection changes nothing, and no call holds a read transaction after it returns: a
//! long transaction would keep the write-ahead log of a running writer from being flushed.
//!
//! Read next: `sqlite/inspect.rs`, which implements the trait; `audit/log.rs`, which uses it.

use std::ops::ControlFlow;

use uuid::Uuid;

use crate::es::log::store::Snapshot;
use crate::es::{Error, RecordedEvent};

/// The row of the log.
#[derive(Debug)]
pub(in crate::es) struct InspectedLog {
    /// The identity, as stored.
    pub(in crate::es) log_id: String,
    /// Position of the last event, as the log's counter says.
    pub(in crate::es) head: i64,
    /// Position of the last event that is there, 0 without events.
    pub(in crate::es) last: i64,
}

/// Receives the position of each event, and the event or the reason why the event is unreadable.
pub(in crate::es) type Inspector<'v> =
    dyn FnMut(i64, Result<RecordedEvent<'_>, String>) -> Result<ControlFlow<()>, Error> + 'v;

/// A look at a log for an audit.
///
/// Each method fails with [`Error::Corrupt`] when a part of the storage cannot be read, and with
/// [`Error::Storage`] when the storage fails.
pub(in crate::es) trait Inspection {
    /// Returns at most `limit` faults of the storage itself, such as damaged pages.
    fn storage_faults(&self, limit: usize) -> Result<Vec<String>, Error>;

    /// Returns the first rule that the database does not hold for its clients, and what to do.
    fn schema_fault(&self) -> Result<Option<String>, Error>;

    /// Returns the row of the log; None if the row is missing.
    fn log(&self) -> Result<Option<InspectedLog>, Error>;

    /// Shows `inspect` at most `limit` events of the positions after `after` and up to `until`, in order.
    /// Returns the position of the last event shown; None if no event was shown.
    fn events(
        &self,
        after: i64,
        until: i64,
        limit: u32,
        inspect: &mut Inspector<'_>,
    ) -> Result<Option<i64>, Error>;

    /// Returns the snapshot of a stream.
    fn snapshot(&self, stream_id: Uuid) -> Result<Option<Snapshot>, Error>;

    /// Returns at most `limit` snapshots without an event of their version, as stream and version.
    fn stray_snapshots(&self, limit: usize) -> Result<Vec<(String, i64)>, Error>;

    /// Returns at most `limit` receipts with keys after `after`, in order: each key, and whether the receipt
    /// names recorded events.
    fn receipts(&self, after: &str, limit: u32) -> Result<Vec<(String, bool)>, Error>;
}
