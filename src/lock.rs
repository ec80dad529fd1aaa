//! Locking a mutex whose data stays valid when a thread panics.
//!
//! **Invariant:** use [`lock`] only where each critical section leaves the data consistent at every point at
//! which it could panic; the call site says why.
//!
//! Read next: `watch.rs`.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, also after another thread panicked while holding the lock.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
