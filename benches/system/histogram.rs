//! Latencies, counted in buckets that grow with the value: any number of them in 30 KiB, each
//! known to about 1.5 %.

use std::time::Duration;

/// Bits of a value that are kept below its highest one.
const PRECISION_BITS: u32 = 6;
const PER_OCTAVE: usize = 1 << PRECISION_BITS;
const BUCKETS: usize = PER_OCTAVE * (u64::BITS - PRECISION_BITS + 1) as usize;

/// How often each latency was seen.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, sum: Duration::ZERO }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, latency: Duration) {
        self.buckets[bucket_of(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX))] += 1;
        self.count += 1;
        self.sum += latency;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(mine, theirs)| *mine += theirs);
        self.count += other.count;
        self.sum += other.sum;
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The mean in seconds; 0 when there are none.
    pub(crate) fn mean(&self) -> f64 {
        self.sum.as_secs_f64() / self.count.max(1) as f64
    }

    /// The latency in seconds that this share of all did not exceed; 0 when there are none.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        let reached = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        reached.map_or(0.0, |bucket| highest_in(bucket) as f64 / 1e9)
    }
}

fn bucket_of(nanos: u64) -> usize {
    if nanos < PER_OCTAVE as u64 {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - PRECISION_BITS;
    // The highest bit of what is left is always set, so it counts as one octave.
    (shift as usize) * PER_OCTAVE + (nanos >> shift) as usize
}

fn highest_in(bucket: usize) -> u64 {
    if bucket < PER_OCTAVE {
        return bucket as u64;
    }
    let shift = (bucket / PER_OCTAVE - 1) as u32;
    let lowest = ((bucket % PER_OCTAVE + PER_OCTAVE) as u64) << shift;
    lowest + ((1 << shift) - 1)
}
