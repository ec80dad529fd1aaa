//! The number of events to request in one page, for a page to pass the line to the write side in time.
//!
//! A page has a deadline, or a peer sending a byte a second would hold the projector for ever. After a missed
//! deadline the next page is smaller: the same page would fail again, for ever.
//!
//! **Invariant:** after a page too large, the next page is at most half as large, down to one
//! event; any line fast enough for one event carries the whole log.
//!
//! Read next: `upstream.rs`.

use std::time::Duration;

use crate::es::MAX_PAGE;

/// The smallest event of a feed, in bytes: three UUIDs, a hash and a time alone are more. A page with
/// fewer bytes for each requested event had fewer events, and says nothing about larger pages.
const MIN_EVENT_BYTES: usize = 200;

/// The number of events to ask for, as learnt from the last pages.
#[derive(Debug)]
pub(super) struct PageSize {
    limit: u32,
    slow_after: Duration,
    is_slow: bool,
}

/// Whether a smaller page can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Smaller {
    /// The next page will be smaller.
    Possible,
    /// One event is the smallest page already.
    Impossible,
}

/// A change to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// No change.
    Same,
    /// Pages have become too large for the line.
    Slow,
    /// The largest pages pass the line in time again.
    Normal,
}

impl PageSize {
    /// Begins with the largest pages. A page slower than `slow_after` is too large.
    pub(super) fn new(slow_after: Duration) -> Self {
        Self { limit: MAX_PAGE, slow_after, is_slow: false }
    }

    /// Returns the number of events to request, at most `wanted`.
    pub(super) fn limit(&self, wanted: u32) -> u32 {
        wanted.min(self.limit)
    }

    /// Records an arriving page of at most `limit` events.
    pub(super) fn arriving(&mut self, elapsed: Duration) -> Pace {
        if elapsed < self.slow_after || self.is_slow {
            return Pace::Same;
        }
        self.is_slow = true;
        Pace::Slow
    }

    /// Records an arrived page of at most `limit` events.
    pub(super) fn arrived(&mut self, limit: u32, bytes: usize, elapsed: Duration) -> Pace {
        if elapsed >= self.slow_after {
            self.limit = (limit / 2).max(1).min(self.limit);
            return Pace::Same;
        }
        let was_full = limit == self.limit && bytes >= limit as usize * MIN_EVENT_BYTES;
        // Only a full page shows the speed, and a page of twice the size must still be in time.
        if self.limit < MAX_PAGE && was_full && elapsed < self.slow_after / 4 {
            self.limit = (self.limit * 2).min(MAX_PAGE);
        } else if self.is_slow && self.limit == MAX_PAGE && was_full {
            self.is_slow = false;
            return Pace::Normal;
        }
        Pace::Same
    }

    /// Takes note of a page of at most `limit` events of which only `received` of `expected` bytes
    /// arrived.
    pub(super) fn cut_off(&mut self, limit: u32, received: usize, expected: Option<usize>) -> Smaller {
        let expected = expected.unwrap_or(received.saturating_mul(2)).max(1);
        // Three quarters of the size that would have passed, for the next page to be in time.
        let passed = u64::from(limit) * received as u64 / expected as u64 * 3 / 4;
        // Half at most: repeated attempts end at a single event.
        let fewer = u32::try_from(passed).unwrap_or(limit).min(limit / 2).max(1);
        self.limit = fewer.min(self.limit);
        if limit > 1 { Smaller::Possible } else { Smaller::Impossible }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_secs(8);
    const FAST: Duration = Duration::from_millis(5);
    const FULL: usize = MIN_EVENT_BYTES * MAX_PAGE as usize;

    #[test]
    fn a_page_that_was_cut_off_is_followed_by_one_of_half_its_size_at_most_down_to_one_event() {
        let mut size = PageSize::new(SLOW);
        assert_eq!(size.cut_off(MAX_PAGE, 990, Some(1_000)), Smaller::Possible);
        assert_eq!(size.limit(MAX_PAGE), MAX_PAGE / 2);
        size.cut_off(MAX_PAGE / 2, 100, Some(1_000));
        assert_eq!(size.limit(MAX_PAGE), MAX_PAGE / 20 * 3 / 4);
        size.cut_off(93, 10, None);
        assert_eq!(size.limit(MAX_PAGE), 34);
        size.cut_off(34, 0, Some(1_000));
        assert_eq!(size.limit(MAX_PAGE), 1);
        assert_eq!(size.cut_off(1, 0, Some(1_000)), Smaller::Impossible);
    }

    #[test]
    fn a_slow_line_is_reported_once_until_the_largest_pages_pass_again() {
        let mut size = PageSize::new(SLOW);
        assert_eq!(size.arriving(FAST), Pace::Same);
        assert_eq!(size.arriving(SLOW), Pace::Slow);
        assert_eq!(size.arriving(SLOW), Pace::Same);
        assert_eq!(size.arrived(MAX_PAGE, FULL, SLOW), Pace::Same);
        assert_eq!(size.limit(MAX_PAGE), MAX_PAGE / 2);
        assert_eq!(size.arrived(1, 500, FAST), Pace::Same);
        assert_eq!(size.limit(MAX_PAGE), MAX_PAGE / 2, "a proof says nothing about larger pages");
        assert_eq!(size.arrived(MAX_PAGE / 2, 700, FAST), Pace::Same);
        assert_eq!(size.limit(MAX_PAGE), MAX_PAGE / 2, "nor does a page with few events");
        assert_eq!(size.arrived(MAX_PAGE / 2, FULL, FAST), Pace::Same);
        assert_eq!(size.limit(MAX_PAGE), MAX_PAGE);
        assert_eq!(size.arrived(MAX_PAGE, FULL, FAST), Pace::Normal);
        assert_eq!(size.arrived(MAX_PAGE, FULL, FAST), Pace::Same);
    }
}
