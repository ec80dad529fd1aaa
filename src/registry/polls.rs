//! The cap on requests that wait, until the HTTP module brings its own.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::http::{Problem, problems};

/// How many requests may wait at once.
#[derive(Debug)]
pub(super) struct LongPolls {
    max: usize,
    waiting: AtomicUsize,
}

/// Leave to wait; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit<'a>(&'a LongPolls);

impl LongPolls {
    pub(super) fn new(max: usize) -> Self {
        Self { max, waiting: AtomicUsize::new(0) }
    }

    pub(super) fn enter(&self) -> Result<Permit<'_>, Problem> {
        let permit = Permit(self);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max {
            return Err(Problem::new(&problems::OVERLOADED, "too many requests wait already")
                .with_header("Retry-After", "1"));
        }
        Ok(permit)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
