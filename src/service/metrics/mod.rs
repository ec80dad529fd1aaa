//! Metrics: a small registry of counters, gauges and histograms, and the Prometheus text format.
//!
//! Whoever counts holds an [`Counter`], [`Gauge`] or [`Histogram`] and touches nothing but its
//! atomics; the registry is locked when a series is added (at start) and when it is scraped. What
//! somebody else counts already (the head of the log, the number of leases) is read at scrape by
//! a closure instead of being kept twice.
//!
//! **Invariant:** the set of series is fixed at start. A label takes its values from a set known
//! then (routes, status classes, projection names), never from a request, so that no client can
//! make memory or the monitoring's bill grow.
//!
//! ```
//! use tally::service::metrics::{Buckets, Registry};
//!
//! let registry = Registry::default();
//! let commits = registry.counter("tally_commits_total", "Transactions committed.", &[]);
//! let sync = registry.histogram("tally_sync_seconds", "Time of one sync.", &[], &Buckets::LATENCY);
//! commits.add(1);
//! sync.observe_duration(std::time::Duration::from_micros(400));
//! let text = registry.render();
//! assert!(text.contains("tally_commits_total 1\n"));
//! assert!(text.contains("tally_sync_seconds_bucket{le=\"0.0005\"} 1\n"));
//! assert!(tally::service::metrics::lint(&text).is_empty());
//! ```
//!
//! Read next: `metrics/lint.rs`, the rules that every scrape must keep.
//! Format: <https://prometheus.io/docs/instrumenting/exposition_formats/> (text, version 0.0.4).

mod lint;

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use lint::lint;

/// The media type of [`Registry::render`].
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A label and its value, such as `("route", "/accounts/{id}")`.
pub type Label<'a> = (&'static str, &'a str);

/// A number of things that happened; it only rises.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Counts `count` more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// The count so far.
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

    /// The value now.
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Where a histogram's buckets end, and the unit that is observed.
#[derive(Debug)]
pub struct Buckets {
    /// Upper bounds, inclusive, ascending, in the unit that is observed.
    pub bounds: &'static [u64],
    /// How many observed units make one unit of the metric's name.
    pub per_unit: u64,
}

impl Buckets {
    /// Observed in microseconds, shown in seconds: from a cached answer to the end of all patience.
    pub const LATENCY: Buckets = Buckets {
        bounds: &[
            50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
            1_000_000, 2_500_000, 10_000_000, 30_000_000,
        ],
        per_unit: 1_000_000,
    };

    /// A number of things, such as the commands in one commit.
    pub const SIZE: Buckets =
        Buckets { bounds: &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 4_096], per_unit: 1 };
}

/// How often values of which size were observed.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Distribution>);

#[derive(Debug)]
struct Distribution {
    buckets: &'static Buckets,
    // One count for each bound and one for what lies above, each for itself: an observation
    // touches one of them. They are summed up when shown, so `+Inf` always equals the count.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    fn of(buckets: &'static Buckets) -> Self {
        let counts = (0..=buckets.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Distribution { buckets, counts, sum: AtomicU64::new(0) }))
    }

    /// Observes a value, in the unit of the [`Buckets`].
    pub fn observe(&self, value: u64) {
        let bucket = self.0.buckets.bounds.partition_point(|bound| *bound < value);
        self.0.counts[bucket].fetch_add(1, Relaxed);
        self.0.sum.fetch_add(value, Relaxed);
    }

    /// Observes a duration; the buckets must count microseconds, as [`Buckets::LATENCY`] does.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// How many values were observed.
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Relaxed)).sum()
    }
}

/// All series of one service. Share it in an [`Arc`].
#[derive(Debug, Default)]
pub struct Registry {
    families: Mutex<Vec<Family>>,
}

#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    series: Vec<Series>,
}

#[derive(Debug)]
struct Series {
    /// As it is shown: `a="1",b="2"`, empty without labels.
    labels: String,
    value: Value,
}

enum Value {
    Counter(Counter),
    Gauge(Gauge),
    Computed(Box<dyn Fn() -> f64 + Send + Sync>),
    Histogram(Histogram),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter(counter) => counter.fmt(f),
            Self::Gauge(gauge) => gauge.fmt(f),
            Self::Computed(_) => f.write_str("Computed"),
            Self::Histogram(histogram) => histogram.fmt(f),
        }
    }
}

