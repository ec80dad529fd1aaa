//! The bytes of large answers that a server holds at once.
//!
//! An answer is held in memory from the moment it is built until its client has taken it. Each answer has
//! a limit of its own; this is the limit of their sum, which clients that do not read would otherwise set.
//!
//! **Invariant:** small answers are never refused: health, metrics and problems pass whatever is held.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// An answer of at most this many bytes costs nothing: with one for each connection it is no more than
/// the connections' own buffers.
const SMALL_BYTES: usize = 32 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Budget {
    max_bytes: usize,
    held: AtomicUsize,
    refused: AtomicU64,
}

/// A share of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Share<'b> {
    budget: &'b Budget,
    bytes: usize,
}

impl Default for Budget {
    /// 64 MiB: sixty-four of the largest pages, and a quarter of what a service may ever take.
    fn default() -> Self {
        Self::of(64 << 20)
    }
}

impl Budget {
    /// A budget of so many bytes.
    pub fn of(max_bytes: usize) -> Self {
        Self { max_bytes, held: AtomicUsize::new(0), refused: AtomicU64::new(0) }
    }

    /// Bytes of large answers that are held now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Answers that were refused because the budget was spent.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Takes the share of an answer of `bytes`. None when the budget is spent.
    pub(super) fn take(&self, bytes: usize) -> Option<Share<'_>> {
        let bytes = if bytes > SMALL_BYTES { bytes } else { 0 };
        let more = |held: usize| held.checked_add(bytes).filter(|sum| bytes == 0 || *sum <= self.max_bytes);
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
        let budget = Budget::of(3 * SMALL_BYTES);
        let large = budget.take(2 * SMALL_BYTES).unwrap();
        assert!(budget.take(2 * SMALL_BYTES).is_none());
        let small: Vec<_> = (0..1000).map(|_| budget.take(SMALL_BYTES).unwrap()).collect();
        assert_eq!((budget.held(), budget.refused()), (2 * SMALL_BYTES, 1));
        drop((large, small));
        assert_eq!(budget.held(), 0);
        assert!(budget.take(2 * SMALL_BYTES).is_some());
        assert!(budget.take(usize::MAX).is_none());
    }
}
