//! How closely a projector follows a fast stream: at once while somebody asks, and with rests in
//! between while nobody does.
//!
//! A page costs a request, a transaction and the writing of every database page that it touches,
//! whether it has forty events or a thousand. A follower that nobody asks takes the thousand, and
//! leaves the processor to those who do something that is waited for.
//!
//! **Invariant:** whoever says that it asks, before it reads, ends the rest; while somebody waits there
//! is none; a slow stream is followed at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// So long after somebody has asked it is likely that somebody asks again.
const INTEREST: Duration = Duration::from_millis(100);
/// A page with so many events comes from a fast stream: fewer are cheap to take one by one.
const MANY: usize = 16;

/// What those who ask and the follower share.
#[derive(Debug, Default)]
pub(in crate::es) struct Demand {
    is_there: AtomicBool,
    /// Those who wait for a row that is not there yet.
    waiting: AtomicUsize,
    is_waited_for: AtomicBool,
}

/// Somebody waits, for as long as this lives.
#[derive(Debug)]
pub(in crate::es) struct Waits<'a> {
    demand: &'a Demand,
    /// Whether the follower has to be woken for it.
    pub(in crate::es) wakes: bool,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.demand.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Demand {
    /// Notes that somebody asks. Whether the follower has to be woken for it.
    pub(in crate::es) fn rises(&self) -> bool {
        // Read first: with many who ask it is there already, and nothing has to be written.
        if !self.is_there.load(Ordering::SeqCst) {
            self.is_there.store(true, Ordering::SeqCst);
        }
        self.is_waited_for.load(Ordering::SeqCst) && self.is_waited_for.swap(false, Ordering::SeqCst)
    }

    /// The same, of one who waits: there is demand until that ends.
    pub(in crate::es) fn lasts(&self) -> Waits<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waits { demand: self, wakes: self.rises() }
    }

    fn is_there(&self) -> bool {
        self.is_there.load(Ordering::SeqCst) || self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Whether there is demand. One that was only told of is forgotten with that.
    fn take(&self) -> bool {
        self.is_there.swap(false, Ordering::SeqCst) || self.waiting.load(Ordering::SeqCst) > 0
    }
}

/// The follower's side of it.
#[derive(Debug)]
pub(in crate::es) struct Pace {
    demand: Arc<Demand>,
    /// Zero: it never rests.
    rest: Duration,
    last_demand: Option<Instant>,
    until: Option<Instant>,
}

impl Pace {
    pub(in crate::es) fn with_rests_of(rest: Duration) -> Self {
        Self { demand: Arc::default(), rest, last_demand: None, until: None }
    }

    pub(in crate::es) fn demand(&self) -> &Arc<Demand> {
        &self.demand
    }

    /// A page near the end of the log was taken, with so many events: begins a rest when it may.
    pub(in crate::es) fn rest_after(&mut self, events: usize) {
        let now = Instant::now();
        // The rest before is over, also where somebody has ended it early: nobody would be heard in what
        // is left of it.
        self.until = None;
        if self.demand.take() {
            self.last_demand = Some(now);
        }
        let is_interesting = self.last_demand.is_some_and(|last| now.duration_since(last) < INTEREST);
        if events >= MANY && !is_interesting && !self.rest.is_zero() {
            self.until = Some(now + self.rest);
            self.demand.is_waited_for.store(true, Ordering::SeqCst);
        }
    }

    /// How much longer it rests; not at all as soon as somebody asks.
    pub(in crate::es) fn rests_for(&self) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(Instant::now());
        // Looked at after `is_waited_for` was set: of the two sides, one at least sees the other.
        let is_over = left.is_zero() || self.demand.is_there();
        (!is_over).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(200);

    #[test]
    fn a_rest_that_somebody_has_ended_does_not_come_back() {
        let mut pace = Pace::with_rests_of(LONG);
        pace.rest_after(MANY);
        assert!(pace.rests_for().is_some());
        assert!(pace.demand().rises(), "who rests has to be woken");
        pace.rest_after(MANY);
        assert_eq!(pace.rests_for(), None);
    }

    #[test]
    fn it_does_not_rest_while_somebody_waits_however_long_ago_that_began() {
        let mut pace = Pace::with_rests_of(LONG);
        pace.rest_after(MANY);
        let demand = Arc::clone(pace.demand());
        let waits = demand.lasts();
        assert!(waits.wakes, "who rests has to be woken");
        for _ in 0..2 {
            assert_eq!(pace.rests_for(), None);
            pace.rest_after(MANY);
            pace.last_demand = Instant::now().checked_sub(2 * INTEREST);
        }
        assert_eq!(pace.rests_for(), None);
        drop(waits);
        pace.rest_after(MANY);
        assert!(pace.rests_for().is_some());
    }
}
