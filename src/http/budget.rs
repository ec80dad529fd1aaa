//! The budget for the bytes of large answers in memory.
//!
//! A server holds an answer in memory until the client has received the last byte. Each answer has a limit;
//! the budget limits the sum, which clients that do not read would otherwise set.
//!
//! **Invariant:** small answers are never refused: health, metrics and problems pass at any load.
//!
//! Read next: `engine/service.rs`, which claims the shares.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Maximum bytes of an answer that costs no share: a small answer for each connection takes no more
/// than the connections' own buffers.
const MAX_SMALL_BYTES: usize = 32 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Budget {
    max_bytes: usize,
    held: AtomicUsize,
    refused: AtomicU64,
}

/// A share of the budget, released when dropped.
#[derive(Debug)]
pub(super) struct Share<'b> {
    budget: &'b Budget,
    bytes: usize,
}

impl Default for Budget {
    /// Returns 64 MiB: sixty-four of the largest pages, and a quarter of a service's memory limit.
    fn default() -> Self {
        Self::of(64 << 20)
    }
}

impl Budget {
    /// Returns a budget of `max_bytes`.
    pub fn of(max_bytes: usize) -> Self {
        Self { max_bytes, held: AtomicUsize::new(0), refused: AtomicU64::new(0) }
    }

    /// Returns the bytes of large answers in memory now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Returns the number of answers refused because the budget was spent.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Claims the share of an answer of `bytes`; None when the budget is spent.
    pub(super) fn claim(&self, bytes: usize) -> Option<Share<'_>> {
        let bytes = if bytes > MAX_SMALL_BYTES { bytes } else { 0 };
        // A small answer passes a spent budget: health reports and refusals must get through.
        let more = |held: usize| held.checked_add(bytes).filter(|sum| bytes == 0 || *sum <= self.max_bytes);
        // Relaxed: the counter guards no other memory.
        match self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Some(Share { budget: self, bytes }),
            Err(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_answers_share_the_budget_and_small_ones_always_pass() {
        let budget = Budget::of(3 * MAX_SMALL_BYTES);
        let large = budget.claim(2 * MAX_SMALL_BYTES).unwrap();
        assert!(budget.claim(2 * MAX_SMALL_BYTES).is_none());
        let small: Vec<_> = (0..1000).map(|_| budget.claim(MAX_SMALL_BYTES).unwrap()).collect();
        assert_eq!((budget.held(), budget.refused()), (2 * MAX_SMALL_BYTES, 1));
        drop((large, small));
        assert_eq!(budget.held(), 0);
        assert!(budget.claim(2 * MAX_SMALL_BYTES).is_some());
        assert!(budget.claim(usize::MAX).is_none());
    }
}
