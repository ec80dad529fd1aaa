//! Lesson 8: who is alive? A table of leases.
//!
//! The time is a parameter of every method: the program passes `Instant::now()`, and a test passes the moment
//! that it wants, without waiting.
//!
//! Read next: `docs/course/08-discovery-and-leases.md`, the chapter.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The instances of a service. Each has a lease, and is alive until the lease ends.
pub struct Leases {
    ttl: Duration,
    index: u64,
    ends: BTreeMap<String, Instant>,
}

/// The instance has no lease: it must register again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRegistered;

impl Leases {
    /// Returns an empty table. A lease lives for `ttl` after the registration and after each heartbeat.
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, index: 0, ends: BTreeMap::new() }
    }

    /// Gives an instance a lease.
    pub fn register(&mut self, instance: &str, now: Instant) {
        self.sweep(now);
        self.ends.insert(instance.to_owned(), now + self.ttl);
        self.index += 1;
    }

    /// Renews the lease of an instance.
    ///
    /// # Errors
    /// [`NotRegistered`] when the lease has ended, or never began.
    pub fn heartbeat(&mut self, instance: &str, now: Instant) -> Result<(), NotRegistered> {
        self.sweep(now);
        let end = self.ends.get_mut(instance).ok_or(NotRegistered)?;
        *end = now + self.ttl;
        Ok(())
    }

    /// Returns the instances that are alive, in the order of their names.
    pub fn alive(&mut self, now: Instant) -> Vec<String> {
        self.sweep(now);
        self.ends.keys().cloned().collect()
    }

    /// Returns a number that rises with each registration and each end of a lease: a long poll waits for it.
    pub fn index(&mut self, now: Instant) -> u64 {
        self.sweep(now);
        self.index
    }

    /// Removes the leases that have ended. Every answer begins here, so no thread need come by.
    pub fn sweep(&mut self, now: Instant) {
        let before = self.ends.len();
        self.ends.retain(|_, end| *end > now);
        self.index += (before - self.ends.len()) as u64;
    }
}
