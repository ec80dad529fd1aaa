//! Locks and waits that survive a panic of another thread.
//!
//! std poisons a mutex when a thread panics with the lock held. Tally enters a poisoned lock: every
//! critical section of this crate either changes plain values that are consistent at each step, or
//! runs no code that can panic halfway through a change.
//!
//! **Invariant:** a critical section leaves the value consistent at every point that can panic.
//!
//! Read next: `watch.rs` and `gate.rs`, which wait with these functions.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Locks `mutex`, poisoned or not.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Refusing a poisoned lock would turn one failed request into a service that answers no request.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits while `must_wait` holds, at most for `timeout`. The caller checks the state after a timeout.
pub(crate) fn wait_while<'a, T>(
    changed: &Condvar,
    guard: MutexGuard<'a, T>,
    timeout: Duration,
    must_wait: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    changed.wait_timeout_while(guard, timeout, must_wait).unwrap_or_else(PoisonError::into_inner).0
}

/// Returns the value of a mutex that no other thread can lock.
pub(crate) fn exclusive<T: ?Sized>(mutex: &mut Mutex<T>) -> &mut T {
    mutex.get_mut().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until another thread notifies `changed`. The caller checks the state after each return.
pub(crate) fn wait<'a, T>(changed: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_entered_after_a_thread_panicked_inside() {
        let mutex = Mutex::new(1);
        std::thread::scope(|scope| {
            let panicked = scope.spawn(|| {
                let _guard = lock(&mutex);
                panic!("on purpose");
            });
            assert!(panicked.join().is_err() && mutex.is_poisoned());
        });
        *lock(&mutex) += 1;
        let guard = wait_while(&Condvar::new(), lock(&mutex), Duration::ZERO, |value| *value == 2);
        assert_eq!(*guard, 2);
    }
}