/// Each method adds one series; the series of one name with different labels are one family.
///
/// All of them panic when the series is there already or its name has another type: a bug of the
/// caller, found by the first start.
impl Registry {
    /// Adds a counter; its name ends in `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[Label<'_>]) -> Counter {
        let counter = Counter::default();
        self.add("counter", name, help, labels, Value::Counter(counter.clone()));
        counter
    }

    /// Adds a gauge.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[Label<'_>]) -> Gauge {
        let gauge = Gauge::default();
        self.add("gauge", name, help, labels, Value::Gauge(gauge.clone()));
        gauge
    }

    /// Adds a gauge that is computed at each scrape; `value` must be quick and must not block.
    pub fn computed_gauge(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[Label<'_>],
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.add("gauge", name, help, labels, Value::Computed(Box::new(value)));
    }

    /// Adds a counter that somebody else keeps; `value` must be quick, not block, and only rise.
    pub fn computed_counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[Label<'_>],
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.add("counter", name, help, labels, Value::Computed(Box::new(value)));
    }

    /// Adds a histogram; its name ends in the unit that is shown.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[Label<'_>],
        buckets: &'static Buckets,
    ) -> Histogram {
        let histogram = Histogram::of(buckets);
        self.add("histogram", name, help, labels, Value::Histogram(histogram.clone()));
        histogram
    }

    fn add(
        &self,
        kind: &'static str,
        name: &'static str,
        help: &'static str,
        labels: &[Label<'_>],
        value: Value,
    ) {
        let mut families = self.lock();
        let labels = shown_labels(labels);
        let known = families.iter().position(|family| family.name == name);
        let place = known.unwrap_or(families.len());
        if known.is_none() {
            families.push(Family { name, help, kind, series: Vec::new() });
        }
        let family = &mut families[place];
        assert_eq!(family.kind, kind, "the metric {name} has two types");
        assert!(
            family.series.iter().all(|series| series.labels != labels),
            "{name}{{{labels}}} is added twice"
        );
        family.series.push(Series { labels, value });
    }

    /// Everything in the Prometheus text format, see [`MEDIA_TYPE`].
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(16 * 1024);
        for family in self.lock().iter() {
            // Writing to a String cannot fail.
            let _ = family.render(&mut out);
        }
        out
    }

    /// A poisoned lock is no danger here: a series is pushed whole or not at all.
    fn lock(&self) -> MutexGuard<'_, Vec<Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Family {
    fn render(&self, out: &mut String) -> fmt::Result {
        let help = self.help.replace('\\', "\\\\").replace('\n', "\\n");
        writeln!(out, "# HELP {} {help}\n# TYPE {} {}", self.name, self.name, self.kind)?;
        for Series { labels, value } in &self.series {
            match value {
                Value::Counter(counter) => sample(out, self.name, "", labels, counter.value())?,
                Value::Gauge(gauge) => sample(out, self.name, "", labels, gauge.value())?,
                Value::Computed(value) => sample(out, self.name, "", labels, value())?,
                Value::Histogram(histogram) => histogram.render(out, self.name, labels)?,
            }
        }
        Ok(())
    }
}

impl Histogram {
    fn render(&self, out: &mut String, name: &str, labels: &str) -> fmt::Result {
        let Distribution { buckets, counts, sum } = &*self.0;
        let shown = |value: u64| value as f64 / buckets.per_unit as f64;
        let comma = if labels.is_empty() { "" } else { "," };
        let bounds = buckets.bounds.iter().map(|bound| shown(*bound).to_string());
        let mut count = 0;
        for (bound, counted) in bounds.chain(["+Inf".to_owned()]).zip(counts) {
            count += counted.load(Relaxed);
            sample(out, name, "_bucket", &format!("{labels}{comma}le=\"{bound}\""), count)?;
        }
        sample(out, name, "_sum", labels, shown(sum.load(Relaxed)))?;
        sample(out, name, "_count", labels, count)
    }
}

fn sample(out: &mut String, name: &str, suffix: &str, labels: &str, value: impl fmt::Display) -> fmt::Result {
    match labels {
        "" => writeln!(out, "{name}{suffix} {value}"),
        labels => writeln!(out, "{name}{suffix}{{{labels}}} {value}"),
    }
}

fn shown_labels(labels: &[Label<'_>]) -> String {
    let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let shown: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
    shown.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_is_shown_once_with_its_help_and_type_and_all_its_series() {
        let registry = Registry::default();
        let reads = registry.counter("things_total", "Things,\nby kind.", &[("kind", "read")]);
        let threads = registry.gauge("threads", "Threads.", &[]);
        let writes = registry.counter("things_total", "Things,\nby kind.", &[("kind", "a \"b\" \\")]);
        registry.computed_gauge("head_position", "Last position.", &[], || 42.0);
        reads.add(2);
        writes.add(3);
        threads.add(5);
        threads.add(-1);
        let expected = r#"# HELP things_total Things,\nby kind.
# TYPE things_total counter
things_total{kind="read"} 2
things_total{kind="a \"b\" \\"} 3
# HELP threads Threads.
# TYPE threads gauge
threads 4
# HELP head_position Last position.
# TYPE head_position gauge
head_position 42
"#;
        assert_eq!(registry.render(), expected);
    }

    #[test]
    fn a_value_falls_into_the_first_bucket_whose_bound_it_does_not_pass() {
        static BUCKETS: Buckets = Buckets { bounds: &[10, 20], per_unit: 10 };
        let registry = Registry::default();
        let histogram = registry.histogram("wait_seconds", "Waits.", &[("of", "x")], &BUCKETS);
        for value in [1, 10, 11, 20, 21] {
            histogram.observe(value);
        }
        let text = registry.render();
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            r#"wait_seconds_bucket{of="x",le="1"} 2"#,
            r#"wait_seconds_bucket{of="x",le="2"} 4"#,
            r#"wait_seconds_bucket{of="x",le="+Inf"} 5"#,
            r#"wait_seconds_sum{of="x"} 6.3"#,
            r#"wait_seconds_count{of="x"} 5"#,
        ];
        assert_eq!(samples, expected);
        assert_eq!(histogram.count(), 5);
    }

    #[test]
    fn counts_of_many_threads_add_up() {
        let registry = Registry::default();
        let counter = registry.counter("things_total", "Things.", &[]);
        let histogram = registry.histogram("batch_commands", "Batches.", &[], &Buckets::SIZE);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for value in 0..1_000 {
                        counter.add(1);
                        histogram.observe(value);
                    }
                });
            }
        });
        assert_eq!((counter.value(), histogram.count()), (4_000, 4_000));
        assert_eq!(lint(&registry.render()), [""; 0]);
    }

    #[test]
    #[should_panic(expected = "added twice")]
    fn a_series_cannot_be_added_twice() {
        let registry = Registry::default();
        registry.gauge("threads", "Threads.", &[]);
        registry.gauge("threads", "Threads.", &[]);
    }
}
