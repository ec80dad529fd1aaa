//! Rebuilds: how one begins beside the live rows, ends in their place, or is given up.
//!
//! In between it is a build like any other, which takes the log from the first event on.
//!
//! **Invariant:** the live rows answer until the new ones are in their place; and a rebuild that was
//! claimed ends, or goes on, whatever the database refuses meanwhile.
//!
//! Read next: `projection_store.rs`, the tables.

use super::{Build, CatchUpError, Checkpoint, NEAR, Notice, Projector, store};

impl Projector {
    /// Begins to rebuild a projection from the first event, beside its live rows.
    ///
    /// # Errors
    /// When the database refuses. The claim has ended then, unless what failed is only the swap: that is
    /// tried again.
    pub(in crate::es) fn begin_rebuild(&mut self, index: usize) -> Result<(), CatchUpError> {
        let definition = self.live[index].definition;
        let begun = self.commit().and_then(|()| Ok(store::begin_next(&mut self.db, &definition)?));
        // Whatever has failed: the claim ends, or nobody could ask again.
        let names = begun.inspect_err(|error| {
            self.published.rebuild_ends(index, Err(error.to_string()));
        })?;
        (self.committed)();
        self.next.push(Build::new(&definition, index, names, Checkpoint::START));
        self.published.rebuild_begins(index, 0);
        (self.notice)(Notice::RebuildBegan { projection: definition.name });
        Ok(self.swap_what_is_complete()?)
    }

    /// A live build that an event has stopped says so; a rebuild is given up.
    pub(super) fn stop_the_poisoned(&mut self) -> rusqlite::Result<()> {
        for build in &self.live {
            if let Some(poison) = &build.poison
                && self.published.stalled(build.index, poison.to_string())
            {
                let error = poison.to_string();
                (self.notice)(Notice::Stalled { projection: build.definition.name, error });
            }
        }
        for build in self.next.extract_if(.., |build| build.poison.is_some()) {
            let error = build.poison.map(|poison| poison.to_string()).unwrap_or_default();
            self.published.rebuild_ends(build.index, Err(format!("the rebuild failed: {error}")));
            (self.notice)(Notice::RebuildFailed { projection: build.definition.name, error });
            store::discard_next(&mut self.db, &build.definition)?;
            (self.committed)();
        }
        Ok(())
    }

    /// Puts rebuilds in place that have come as far as the rows they replace (an answer never
    /// goes back in time) and follow the log.
    pub(super) fn swap_what_is_complete(&mut self) -> rusqlite::Result<()> {
        while let Some(at) = self.next.iter().position(|build| self.is_complete(build)) {
            store::swap(&mut self.db, &self.next[at].definition)?;
            // Only now: one that could not be swapped in is tried again after the next commit.
            let build = self.next.remove(at);
            crash_point!("after-swap");
            (self.committed)();
            let Build { definition, index, names, checkpoint, .. } = build;
            self.live[index] = Build::new(&definition, index, names.live(), checkpoint);
            self.published.rebuild_ends(index, Ok(()));
            self.published.reached(index, checkpoint.position);
            let position = checkpoint.position;
            (self.notice)(Notice::Rebuilt { projection: definition.name, position });
        }
        Ok(())
    }

    fn is_complete(&self, build: &Build) -> bool {
        let position = build.checkpoint.position;
        let is_near = self.published.head().saturating_sub(position) <= NEAR;
        position >= self.live[build.index].checkpoint.position && is_near
    }
}
