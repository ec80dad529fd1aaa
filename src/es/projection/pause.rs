//! Pause and resume: the projector stops applying events, and goes on learning the head, so that the lag shows.
//!
//! A pause holds for all table sets, rebuilds included, and ends at a resume or a restart.
//!
//! **Invariant:** during a pause no row and no checkpoint changes.
//!
//! Read next: `running_projector.rs`, which waits for both.

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
}
