//! The upkeep of a log: the readers' gate, which closes for a flush of the write-ahead log, and a report of
//! failed flushes.
//!
//! The log and the database share one [`LogUpkeep`]: readers pass the gate, and flushes report here.
//!
//! Read next: `sqlite/wal_flusher.rs`, which uses both.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::gate::Gate;
use crate::lock::lock;

/// The gate and the report of a log's upkeep.
#[derive(Debug)]
pub struct LogUpkeep {
    /// Bounds the number of readers at once, and closes for a flush that needs a moment without readers.
    pub readers: Gate,
    failures: AtomicU64,
    /// Why the last flush failed; None after a successful flush.
    failure: Mutex<Option<String>>,
}

impl Default for LogUpkeep {
    fn default() -> Self {
        Self { readers: Gate::for_computing(), failures: AtomicU64::new(0), failure: Mutex::new(None) }
    }
}

impl LogUpkeep {
    /// Records the result of a flush. A flush that other connections prevented counts as successful.
    pub fn record_flush(&self, result: Result<(), String>) {
        if result.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        *lock(&self.failure) = result.err();
    }

    /// Returns the number of failed flushes since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Returns why the last flush failed: the write-ahead log grows until a flush succeeds.
    pub fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }
}
