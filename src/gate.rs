//! A gate: admits a limited number of threads at once, or one thread alone.
//!
//! Readers of the event log pass a gate: the gate bounds the sum of the pages under construction, and
//! flushing the WAL finds a moment without readers. The same gate bounds the large answers that a service
//! builds at once.
//!
//! **Invariant:** every wait for a gate has a deadline. A closed gate lets the threads inside leave, and opens
//! again, also after a panic.
//!
//! Read next: `lock.rs`.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::lock::{lock, wait_while};

/// See the module. Share a gate in an [`std::sync::Arc`].
#[derive(Debug)]
pub struct Gate {
    max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    inside: usize,
    closed: bool,
}

/// The right to be inside; dropping the pass leaves the gate.
#[derive(Debug)]
pub struct Pass<'g> {
    gate: &'g Gate,
}

impl Gate {
    /// Returns a gate for at most `max` threads.
    pub fn new(max: usize) -> Self {
        Self { max, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Returns a gate for work that waits for the processor alone. Half of the cores, rounded up, may compute;
    /// the rest of the service has the other half.
    pub fn for_computing() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2))
    }

    /// Waits for a place inside, at most for `patience`. None when no place became free.
    pub fn enter(&self, patience: Duration) -> Option<Pass<'_>> {
        let mut state = self.wait_while(patience, |state| state.closed || state.inside >= self.max)?;
        state.inside += 1;
        Some(Pass { gate: self })
    }

    /// Closes the gate, waits until all threads inside have left, at most for `patience`, runs `act`, and
    /// opens the gate again. None when a thread stayed inside, or another thread has closed the gate.
    pub fn alone<T>(&self, patience: Duration, act: impl FnOnce() -> T) -> Option<T> {
        {
            let mut state = lock(&self.state);
            if state.closed {
                return None;
            }
            state.closed = true;
        }
        // Before the wait: the gate opens again also after a timeout.
        let _opens = Opens(self);
        // Without the lock, so that threads that arrive meanwhile can time out.
        drop(self.wait_while(patience, |state| state.inside > 0)?);
        Some(act())
    }

    /// Returns the locked state once `must_wait` is false; None after `patience`.
    fn wait_while(
        &self,
        patience: Duration,
        must_wait: impl Fn(&State) -> bool,
    ) -> Option<MutexGuard<'_, State>> {
        let state = wait_while(&self.changed, lock(&self.state), patience, |state| must_wait(state));
        (!must_wait(&state)).then_some(state)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        lock(&self.gate.state).inside -= 1;
        // All: threads that enter and a thread that waits to be alone share the condition variable.
        self.gate.changed.notify_all();
    }
}

/// Opens a closed gate when dropped, also after a panic.
struct Opens<'g>(&'g Gate);

impl Drop for Opens<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).closed = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(10);

    #[test]
    fn no_more_threads_are_inside_than_may_be() {
        let (gate, inside, most) = (Gate::new(3), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let _pass = gate.enter(LONG).unwrap();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    }

    #[test]
    fn a_thread_has_the_inside_to_itself_also_while_others_never_leave_a_gap() {
        let (gate, inside) = (Gate::new(8), AtomicUsize::new(0));
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
                        let _pass = gate.enter(LONG).unwrap();
                        inside.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
            for _ in 0..100 {
                assert_eq!(gate.alone(LONG, || inside.load(Ordering::SeqCst)), Some(0));
            }
            stop.store(true, Ordering::SeqCst);
        });
    }

    #[test]
    fn every_wait_ends_and_the_gate_opens_again() {
        let gate = Gate::new(1);
        let pass = gate.enter(SHORT).unwrap();
        assert!(gate.enter(SHORT).is_none());
        assert_eq!(gate.alone(SHORT, || ()), None);
        drop(pass);
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            gate.alone(SHORT, || panic!("on purpose"))
        }));
        assert!(panic.is_err());
        assert!(gate.enter(SHORT).is_some());
    }
}
