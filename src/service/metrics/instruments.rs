//! The instruments that a thread counts with.
//!
//! **Invariant:** counting takes no lock and allocates nothing.
//!
//! Read next: `metrics/exposition.rs`, which shows the figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The number of occurrences of an event; rises only.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// Returns the count so far.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that rises and falls.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Changes the value by `difference`.
    pub fn add(&self, difference: i64) {
        self.0.fetch_add(difference, Relaxed);
    }

    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// Returns the current value.
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// The buckets of a histogram and the observed unit.
#[derive(Debug)]
pub struct Buckets {
    /// Upper bounds, inclusive, ascending, in the observed unit.
    pub bounds: &'static [u64],
    /// Number of observed units per unit of the metric's name.
    pub per_unit: u64,
}

impl Buckets {
    /// Durations, observed in microseconds and shown in seconds: from a cached answer to the longest poll.
    pub const LATENCY: Buckets = Buckets {
        bounds: &[
            50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
            1_000_000, 2_500_000, 10_000_000, 30_000_000,
        ],
        per_unit: 1_000_000,
    };

    /// Sizes, such as the number of commands in a commit.
    pub const SIZE: Buckets =
        Buckets { bounds: &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 4_096], per_unit: 1 };
}

/// The distribution of observed values.
#[derive(Clone, Debug)]
pub struct Histogram(pub(super) Arc<Distribution>);

#[derive(Debug)]
pub(super) struct Distribution {
    pub(super) buckets: &'static Buckets,
    /// The number of values per bucket; the last bucket has no bound. Not cumulative: an observation changes
    /// a single count, and the scrape adds the counts up, so `+Inf` always equals the total.
    pub(super) counts: Box<[AtomicU64]>,
    pub(super) sum: AtomicU64,
}

impl Histogram {
    pub(super) fn of(buckets: &'static Buckets) -> Self {
        let counts = (0..=buckets.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Distribution { buckets, counts, sum: AtomicU64::new(0) }))
    }

    /// Records a value, in the unit of the [`Buckets`].
    pub fn observe(&self, value: u64) {
        // Relaxed throughout: the figures are independent, and a scrape needs no consistent snapshot.
        let bucket = self.0.buckets.bounds.partition_point(|bound| *bound < value);
        self.0.counts[bucket].fetch_add(1, Relaxed);
        self.0.sum.fetch_add(value, Relaxed);
    }

    /// Records a duration. The buckets must count microseconds, as [`Buckets::LATENCY`] does.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Returns the number of recorded values.
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Relaxed)).sum()
    }
}
