//! Random shortening of pauses, to spread the retries of processes that lost the same server.
//!
//! **Invariant:** jitter shortens a pause and never lengthens one: leases and deadlines depend on the pause.
//!
//! Read next: `discovery/backoff.rs`, the pauses between retries.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Returns `pause`, shortened at random by up to the fraction `share`, which lies between 0 and 1.
pub fn shortened(pause: Duration, share: f64) -> Duration {
    pause.mul_f64(1.0 - share * random_fraction())
}

/// Returns a random number from 0 to 1.
fn random_fraction() -> f64 {
    // The standard library seeds every RandomState differently; jitter needs no better randomness.
    let bits = u32::try_from(RandomState::new().hash_one(0u8) >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}
