//! The demand of queries for new rows, which keeps the live lane from pausing.
//!
//! After a page of a fast stream the live lane pauses, so that the next page has more events. A waiting query
//! would wait for the end of the pause as well.
//!
//! **Invariant:** a pause neither begins nor goes on while a query waits.
//!
//! Read next: `follower.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::watch::Watch;

/// How long after the last wait of a query the live lane does not pause: another wait is likely, and finds its
/// rows there already.
const INTEREST: Duration = Duration::from_millis(100);

/// The number of waits begun so far. Each waiting query has a clone, so the clones count the waiting queries.
#[derive(Debug)]
pub(super) struct Demand(Arc<Watch>);

impl Demand {
    pub(super) fn none() -> Self {
        Self(Arc::new(Watch::at(0)))
    }

    /// Counts a query as waiting until the returned value is dropped, and ends a pause.
    pub(super) fn begin_wait(&self) -> Arc<Watch> {
        let waiting = Arc::clone(&self.0);
        waiting.raise(waiting.value() + 1);
        waiting
    }

    pub(super) fn has_waiting(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Ends all pauses, now and later.
    pub(super) fn close(&self) {
        self.0.close();
    }
}

/// The demand, as a fetching thread last saw.
#[derive(Default)]
pub(super) struct SeenDemand {
    waits: u64,
    at: Option<Instant>,
}

impl SeenDemand {
    /// Pauses for `pause` at most, until a query waits.
    pub(super) fn pause(&self, demand: &Demand, pause: Duration) {
        if !demand.has_waiting() && self.at.is_none_or(|at| at.elapsed() >= INTEREST) {
            demand.0.wait_for(self.waits + 1, pause);
        }
    }

    /// Looks for waits begun since the last look, and for waiting queries.
    pub(super) fn look(&mut self, demand: &Demand) {
        let waits = demand.0.value();
        if waits > self.waits || demand.has_waiting() {
            *self = Self { waits, at: Some(Instant::now()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Returns whether the pause ends before its time.
    fn is_cut_short(seen: &SeenDemand, demand: &Demand, pause: Duration) -> bool {
        let begun = Instant::now();
        seen.pause(demand, pause);
        begun.elapsed() < pause
    }

    #[test]
    fn the_live_lane_does_not_pause_while_a_query_waits_however_long() {
        let (demand, mut seen) = (Demand::none(), SeenDemand::default());
        let waiting = demand.begin_wait();
        seen.look(&demand);
        let long_ago = Instant::now().checked_sub(INTEREST);
        seen.at = long_ago;
        assert!(is_cut_short(&seen, &demand, PATIENCE));
        seen.look(&demand);
        drop(waiting);
        assert!(is_cut_short(&seen, &demand, PATIENCE), "another wait is likely");
        seen.at = long_ago;
        assert!(!is_cut_short(&seen, &demand, Duration::from_millis(1)));
        // Begun since the last look, and ended.
        drop(demand.begin_wait());
        assert!(is_cut_short(&seen, &demand, PATIENCE));
    }
}
