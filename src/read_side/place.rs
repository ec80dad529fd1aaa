//! The check that the path of the read database still names the file whose rows are shown.
//!
//! Otherwise queries are refused: a query never shows rows of another file, nor rows lost at the next
//! restart.
//!
//! Read next: `database.rs`, the pool.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::es::{DatabaseFile, Displaced};
use crate::lock::lock;

/// How often queries compare the path of the database with the file that is open. A check in each query would
/// be a fiftieth of the cost.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// The database file of the read side, and the result of the last check of the path.
#[derive(Debug)]
pub(super) struct Place {
    file: Arc<DatabaseFile>,
    /// Another file that was found at the path.
    displaced: Mutex<Option<Displaced>>,
    is_displaced: AtomicBool,
    started: Instant,
    /// The time of the next check, in microseconds after `started`.
    due_micros: AtomicU64,
}

impl Place {
    pub(super) fn of(file: Arc<DatabaseFile>) -> Self {
        Self {
            file,
            displaced: Mutex::new(None),
            is_displaced: AtomicBool::new(false),
            started: Instant::now(),
            due_micros: AtomicU64::new(0),
        }
    }

    pub(super) fn file(&self) -> &DatabaseFile {
        &self.file
    }

    /// Checks now.
    ///
    /// # Errors
    /// The finding at the path.
    pub(super) fn check(&self) -> Result<(), Displaced> {
        let found = self.file.check();
        // The text before the flag: a query that sees the flag finds the text.
        *self.displaced() = found.clone().err();
        self.is_displaced.store(found.is_err(), Ordering::Release);
        found
    }

    /// Checks now, or returns the result of a check at most [`CHECK_EVERY`] old.
    ///
    /// # Errors
    /// As [`Place::check`].
    pub(super) fn check_now_and_then(&self) -> Result<(), Displaced> {
        let now = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        if now >= self.due_micros.load(Ordering::Relaxed) {
            // Two queries at the same moment may both check, which is harmless.
            self.due_micros.store(now + CHECK_EVERY.as_micros() as u64, Ordering::Relaxed);
            return self.check();
        }
        // No lock while all is well: queries run side by side.
        if !self.is_displaced.load(Ordering::Acquire) {
            return Ok(());
        }
        self.displaced().clone().map_or(Ok(()), Err)
    }

    fn displaced(&self) -> MutexGuard<'_, Option<Displaced>> {
        lock(&self.displaced)
    }
}
