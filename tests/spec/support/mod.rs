//! What the specification is written with: real processes, fresh directories, an HTTP client.
//!
//! **Invariant:** nothing outlives its test. A process is killed and a directory removed when its
//! value is dropped, also by a failing test. Nothing here sleeps to be in time: it waits for a
//! condition, with a deadline that only a broken program meets.

// A box of tools: not each of them is in use at each moment.
#![allow(dead_code, unused_imports)]

mod client;
mod directory;
mod metric_rules;
mod process;
mod system;
mod wire;

use std::time::{Duration, Instant};

pub(crate) use client::{Client, Reply};
pub(crate) use directory::Directory;
pub(crate) use metric_rules::broken_metric_rules;
pub(crate) use process::{Binary, Ended, Launch, Process};
pub(crate) use system::System;
pub(crate) use wire::Wire;

/// When a test gives up. Far beyond what a loaded machine needs, so that timing decides nothing.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// An address on which nothing listens: for a service that others are to know before it is there.
pub(crate) fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Waits until `condition` holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits until `find` finds something.
pub(crate) fn wait_for<T>(what: &str, find: impl FnMut() -> Option<T>) -> T {
    wait_within(DEADLINE, what, find)
}

/// Waits until `find` finds something, for `limit` at most: for what is expected to fail.
pub(crate) fn wait_within<T>(limit: Duration, what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::park_timeout(LOOK_INTERVAL);
    }
}
