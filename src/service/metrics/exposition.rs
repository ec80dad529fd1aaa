//! All series of a service, and their text for a scrape.
//!
//! **Invariant:** a family is shown once, with help, type and all series; a series exists once.
//!
//! Read next: `service/telemetry.rs`, the series of every service.

use std::fmt::{self, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard};

use super::instruments::{Buckets, Counter, Distribution, Gauge, Histogram};
use crate::lock::lock;

/// The media type of [`Metrics::render`].
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A label and its value, such as `("route", "/accounts/{id}")`.
pub type Label<'a> = (&'static str, &'a str);

/// The value of a computed figure that is not known: the scrape leaves the series out.
pub const UNKNOWN: f64 = f64::NAN;

/// All series of one service. Share them in an [`std::sync::Arc`].
#[derive(Debug, Default)]
pub struct Metrics {
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
    /// The labels as shown: `a="1",b="2"`, empty without labels.
    labels: String,
    figure: Figure,
}

enum Figure {
    Counter(Counter),
    Gauge(Gauge),
    Computed(Box<dyn Fn() -> f64 + Send + Sync>),
    Histogram(Histogram),
}

impl fmt::Debug for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter(counter) => counter.fmt(f),
            Self::Gauge(gauge) => gauge.fmt(f),
            Self::Computed(_) => f.write_str("Computed"),
            Self::Histogram(histogram) => histogram.fmt(f),
        }
    }
}

/// Each adding method adds one series; the series of one name with different labels form a family.
///
/// # Panics
/// The adding methods, when the series exists already or the name has another type: a bug of the caller found
/// by the first start.
impl Metrics {
    /// Adds a counter; its name ends in `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[Label<'_>]) -> Counter {
        let counter = Counter::default();
        self.add("counter", name, help, labels, Figure::Counter(counter.clone()));
        counter
    }

    /// Adds a gauge.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[Label<'_>]) -> Gauge {
        let gauge = Gauge::default();
        self.add("gauge", name, help, labels, Figure::Gauge(gauge.clone()));
        gauge
    }

    /// Adds a gauge that each scrape computes; `value` must be quick and must not block.
    pub fn computed_gauge(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[Label<'_>],
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.add("gauge", name, help, labels, Figure::Computed(Box::new(value)));
    }

    /// Adds a counter that another part keeps; `value` must be quick, must not block, and only rises.
    pub fn computed_counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[Label<'_>],
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.add("counter", name, help, labels, Figure::Computed(Box::new(value)));
    }

    /// Adds a histogram; its name ends in the shown unit.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[Label<'_>],
        buckets: &'static Buckets,
    ) -> Histogram {
        let histogram = Histogram::of(buckets);
        self.add("histogram", name, help, labels, Figure::Histogram(histogram.clone()));
        histogram
    }

    fn add(
        &self,
        kind: &'static str,
        name: &'static str,
        help: &'static str,
        labels: &[Label<'_>],
        figure: Figure,
    ) {
        let mut families = self.lock();
        let labels = shown_labels(labels);
        let known = families.iter().position(|family| family.name == name);
        let place = known.unwrap_or(families.len());
        if known.is_none() {
            families.push(Family { name, help, kind, series: Vec::new() });
        }
        let family = &mut families[place];
        // Asserted here and not at the scrape: the first start of a faulty build fails.
        assert_eq!(family.kind, kind, "the metric {name} has two types");
        assert!(
            family.series.iter().all(|series| series.labels != labels),
            "{name}{{{labels}}} is added twice"
        );
        family.series.push(Series { labels, figure });
    }

    /// Returns all series in the Prometheus text format, see [`MEDIA_TYPE`].
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(16 * 1024);
        // Closures run under the lock: a closure that adds a series would deadlock.
        for family in self.lock().iter() {
            // Writing to a String cannot fail.
            let _ = family.render(&mut out);
        }
        out
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Family>> {
        // A series is pushed whole or not at all.
        lock(&self.families)
    }
}

