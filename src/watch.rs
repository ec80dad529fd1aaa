//! A number that only rises, and threads that wait until it has.
//!
//! The head of the log, the position of a read model and the index of the registry are all such
//! numbers, and every long poll is a thread that waits for one of them to pass what its client has
//! seen. One primitive serves all three.
//!
//! **Invariant:** a waiter is never left behind. Every wait has a timeout, [`Watch::raise`] wakes
//! all who wait, and after [`Watch::close`] nobody waits any more, so that a service can stop.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::lock::{lock, wait_while};

/// A rising number that threads can wait on. Share it in an [`std::sync::Arc`].
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
    /// A watch that stands at `value`.
    pub fn at(value: u64) -> Self {
        Self { state: Mutex::new(State { value, closed: false }), changed: Condvar::new() }
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        lock(&self.state).value
    }

    /// Raises the value to `value` and wakes all who wait. A lower value changes nothing.
    pub fn raise(&self, value: u64) {
        let mut state = lock(&self.state);
        if value > state.value {
            state.value = value;
            self.changed.notify_all();
        }
    }

    /// Waits until the value is at least `value`, for `timeout` at most, and returns the value
    /// then: the caller compares it. Returns at once when the watch is closed.
    pub fn wait_for(&self, value: u64, timeout: Duration) -> u64 {
        let must_wait = |state: &mut State| state.value < value && !state.closed;
        wait_while(&self.changed, lock(&self.state), timeout, must_wait).value
    }

    /// Ends all waits, now and from now on. The value can still be raised and read.
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
