//! What keeps a log in good order while it is read and written: a moment without readers for checkpoints,
//! and a report of those that fail.
//!
//! The log and its database share it: readers pass the gate, and the database's checkpoints report here.
//!
//! Read next: `wal_flusher.rs`, which uses both.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::gate::Gate;

/// See the module.
#[derive(Debug)]
pub struct LogUpkeep {
    /// Bounds how many pages are built at once, and closes for a checkpoint that needs a moment without
    /// readers.
    pub readers: Gate,
    failures: AtomicU64,
    /// Why the last checkpoint failed; none when it did not.
    failure: Mutex<Option<String>>,
}

impl Default for LogUpkeep {
    fn default() -> Self {
        Self { readers: Gate::for_computing(), failures: AtomicU64::new(0), failure: Mutex::new(None) }
    }
}

impl LogUpkeep {
    /// Notes how a checkpoint ended. One that other connections kept from ending is no failure.
    pub fn checkpointed(&self, ended: Result<(), String>) {
        if ended.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = ended.err();
    }

    /// Checkpoints that have failed since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Why the last checkpoint failed, if it did: the write-ahead log grows until one succeeds.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How large the files of a log are, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBytes {
    /// The database.
    pub database: u64,
    /// Its write-ahead log.
    pub write_ahead_log: u64,
}
