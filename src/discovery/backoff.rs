//! Pauses between retries and between heartbeats.
//!
//! **Invariant:** no pause exceeds its cap, and no heartbeat interval the configured one.
//!
//! Read next: `jitter.rs`, which shortens them at random.

use std::time::Duration;

use crate::jitter::shortened;

/// The share of a retry pause that jitter may remove.
const RETRY_JITTER: f64 = 0.5;
/// The share of a heartbeat interval that jitter may remove: enough to desynchronize processes that started
/// together, few extra heartbeats.
const HEARTBEAT_JITTER: f64 = 0.2;

/// Exponential backoff with jitter: each pause is twice as long as the last, up to a cap, and is then
/// shortened at random by up to a half.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    cap: Duration,
    next: Duration,
}

impl Backoff {
    /// Returns a backoff whose pauses start at `first` and stop growing at `cap`.
    pub(super) fn new(first: Duration, cap: Duration) -> Self {
        // The cap follows the configured heartbeat interval, which may be shorter than the first pause.
        let first = first.min(cap);
        Self { first, cap, next: first }
    }

    /// Returns the pause after one more failure.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.cap);
        shortened(pause, RETRY_JITTER)
    }

    /// Restarts the series after a success.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Returns the heartbeat interval, shortened at random by up to a fifth. A longer interval could cost the
/// lease.
pub(super) fn jittered(interval: Duration) -> Duration {
    shortened(interval, HEARTBEAT_JITTER)
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
