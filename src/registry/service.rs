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

use super::leases::Leases;
use crate::http::{LongPolls, Problem, Query, Request};
use crate::watch::Watch;

/// The range of the time to live, in seconds: below it, a busy machine alone would end leases; above
/// it, a dead service would be served for more than a day.
pub const TTL_SECONDS: RangeInclusive<f64> = 0.05..=86_400.0;

/// Indices stay exact in any JSON reader.
const MAX_INDEX: u64 = (1 << 53) - 1;

/// How many heartbeats fit into one TTL, where nothing else was asked for.
const HEARTBEATS_PER_TTL: u32 = 3;

/// What a registry can be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a lease lives after a sign of life, within [`TTL_SECONDS`]. Default 6 s.
    pub ttl: Duration,
    /// How often instances are told to send a heartbeat; none means a third of `ttl`, so that two may
    /// get lost before an instance counts as dead.
    pub heartbeat_interval: Option<Duration>,
    /// How many instances it takes; more are refused with 503. Default 4096, which is far more than
    /// one site runs, and 20 MiB if every one had as much metadata as is allowed.
    pub max_instances: usize,
    /// How many requests may wait for a change at once; more are refused with 503. Default
    /// [`LongPolls::DEFAULT_MAX`].
    pub max_waits: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(6),
            heartbeat_interval: None,
            max_instances: 4096,
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
}

/// The state of a registry in numbers, for its metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gauges {
    /// Rises with each registration, removal and expiry.
    pub index: u64,
    /// Live leases by service name.
    pub live: BTreeMap<String, usize>,
    /// Requests that wait for a change.
    pub waiting: usize,
}

impl Registry {
    /// An empty registry.
    pub fn new(options: Options) -> Self {
        let Options { ttl, heartbeat_interval, max_instances, max_waits } = options;
        Self {
            ttl,
            heartbeat_interval: heartbeat_interval.unwrap_or(ttl / HEARTBEATS_PER_TTL),
            leases: Mutex::new(Leases::new(ttl, max_instances)),
            index: Watch::at(0),
            polls: LongPolls::new(max_waits),
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

    /// Ends the waits of now and later, so that the engine below can stop. All routes go on answering.
    pub fn close(&self) {
        self.index.close();
    }

    /// The state in numbers.
    pub fn gauges(&self) -> Gauges {
        self.with_leases(|leases, now| Gauges {
            index: leases.index(now),
            live: leases
                .services(now)
                .into_iter()
                .map(|(name, instances)| (name.to_owned(), instances.len()))
                .collect(),
            waiting: self.polls.waiting(),
        })
    }

    /// Does something with the table, and tells those who wait when that changed it. The clock is
    /// read under the lock: times must not go back from one call to the next.
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
    /// A client that names an index of the future has it from an earlier life of this registry:
    /// everything changed, so it is answered at once.
    pub(super) fn wait_as_asked(&self, request: &Request) -> Result<(), Problem> {
        let query = Query::of(request, &["index", "wait"])?;
        let seen = query.whole_number("index", 0..=MAX_INDEX)?.unwrap_or(0);
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
