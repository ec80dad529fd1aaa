//! A number that only rises, and threads that wait for a value.
//!
//! The head of the log, the position of a read model and the index of the registry only rise. Every long
//! poll is a thread that waits for one of the three numbers to pass the value known to the client.
//!
//! **Invariant:** no waiting thread is forgotten. Every wait has a timeout, [`Watch::raise`] wakes all
//! waiting threads, and [`Watch::close`] ends all waits, so that a service can stop.
//!
//! Read next: `lock.rs`.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::lock::{lock, wait_while};

/// A rising number that threads can wait for. Share a watch in an [`std::sync::Arc`].
#[derive(Debug)]
pub struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    value: u64,
    closed: bool,
}

impl Watch {
    /// Returns a watch with the value `value`.
    pub fn at(value: u64) -> Self {
        Self { state: Mutex::new(State { value, closed: false }), changed: Condvar::new() }
    }

    /// Returns the value now.
    pub fn value(&self) -> u64 {
        lock(&self.state).value
    }

    /// Raises the value to `value` and wakes all waiting threads. Ignores a lower value.
    pub fn raise(&self, value: u64) {
        let mut state = lock(&self.state);
        if value > state.value {
            state.value = value;
            // All: the threads wait for different values.
            self.changed.notify_all();
        }
    }

    /// Waits until the value is at least `value`, at most for `timeout`, and returns the value, which may
    /// be lower after a timeout. Returns at once when the watch is closed.
    pub fn wait_for(&self, value: u64, timeout: Duration) -> u64 {
        let must_wait = |state: &mut State| state.value < value && !state.closed;
        wait_while(&self.changed, lock(&self.state), timeout, must_wait).value
    }

    /// Ends all waits, present and future. The value can still be raised and read.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }

    /// Whether [`Watch::close`] was called.
    pub fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_waiter_is_woken_by_the_raise_it_waits_for() {
        let watch = Arc::new(Watch::at(1));
        let waiter = std::thread::spawn({
            let watch = Arc::clone(&watch);
            move || watch.wait_for(3, Duration::from_secs(30))
        });
        watch.raise(2);
        watch.raise(3);
        assert_eq!(waiter.join().unwrap(), 3);
    }

    #[test]
    fn a_wait_ends_at_its_timeout_with_the_value_it_has() {
        assert_eq!(Watch::at(1).wait_for(2, Duration::from_millis(1)), 1);
    }

    #[test]
    fn the_value_never_falls() {
        let watch = Watch::at(5);
        watch.raise(4);
        assert_eq!(watch.value(), 5);
    }

    #[test]
    fn closing_ends_the_waits_of_now_and_later() {
        let watch = Arc::new(Watch::at(1));
        let waiter = std::thread::spawn({
            let watch = Arc::clone(&watch);
            move || watch.wait_for(2, Duration::from_secs(30))
        });
        watch.close();
        assert_eq!(waiter.join().unwrap(), 1);
        assert_eq!(watch.wait_for(2, Duration::from_secs(30)), 1);
    }
}
