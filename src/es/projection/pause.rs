//! Pause and resume: the projector stops applying events, and goes on learning the head, so that the lag shows.
//!
//! A pause holds for all table sets, rebuilds included, and ends at a resume or a restart.
//!
//! **Invariant:** during a pause no row and no checkpoint changes.
//!
//! Read next: `running_projector.rs`, which waits for both.

use super::checked_page::{CheckedPage, PageRequest};
use super::continuity;
use super::projector::Projector;
use super::projector_event::{CatchUpError, ProjectorEvent};
use super::status::Changed;

impl Projector {
    /// Commits the applied pages, and pauses, also where the commit fails.
    ///
    /// # Errors
    /// When the database refuses the commit. The events are applied again after the resume.
    pub(super) fn pause(&mut self) -> Result<(), CatchUpError> {
        let committed = self.commit();
        if self.board.pause() == Changed::Yes {
            (self.on_event)(ProjectorEvent::Paused);
        }
        committed
    }

    pub(super) fn resume(&mut self) {
        if self.board.resume() == Changed::Yes {
            (self.on_event)(ProjectorEvent::Resumed);
        }
    }

    /// Learns the head from a page that arrives during a pause, and applies no event of the page.
    ///
    /// # Errors
    /// When the page is rejected, or the database refuses.
    pub(super) fn watch_head(
        &mut self,
        request: &PageRequest,
        page: &CheckedPage,
    ) -> Result<(), CatchUpError> {
        let front = self.positions().last().copied();
        // A page for lagging sets was requested before the pause: its head may be old.
        if front.is_some_and(|front| request.after < front) {
            return Ok(());
        }
        let standing = self.sets.iter().filter(|set| set.stands_at(request.after));
        let continuity = continuity::check(request, page, self.log_id, standing)?;
        // Beyond the front no event was applied, so a page there proves nothing.
        if front.is_none_or(|front| request.after == front) {
            self.continuity = continuity;
        }
        self.learn_head(page.head)?;
        Ok(self.publish()?)
    }
}