impl Family {
    fn render(&self, out: &mut String) -> fmt::Result {
        let mut samples = String::new();
        for Series { labels, figure } in &self.series {
            let samples = &mut samples;
            match figure {
                Figure::Counter(counter) => sample(samples, self.name, "", labels, counter.value())?,
                Figure::Gauge(gauge) => sample(samples, self.name, "", labels, gauge.value())?,
                // Unknown: an absent figure raises an alert about absence, and NaN raises none.
                Figure::Computed(value) => match value() {
                    value if value.is_nan() => {}
                    value => sample(samples, self.name, "", labels, value)?,
                },
                Figure::Histogram(histogram) => show_histogram(samples, self.name, labels, histogram)?,
            }
        }
        if samples.is_empty() {
            return Ok(());
        }
        // The text format escapes backslashes and line ends in help texts, and quotes in label values too.
        let help = self.help.replace('\\', "\\\\").replace('\n', "\\n");
        write!(out, "# HELP {} {help}\n# TYPE {} {}\n{samples}", self.name, self.name, self.kind)
    }
}

fn show_histogram(out: &mut String, name: &str, labels: &str, histogram: &Histogram) -> fmt::Result {
    let Distribution { buckets, counts, sum } = &*histogram.0;
    let shown = |value: u64| value as f64 / buckets.per_unit as f64;
    let comma = if labels.is_empty() { "" } else { "," };
    let bounds = buckets.bounds.iter().map(|bound| shown(*bound).to_string());
    let mut count = 0;
    for (bound, counted) in bounds.chain(["+Inf".to_owned()]).zip(counts) {
        // Cumulative, as the format asks: each bucket contains the buckets below.
        count += counted.load(Relaxed);
        sample(out, name, "_bucket", &format!("{labels}{comma}le=\"{bound}\""), count)?;
    }
    sample(out, name, "_sum", labels, shown(sum.load(Relaxed)))?;
    // The sum of the buckets, not a counter beside: `_count` and `+Inf` agree in every scrape.
    sample(out, name, "_count", labels, count)
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
        let metrics = Metrics::default();
        let reads = metrics.counter("things_total", "Things,\nby kind.", &[("kind", "read")]);
        let threads = metrics.gauge("threads", "Threads.", &[]);
        let writes = metrics.counter("things_total", "Things,\nby kind.", &[("kind", "a \"b\" \\")]);
        metrics.computed_gauge("head_position", "Last position.", &[], || 42.0);
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
        assert_eq!(metrics.render(), expected);
    }

    #[test]
    fn what_is_not_known_is_left_out_and_a_family_without_a_sample_too() {
        let metrics = Metrics::default();
        metrics.computed_gauge("head_position", "Last position.", &[], || UNKNOWN);
        metrics.computed_gauge("lag_seconds", "Lag.", &[("of", "a")], || UNKNOWN);
        metrics.computed_gauge("lag_seconds", "Lag.", &[("of", "b")], || 2.0);
        let expected = "# HELP lag_seconds Lag.\n# TYPE lag_seconds gauge\nlag_seconds{of=\"b\"} 2\n";
        assert_eq!(metrics.render(), expected);
    }

    #[test]
    fn a_value_falls_into_the_first_bucket_whose_bound_it_does_not_pass() {
        static BUCKETS: Buckets = Buckets { bounds: &[10, 20], per_unit: 10 };
        let metrics = Metrics::default();
        let histogram = metrics.histogram("wait_seconds", "Waits.", &[("of", "x")], &BUCKETS);
        for value in [1, 10, 11, 20, 21] {
            histogram.observe(value);
        }
        let text = metrics.render();
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
        let metrics = Metrics::default();
        let counter = metrics.counter("things_total", "Things.", &[]);
        let histogram = metrics.histogram("batch_commands", "Batches.", &[], &Buckets::SIZE);
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
        assert!(metrics.render().contains("\nbatch_commands_count 4000\n"));
    }

    #[test]
    #[should_panic(expected = "added twice")]
    fn a_series_cannot_be_added_twice() {
        let metrics = Metrics::default();
        metrics.gauge("threads", "Threads.", &[]);
        metrics.gauge("threads", "Threads.", &[]);
    }
}
