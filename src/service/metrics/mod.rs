//! Metrics: counters, gauges and histograms, shown in the Prometheus text format.
//!
//! ```text
//! a thread that counts ──► instruments.rs   Counter, Gauge, Histogram: atomics
//!                               ▲
//! GET /metrics ────────► exposition.rs      Metrics: all series of a service, as text
//! ```
//!
//! A counting thread touches the atomics of its instrument only. [`Metrics`] is locked when a series is
//! added, at the start, and when a scrape reads all series. Figures that another part keeps already (the head
//! of the log, the number of leases) are read by a closure at the scrape, and not stored twice.
//!
//! ```
//! use tally::service::metrics::{Buckets, Metrics};
//!
//! let metrics = Metrics::default();
//! let commits = metrics.counter("tally_commits_total", "Transactions committed.", &[]);
//! let sync = metrics.histogram("tally_sync_seconds", "Time of one sync.", &[], &Buckets::LATENCY);
//! commits.add(1);
//! sync.observe_duration(std::time::Duration::from_micros(400));
//! let text = metrics.render();
//! assert!(text.contains("tally_commits_total 1\n"));
//! assert!(text.contains("tally_sync_seconds_bucket{le=\"0.0005\"} 1\n"));
//! ```
//!
//! **Invariant:** the set of series is fixed at the start. The values of a label come from a known set
//! (routes, status classes, projection names), never from a request, so that no client can grow the memory of
//! the service or the bill of the monitoring.
//!
//! Threads: none. Every thread of a service counts; the scrape runs on its connection's thread.
//!
//! Read next: `metrics/exposition.rs`. Format:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/> (text, version 0.0.4).

mod exposition;
mod instruments;

pub use exposition::{Label, MEDIA_TYPE, Metrics, UNKNOWN};
pub use instruments::{Buckets, Counter, Gauge, Histogram};
