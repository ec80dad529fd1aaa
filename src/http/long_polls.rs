//! Long polls count against a cap of their own, below the engine's cap on connections, so that
//! readers who wait can never take the threads that commands need.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Problem, problems};

/// How many requests may wait at once.
#[derive(Debug)]
pub struct LongPolls {
    max: usize,
    waiting: AtomicUsize,
}

/// The right to wait; give it back by dropping it.
#[derive(Debug)]
pub struct Permit<'a> {
    polls: &'a LongPolls,
}

impl LongPolls {
    /// A cap that suits [`super::Options::default`]: a quarter of its connections, so that three
    /// quarters are left for requests that do not wait.
    pub const DEFAULT_MAX: usize = 256;

    /// At most `max` requests wait at once.
    pub fn new(max: usize) -> Self {
        Self { max, waiting: AtomicUsize::new(0) }
    }

    /// How many wait now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Lets one more request wait, for as long as the permit lives.
    ///
    /// # Errors
    /// 503 `overloaded` with `Retry-After` when `max` wait already.
    pub fn enter(&self) -> Result<Permit<'_>, Problem> {
        let one_more = |waiting| (waiting < self.max).then_some(waiting + 1);
        match self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(Permit { polls: self }),
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
