//! A registry at work: the lease table, a clock and the requests that wait for a change.
//!
//! **Invariant:** whatever raises the index wakes those who wait for it. For an expiry, at which
//! nothing happens, one of those who wait sees to that.
//!
//! Read next: `registry/routes.rs`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::leases::{Leases, Limits};
use crate::gate::{Gate, Pass};
use crate::http::{LongPolls, Problem, Query, problems};
use crate::limits::MAX_EXACT_INTEGER;
use crate::time::Timestamp;
use crate::watch::Watch;
use uuid::Uuid;

/// The range of the time to live, in seconds: below it, a busy machine alone would end leases; above
/// it, a dead service would be served for more than a day.
pub const TTL_SECONDS: RangeInclusive<f64> = 0.05..=86_400.0;

/// How much a registry takes. 4096 instances are far more than one site runs. 8 MiB are all of them
/// with 2 KiB each, and the longest answer. One name gets a quarter of that: its answer fits into the
/// 4 MiB that [`crate::discovery::RegistryClient`] reads, and other names find room beside it.
pub const LIMITS: Limits = Limits { instances: 4096, bytes: 8 << 20, bytes_of_one_name: 2 << 20 };

/// Returns the index of a registry that starts at `now`: microseconds since 1970, so that no index of
/// an earlier life is below it, and up to 4 ms more by chance, so that lives whose clocks began at the
/// same moment differ.
fn first_index(now: Timestamp) -> u64 {
    // The last bits of a version 7 UUID are random.
    let chance = Uuid::now_v7().as_u128() as u64 % 4096;
    // Half of the range is left to rise in. The clock comes there in 2112.
    now.as_micros().rem_euclid((MAX_EXACT_INTEGER / 2) as i64) as u64 + chance
}

/// How many heartbeats fit into one TTL, where nothing else was asked for.
const HEARTBEATS_PER_TTL: u32 = 3;

/// How long a look-up waits for its turn. Hundreds of the largest lists are written in that time.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a registry can be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a lease lives after a sign of life, within [`TTL_SECONDS`]. Default 6 s.
    pub ttl: Duration,
    /// How often instances are told to send a heartbeat; none means a third of `ttl`, so that two may
    /// get lost before an instance counts as dead.
    pub heartbeat_interval: Option<Duration>,
    /// How much it takes; more is refused with 503. Default [`LIMITS`].
    pub limits: Limits,
    /// How many requests may wait for a change at once; more are refused with 503. Default
    /// [`LongPolls::DEFAULT_MAX`].
    pub max_waits: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(6),
            heartbeat_interval: None,
            limits: LIMITS,
            max_waits: LongPolls::DEFAULT_MAX,
        }
    }
}

/// A registry: share it with [`super::router`].
#[derive(Debug)]
pub struct Registry {
    ttl: Duration,
    heartbeat_interval: Duration,
    leases: Mutex<Leases>,
    /// The index of the lease table, for those who wait for it to rise.
    index: Watch,
    polls: LongPolls,
    started: Instant,
    /// Bounds how many lists are written at once: the list of a full registry has megabytes.
    lists: Gate,
}

/// The state of a registry in numbers, for its metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gauges {
    /// Begins at the clock when the registry starts, and rises with each registration, removal and
    /// expiry.
    pub index: u64,
    /// The bytes of all live instances, in the form in which they are answered.
    pub bytes: usize,
    /// Live leases by service name.
    pub live: BTreeMap<String, usize>,
    /// Requests that wait for a change.
    pub waiting: usize,
}

impl Registry {
    /// An empty registry.
    pub fn new(options: Options) -> Self {
        let Options { ttl, heartbeat_interval, limits, max_waits } = options;
        let first_index = first_index(Timestamp::now());
        Self {
            ttl,
            heartbeat_interval: heartbeat_interval.unwrap_or(ttl / HEARTBEATS_PER_TTL),
            leases: Mutex::new(Leases::new(ttl, limits, first_index)),
            index: Watch::at(first_index),
            polls: LongPolls::new(max_waits),
            started: Instant::now(),
            lists: Gate::for_computing(),
        }
    }

