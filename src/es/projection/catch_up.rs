//! A projector without threads: the caller's thread fetches and applies pages up to a position.
//!
//! **Invariant:** `catch_up` leaves no open transaction.
//!
//! Read next: `follower.rs`, the same with threads.

use std::time::Duration;

use super::feed::Feed;
use super::projector::Projector;
use super::projector_event::CatchUpError;

impl Projector {
    /// Applies all events of `feed` up to position `until` at most, without waiting for more.
    /// Completes running rebuilds on the way.
    ///
    /// # Errors
    /// When the feed fails or a page is rejected, or the database refuses. Pages
    /// applied before are kept. Poison is not an error here; see
    /// [`Projector::status`].
    pub fn catch_up(&mut self, feed: &mut dyn Feed, until: u64) -> Result<(), CatchUpError> {
        let caught_up = self.apply_until(feed, until).inspect_err(|error| {
            self.doubt();
            if matches!(error, CatchUpError::PageRejected(_)) {
                feed.rejected();
            }
        });
        caught_up.and(self.commit())
    }

    fn apply_until(&mut self, feed: &mut dyn Feed, until: u64) -> Result<(), CatchUpError> {
        while self.positions().first().is_some_and(|lowest| *lowest < until) {
            let front = || self.wanted_at_front(Duration::ZERO);
            let Some(mut request) = self.wanted_behind().or_else(front) else { break };
            let left = until.saturating_sub(request.after);
            // A verification stops exactly where the live rows stand.
            request.limit = u32::try_from(left).unwrap_or(u32::MAX).clamp(1, request.limit);
            let page = request.fetch(feed)?;
            self.process(Some((&request, &page)))?;
            let is_at_the_end = page.last_position().is_none_or(|last| last <= request.after);
            // After an empty page, one more request shows that the feed still has the history.
            if is_at_the_end && !self.is_in_doubt() && self.positions().len() == 1 {
                break;
            }
        }
        Ok(())
    }
}
