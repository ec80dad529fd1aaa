//! The cap on long polls.
//!
//! **Invariant:** waiting requests never use up the threads that commands need: the cap on long polls is
//! below the engine's cap on connections.
//!
//! Read next: `watch.rs`, where a long poll waits.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::problem::{Problem, problems};

/// The cap and the number of waiting requests.
#[derive(Debug)]
pub struct LongPolls {
    max: usize,
    waiting: AtomicUsize,
}

/// The right to wait, released when dropped.
#[derive(Debug)]
pub struct Permit<'a> {
    polls: &'a LongPolls,
}

impl LongPolls {
    /// Default cap: a quarter of the connections of [`super::Options::default`], which leaves three quarters
    /// to requests that do not wait.
    pub const DEFAULT_MAX: usize = 256;

    /// Returns a cap of `max` requests.
    pub fn new(max: usize) -> Self {
        Self { max, waiting: AtomicUsize::new(0) }
    }

    /// Returns the number of waiting requests.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Admits one more waiting request until the permit is dropped.
    ///
    /// # Errors
    /// 503 `overloaded` with `Retry-After` at the cap.
    pub fn enter(&self) -> Result<Permit<'_>, Problem> {
        let one_more = |waiting| (waiting < self.max).then_some(waiting + 1);
        // Relaxed: the number guards no other memory, and the update is atomic, so the cap holds exactly.
        match self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(Permit { polls: self }),
            // Refused at once: a queued long poll would hold a thread as well.
            Err(_) => Err(Problem::new(&problems::OVERLOADED, "too many requests wait at once")
                .with_header("Retry-After", "1")),
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.polls.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_poll_too_many_is_refused_until_another_ends() {
        let polls = LongPolls::new(2);
        let first = polls.enter().unwrap();
        let _second = polls.enter().unwrap();
        let refused = polls.enter().unwrap_err();
        assert_eq!((refused.kind.status, polls.waiting()), (503, 2));
        assert!(refused.headers.iter().any(|(name, _)| *name == "Retry-After"));
        drop(first);
        assert!(polls.enter().is_ok());
    }
}
