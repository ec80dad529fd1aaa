//! What the projector knows of the end of the log: what the feed said last.
//!
//! **Invariant:** the head is never older than the last doubt. A feed that failed may come back as another
//! log, or as an older state of this one, so what it said before is forgotten.
//!
//! Read next: `status.rs`, which keeps the head for all who ask.

use super::{CatchUpError, CheckedPage, Fill, Projector, store};

impl Projector {
    /// Takes of a page what it says of the end of the log, and no event.
    pub(in crate::es) fn take_head(&mut self, page: &CheckedPage) -> Result<(), CatchUpError> {
        self.check_log(self.furthest(), page)?;
        self.learn_head(page)?;
        self.commit()?;
        self.goes_well();
        Ok(())
    }

    /// Learns where the log ends, and how far rows have to come that are made for the first time: to the
    /// end that the log has when the feed is first met, and no further than it ever has.
    pub(in crate::es) fn learn_head(&mut self, page: &CheckedPage) -> rusqlite::Result<()> {
        self.published.feed_said(page.head, page.asked);
        let Some(head) = self.published.head() else { return Ok(()) };
        for build in &self.live {
            let is_news = match self.published.fill(build.index) {
                Fill::Done => false,
                Fill::Begun => true,
                Fill::Until(until) => head < until,
            };
            if is_news {
                self.published.set_fill(build.index, Fill::Until(head));
                store::keep_fill(&self.db, build.definition.name, Fill::Until(head))?;
            }
        }
        Ok(())
    }

    /// The highest position that any build has reached.
    pub(in crate::es) fn furthest(&self) -> u64 {
        let reached = self.live.iter().chain(&self.next).map(|build| build.reached.position);
        reached.max().unwrap_or(0)
    }
}