    /// How long a lease lives after a sign of life.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// How often instances are told to send a heartbeat.
    pub fn heartbeat_interval(&self) -> Duration {
        self.heartbeat_interval
    }

    /// Waits for the turn to write a list.
    ///
    /// # Errors
    /// 503 `overloaded` when no turn comes in time.
    pub(super) fn turn(&self) -> Result<Pass<'_>, Problem> {
        let busy = || {
            let problem = Problem::new(&problems::OVERLOADED, "too many lists are asked for at once");
            problem.with_header("Retry-After", "1")
        };
        self.lists.enter(PATIENCE).ok_or_else(busy)
    }

    /// Until every live service has sent a heartbeat, one TTL after the start; none from then on.
    pub(super) fn filled_in(&self) -> Option<Duration> {
        let left = self.ttl.saturating_sub(self.started.elapsed());
        (!left.is_zero()).then_some(left)
    }

    /// Ends the waits of now and later, so that the engine below can stop. All routes go on answering.
    pub fn close(&self) {
        self.index.close();
    }

    /// The state in numbers.
    pub fn gauges(&self) -> Gauges {
        self.with_leases(|leases, now| Gauges {
            index: leases.index(now),
            bytes: leases.bytes(now),
            live: leases.counts(now).map(|(name, live)| (name.to_owned(), live)).collect(),
            waiting: self.polls.waiting(),
        })
    }

    /// Runs `act` on the table, and wakes the requests that wait when the table has changed. The clock
    /// is read under the lock: times must not go back from one call to the next. Heartbeats wait for
    /// `act`, so it must be short: answers are written outside.
    pub(super) fn with_leases<T>(&self, act: impl FnOnce(&mut Leases, Instant) -> T) -> T {
        let mut leases = self.lock();
        let now = Instant::now();
        let result = act(&mut leases, now);
        self.index.raise(leases.index(now));
        result
    }

    /// The table is consistent after a panic too: nothing in it can panic halfway.
    fn lock(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as `?index=7&wait=30` asks, until anything changed after that index.
    ///
    /// An index that is not the present one is answered at once: something changed after it, or it is
    /// from another registry or an earlier life of this one, and everything may have changed.
    pub(super) fn wait_as_asked(&self, query: &Query) -> Result<(), Problem> {
        let seen = query.whole_number("index", 0..=MAX_EXACT_INTEGER)?.unwrap_or(0);
        let wait = query.wait()?.unwrap_or(Duration::ZERO);
        if wait.is_zero() || self.with_leases(|leases, now| leases.index(now)) != seen {
            return Ok(());
        }
        let _permit = self.polls.enter()?;
        self.wait_after(seen, Instant::now() + wait);
        Ok(())
    }

    /// Waits in steps that end where a lease may: nobody else would notice that it ran out.
    fn wait_after(&self, seen: u64, deadline: Instant) {
        while !self.index.is_closed() {
            let (index, expiry, now) =
                self.with_leases(|leases, now| (leases.index(now), leases.next_expiry(now), now));
            if index > seen || now >= deadline {
                return;
            }
            let until = expiry.map_or(deadline, |expiry| expiry.min(deadline));
            self.index.wait_for(seen + 1, until.saturating_duration_since(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::Request;

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
    fn a_short_list_is_answered_while_large_ones_are_built() {
        let registry = Arc::new(Registry::new(Options::default()));
        let routes = crate::registry::router(Arc::clone(&registry));
        let lookup = || routes.handle(&Request::get("/services/write")).status;
        assert_eq!(registry.lists.alone(PATIENCE, lookup), Some(200));
    }

    #[test]
    fn two_lives_that_begin_at_the_same_moment_of_the_clock_have_other_indices() {
        let now = Timestamp::now();
        let first = first_index(now);
        assert!((0..100).any(|_| first_index(now) != first));
    }
}
