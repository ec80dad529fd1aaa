//! Locks whose data stays valid when a thread panics.
//!
//! **Invariant:** each critical section behind these functions leaves the data consistent at every point at
//! which it could panic; the call site says why. So a poisoned lock is locked like any other.
//!
//! Read next: `watch.rs`.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Locks `mutex`, also after a thread panicked while holding the lock.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Releases the lock, waits for `changed` up to `timeout`, and returns the lock. The caller checks its
/// condition again: a wait may end early.
pub fn wait_timeout<'l, T>(
    changed: &Condvar,
    guard: MutexGuard<'l, T>,
    timeout: Duration,
) -> MutexGuard<'l, T> {
    changed.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0
}
