//! Latencies in an HDR histogram: any number of them in some 200 KiB, each known to 0.1 %.

use std::time::Duration;

/// Significant decimal digits of a latency.
const DIGITS: u8 = 3;
/// The longest latency that is told apart from longer ones, in nanoseconds: far beyond every deadline.
const LONGEST_NANOS: u64 = 600_000_000_000;

/// How often each latency was seen.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    nanos: hdrhistogram::Histogram<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        let nanos = hdrhistogram::Histogram::new_with_max(LONGEST_NANOS, DIGITS);
        Self { nanos: nanos.expect("the bounds are lawful") }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, latency: Duration) {
        self.nanos.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.nanos.add(&other.nanos).expect("both have the same bounds");
    }

    pub(crate) fn count(&self) -> u64 {
        self.nanos.len()
    }

    /// The mean in seconds; 0 when there are none.
    pub(crate) fn mean(&self) -> f64 {
        self.nanos.mean() / 1e9
    }

    /// The latency in seconds that this share of all did not exceed; 0 when there are none.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        self.nanos.value_at_quantile(share) as f64 / 1e9
    }
}
