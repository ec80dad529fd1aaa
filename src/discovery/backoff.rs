//! Pauses between retries, and the jitter that keeps a herd of processes from running in step.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The pauses of one series of failures: each twice as long as the last, up to a cap, and each
/// shortened by up to a half at random, so that all who lost the same server do not come back at
/// the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses that start at `first` and stop growing at `cap`.
    pub fn new(first: Duration, cap: Duration) -> Self {
        let first = first.min(cap);
        Self { first, cap, next: first }
    }

    /// How long to pause after one more failure.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.cap);
        shortened(pause, 0.5)
    }

    /// Begins anew, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// An interval shortened by up to a fifth at random: never longer, since a lease depends on it.
pub fn jittered(interval: Duration) -> Duration {
    shortened(interval, 0.2)
}

fn shortened(pause: Duration, by_at_most: f64) -> Duration {
    pause.mul_f64(1.0 - by_at_most * random_fraction())
}

/// A number from 0 to 1. The hash keys of the standard library are random in every process and
/// change with every call, which is all that jitter needs.
fn random_fraction() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0u8) >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SECOND: Duration = Duration::from_secs(1);

    // Pitfall 13: heartbeats in step, retries without backoff and jitter.
    #[test]
    fn a_thundering_herd_is_spread_over_time() {
        let heartbeats: BTreeSet<Duration> = (0..1_000).map(|_| jittered(SECOND)).collect();
        assert!(heartbeats.len() > 900, "only {} different pauses", heartbeats.len());
        assert!(*heartbeats.first().unwrap() >= SECOND * 8 / 10);
        assert!(*heartbeats.last().unwrap() <= SECOND);

        let retries: BTreeSet<Duration> = (0..1_000).map(|_| Backoff::new(SECOND, SECOND).pause()).collect();
        assert!(retries.len() > 900, "only {} different pauses", retries.len());
    }

    #[test]
    fn pauses_grow_to_the_cap_and_start_anew_after_a_success() {
        let mut backoff = Backoff::new(SECOND, SECOND * 6);
        for seconds in [1, 2, 4, 6, 6, 6] {
            let pause = backoff.pause();
            assert!((SECOND * seconds / 2..=SECOND * seconds).contains(&pause), "{pause:?} of {seconds}");
        }
        backoff.reset();
        assert!(backoff.pause() <= SECOND);
    }

    #[test]
    fn no_pause_is_longer_than_the_cap() {
        let mut backoff = Backoff::new(SECOND, SECOND / 10);
        assert!((0..10).all(|_| backoff.pause() <= SECOND / 10));
    }
}
