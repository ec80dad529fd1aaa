//! Which page the projector fetches next: at the front, for the sets with the smallest lag, and behind.
//!
//! **Invariant:** a request begins where a table set stands. The request for the head alone begins at the
//! head or at the front, and brings no event into a table.
//!
//! Read next: `checked_page.rs`, the request and its answer.

use std::collections::BTreeSet;
use std::time::Duration;

use super::checked_page::PageRequest;
use super::feed::MAX_PAGE;
use super::projector::Projector;

impl Projector {
    /// Returns the request for the leading table sets, with a wait at the end of the log of
    /// `patience` at most; for the head alone where no event may be applied. Returns no request when one more
    /// page brings the lagging sets to this position: if the front went on, the two might never meet.
    pub(super) fn wanted_at_front(&self, patience: Duration) -> Option<PageRequest> {
        let (positions, is_paused) = (self.positions(), self.board.is_paused());
        // A head is believed with proof alone, which needs the event at the front, also during a pause.
        let Some(&after) = positions.last().filter(|_| !is_paused || self.is_in_doubt()) else {
            let reached = self.sets.iter().map(|set| set.reached.position).max().unwrap_or(0);
            let after = reached.max(self.board.head().unwrap_or(0));
            // Without a wait during a pause: the lane is free for the rows at the resume.
            let wait = if is_paused { Duration::ZERO } else { patience };
            return Some(PageRequest { after, limit: 1, wait, overlaps: false });
        };
        let overlaps = self.is_in_doubt() && after > 0;
        // With the overlap the feed always has an event, and so never waits.
        let wait = if overlaps { Duration::ZERO } else { patience };
        let is_near = |lowest: u64| lowest < after && after - lowest <= u64::from(MAX_PAGE);
        let is_met = !is_paused && positions.first().is_some_and(|lowest| is_near(*lowest));
        (!is_met).then_some(PageRequest { after, limit: MAX_PAGE, wait, overlaps })
    }

    /// Returns the request for the table set with the largest lag, up to the position of the
    /// next set: the two meet there and go on together. Returns no request during a pause.
    pub(super) fn wanted_behind(&self) -> Option<PageRequest> {
        if self.board.is_paused() {
            return None;
        }
        let positions = self.positions();
        let after = *positions.first()?;
        // Without a second position no set lags: the front serves all.
        let above = positions.range(after + 1..).next()?;
        let limit = u32::try_from(above - after).unwrap_or(MAX_PAGE).min(MAX_PAGE);
        Some(PageRequest { after, limit, wait: Duration::ZERO, overlaps: false })
    }

    /// Returns whether only the head is learnt, because no table set takes events.
    pub(super) fn is_watching_only(&self) -> bool {
        self.board.is_paused() || self.positions().is_empty()
    }

    pub(super) fn positions(&self) -> BTreeSet<u64> {
        let going_on = self.sets.iter().filter(|set| !set.has_stopped());
        going_on.map(|set| set.reached.position).collect()
    }
}
