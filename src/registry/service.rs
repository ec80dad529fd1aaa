//! A registry at work: the lease table, a clock, and the requests that wait for a change.
//!
//! **Invariant:** every rise of the index wakes the waiting requests. Nothing runs when a lease expires, so
//! a waiting request wakes at that moment and checks.
//!
//! Read next: `registry/routes.rs`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::leases::{Leases, Limits};
use crate::gate::{Gate, Pass};
use crate::http::{LongPolls, Problem, Query, problems};
use crate::limits::MAX_EXACT_INTEGER;
use crate::lock::lock;
use crate::time::Timestamp;
use crate::watch::Watch;
use uuid::Uuid;

/// The range of the TTL, in seconds. Below, a busy machine alone would expire leases; above, a dead service
/// would be listed for more than a day.
pub const TTL_SECONDS: RangeInclusive<f64> = 0.05..=86_400.0;

/// The TTL unless configured, in seconds. A dead service is listed for up to one TTL.
const DEFAULT_TTL: Duration = Duration::from_secs(6);

/// Heartbeats per TTL unless configured: two in a row may get lost before the lease expires.
const HEARTBEATS_PER_TTL: u32 = 3;

/// The size of a registry: 4096 instances, far more than one site runs; 8 MiB, which is 2 KiB for each and
/// the longest answer; a quarter of the bytes for one name, so that a look-up fits into the 4 MiB that
/// [`crate::discovery::RegistryClient`] accepts, and leaves room for other names.
pub const LIMITS: Limits = Limits { instances: 4096, bytes: 8 << 20, bytes_of_one_name: 2 << 20 };

/// Time limit of a look-up's wait for a turn, in seconds. One core writes hundreds of the largest lists
/// meanwhile.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the index of a registry that starts at `now`: microseconds since 1970, so that the index exceeds
/// every index before a restart, plus up to 4 ms at random, so that two registries that start at the same
/// moment differ.
fn first_index(now: Timestamp) -> u64 {
    // The last bits of a version 7 UUID are random.
    let chance = Uuid::now_v7().as_u128() as u64 % 4096;
    // Half of the range is left for changes. The clock reaches that half in 2112.
    now.as_micros().rem_euclid((MAX_EXACT_INTEGER / 2) as i64) as u64 + chance
}

/// The settings of a registry.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryOptions {
    /// Lifetime of a lease after a heartbeat, within [`TTL_SECONDS`]. Default 6 s.
    pub ttl: Duration,
    /// The heartbeat interval that instances are advised; `None` means a third of `ttl`.
    pub heartbeat_interval: Option<Duration>,
    /// The size of the lease table; more is rejected with 503. Default [`LIMITS`].
    pub limits: Limits,
    /// Number of requests that may wait for a change at once; more are rejected with 503. Default
    /// [`LongPolls::DEFAULT_MAX`].
    pub max_waits: usize,
    /// The address of the registry itself for other machines, `host:port`; `None` means the address that a
    /// request names in its `Host`.
    pub advertised: Option<String>,
}

impl RegistryOptions {
    /// Returns the heartbeat interval that instances are advised.
    pub fn advised_interval(&self) -> Duration {
        self.heartbeat_interval.unwrap_or(self.ttl / HEARTBEATS_PER_TTL)
    }
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            ttl: DEFAULT_TTL,
            heartbeat_interval: None,
            limits: LIMITS,
            max_waits: LongPolls::DEFAULT_MAX,
            advertised: None,
        }
    }
}

/// A registry. Share it with [`super::router`].
#[derive(Debug)]
pub struct Registry {
    ttl: Duration,
    heartbeat_interval: Duration,
    leases: Mutex<Leases>,
    /// The index of the lease table; long polls wait for a rise.
    index: Watch,
    polls: LongPolls,
    started: Instant,
    /// Identifies this run of the registry among the targets of Prometheus.
    pub(super) instance_id: Uuid,
    /// See [`RegistryOptions::advertised`].
    pub(super) advertised: Option<String>,
    /// Limits how many lists are written at once: the list of a full registry takes megabytes.
    pub(super) lists: Gate,
}

/// The state of a registry in figures, for the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gauges {
    /// The index: the clock at the start, plus one for each registration, removal and expiry.
    pub index: u64,
    /// The size of all live instances as JSON, in bytes.
    pub bytes: usize,
    /// Live leases by service name.
    pub live: BTreeMap<String, usize>,
    /// Leases that expired without a heartbeat, since the start.
    pub expired: u64,
    /// Requests that wait for a change.
    pub waiting: usize,
}

impl Registry {
    /// Returns an empty registry.
    pub fn new(options: RegistryOptions) -> Self {
        let heartbeat_interval = options.advised_interval();
        let RegistryOptions { ttl, limits, max_waits, advertised, .. } = options;
        let first_index = first_index(Timestamp::now());
        Self {
            ttl,
            heartbeat_interval,
            leases: Mutex::new(Leases::new(ttl, limits, first_index)),
            index: Watch::at(first_index),
            polls: LongPolls::new(max_waits),
            started: Instant::now(),
            instance_id: Uuid::now_v7(),
            advertised,
            lists: Gate::for_computing(),
        }
    }

    /// Returns the lifetime of a lease after a heartbeat.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Returns the heartbeat interval that instances are advised.
    pub fn heartbeat_interval(&self) -> Duration {
        self.heartbeat_interval
    }

    /// Waits for the turn to write a list.
    ///
    /// # Errors
    /// 503 `overloaded` when no turn comes within 5 s.
    pub(super) fn turn(&self) -> Result<Pass<'_>, Problem> {
        let busy = || {
            let problem = Problem::new(&problems::OVERLOADED, "too many lists are asked for at once");
            problem.with_header("Retry-After", "1")
        };
        self.lists.enter(TURN_TIMEOUT).ok_or_else(busy)
    }

    /// Returns the time until every live service has sent a heartbeat, one TTL after the start; `None` from
    /// then on.
    pub(super) fn filled_in(&self) -> Option<Duration> {
        let left = self.ttl.saturating_sub(self.started.elapsed());
        (!left.is_zero()).then_some(left)
    }

    /// Ends all waits, now and later, so that the HTTP engine can stop. The routes keep answering.
    pub fn close(&self) {
        self.index.close();
    }

    /// Whether [`Registry::close`] was called.
    pub(super) fn is_closed(&self) -> bool {
        self.index.is_closed()
    }

    /// Waits until the registry is closed, at most for `pause`.
    pub(super) fn pause(&self, pause: Duration) {
        // The index never reaches this value.
        self.index.wait_for(u64::MAX, pause);
    }

    /// Returns the state in figures.
    pub fn gauges(&self) -> Gauges {
        // Under one lock, so that the figures belong to one moment.
        self.with_leases(|leases, now| Gauges {
            index: leases.index(now),
            bytes: leases.bytes(now),
            live: leases.counts(now).map(|(name, live)| (name.to_owned(), live)).collect(),
            expired: leases.changes(now).expired(),
            waiting: self.polls.waiting(),
        })
    }

    /// Runs `act` on the lease table, and wakes the waiting requests if the table changed. `act` must be
    /// short, because heartbeats wait meanwhile: answers are written outside.
    pub(super) fn with_leases<T>(&self, act: impl FnOnce(&mut Leases, Instant) -> T) -> T {
        let mut leases = self.lock();
        // Read under the lock: time must not go back from one call to the next.
        let now = Instant::now();
        let result = act(&mut leases, now);
        // Raised under the lock as well, so that the watch never lags behind a reader of the table.
        self.index.raise(leases.index(now));
        result
    }

    fn lock(&self) -> MutexGuard<'_, Leases> {
        // No operation on the table can panic halfway.
        lock(&self.leases)
    }

    /// Waits as `?index=7&wait=30` asks: until a change after index 7, or 30 s.
    pub(super) fn wait_as_asked(&self, query: &Query) -> Result<(), Problem> {
        let seen = query.whole_number("index", 0..=MAX_EXACT_INTEGER)?.unwrap_or(0);
        let wait = query.wait()?.unwrap_or(Duration::ZERO);
        // Any other index is answered at once, a higher index too: another registry or an earlier run issued
        // the index, so the whole list may have changed.
        if wait.is_zero() || self.with_leases(|leases, now| leases.index(now)) != seen {
            return Ok(());
        }
        let _permit = self.polls.enter()?;
        self.wait_after(seen, Instant::now() + wait);
        Ok(())
    }

    /// Waits for a change after the index `seen`, until `deadline` or the close.
    pub(super) fn wait_after(&self, seen: u64, deadline: Instant) {
        while !self.index.is_closed() {
            let (index, expiry, now) =
                self.with_leases(|leases, now| (leases.index(now), leases.next_expiry(now), now));
            if index > seen || now >= deadline {
                return;
            }
            // No thread watches for expiries: this request wakes at the next expiry and finds the index
            // raised.
            let until = expiry.map_or(deadline, |expiry| expiry.min(deadline));
            self.index.wait_for(seen + 1, until.saturating_duration_since(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_a_new_life_begins_above_all_of_the_life_before_and_stays_exact() {
        let at = |micros| first_index(Timestamp::from_micros(micros).unwrap());
        let now = Timestamp::now().as_micros();
        assert!(at(now + 4096) > at(now));
        for micros in [now, 0, -1, Timestamp::MAX.as_micros(), Timestamp::MIN.as_micros()] {
            assert!(at(micros) <= MAX_EXACT_INTEGER / 2 + 4096, "{micros}");
        }
    }

    #[test]
    fn two_lives_that_begin_at_the_same_moment_of_the_clock_have_other_indices() {
        let now = Timestamp::now();
        let first = first_index(now);
        assert!((0..100).any(|_| first_index(now) != first));
    }
}
