//! Rebuilds: how one begins beside the live rows, ends in their place, or is given up.
//!
//! In between it is a build like any other, which takes the log from the first event on.
//!
//! **Invariant:** the live rows answer until the new ones are in their place; and a rebuild that was
//! claimed ends, or goes on, whatever the database refuses meanwhile.
//!
//! Read next: `read_db.rs`, the tables.

use super::reserve::Reserve;
use super::{Build, CatchUpError, Checkpoint, NEAR, Notice, Projector, is_full, store};

const GIVEN_UP: &str = "the rebuild was given up";

pub(in crate::es) const NO_SPACE: &str = "the disk has too little space for a rebuild";

impl Projector {
    /// Begins to rebuild a projection from the first event, beside its live rows.
    ///
    /// # Errors
    /// When the database refuses. The claim has ended then, unless what failed is only the swap: that is
    /// tried again.
    pub(in crate::es) fn begin_rebuild(&mut self, index: usize) -> Result<(), CatchUpError> {
        let definition = self.live[index].definition;
        if let Err(error) = self.set_space_aside() {
            let error = format!("{NO_SPACE}: {error}");
            self.published.rebuild_ends(index, Err(format!("{GIVEN_UP}: {error}")));
            (self.notice)(Notice::RebuildFailed { projection: definition.name, error });
            return Ok(());
        }
        let begun = self.commit().and_then(|()| Ok(store::begin_next(&mut self.db, &definition)?));
        // Whatever has failed: the claim ends, or nobody could ask again.
        let names = begun.inspect_err(|error| {
            self.published.rebuild_ends(index, Err(error.to_string()));
        })?;
        (self.committed)();
        self.next.push(Build::new(&definition, index, names, Checkpoint::START));
        self.published.rebuild_begins(index, 0);
        (self.notice)(Notice::RebuildBegan { projection: definition.name });
        self.swap_what_is_complete()
    }

    /// A live build that an event has stopped says so; a rebuild is given up.
    pub(in crate::es) fn stop_the_poisoned(&mut self) -> rusqlite::Result<()> {
        for build in &self.live {
            if let Some(poison) = &build.poison
                && self.published.stalled(build.index, poison.to_string())
            {
                let error = poison.to_string();
                (self.notice)(Notice::Stalled { projection: build.definition.name, error });
            }
        }
        let poisoned: Vec<_> = self
            .next
            .iter()
            .filter_map(|build| Some((build.index, build.poison.as_ref()?.to_string())))
            .collect();
        for (index, error) in poisoned {
            self.give_up(index, Some(&error));
        }
        self.drop_leftovers()
    }

    /// Gives all rebuilds up, so that their space serves the rows that answer.
    ///
    /// # Errors
    /// When the database refuses to drop their tables; the next commit tries again.
    pub(in crate::es) fn give_up_rebuilds(&mut self, error: &str) -> Result<(), CatchUpError> {
        self.reserve = None;
        while let Some(build) = self.next.first() {
            self.give_up(build.index, Some(error));
        }
        Ok(self.drop_leftovers()?)
    }

    /// Gives a rebuild up because an operator wants that.
    ///
    /// # Errors
    /// As [`Projector::give_up_rebuilds`].
    pub(in crate::es) fn cancel_rebuild(&mut self, index: usize) -> Result<(), CatchUpError> {
        self.commit()?;
        self.give_up(index, None);
        Ok(self.drop_leftovers()?)
    }

    /// Sets space aside for the end of the rebuilds, as much as they need by now.
    pub(in crate::es) fn set_space_aside(&mut self) -> std::io::Result<()> {
        match &mut self.reserve {
            Some(reserve) => reserve.grow_with(&self.file),
            None => Reserve::beside(&self.file).map(|reserve| self.reserve = Some(reserve)),
        }
    }

    /// Ends a rebuild without its rows; `error` says why, where nobody asked for that.
    fn give_up(&mut self, index: usize, error: Option<&str>) {
        let Some(at) = self.next.iter().position(|build| build.index == index) else { return };
        let definition = self.next.remove(at).definition;
        self.leftover.push(definition);
        let projection = definition.name;
        let reason = error.map_or(Ok(()), |error| Err(format!("{GIVEN_UP}: {error}")));
        let was_wanted = reason.is_ok();
        self.published.rebuild_ends(index, reason);
        if !self.live[index].is_current() {
            let error =
                "its rows are of an older version, and the rebuild that was to replace them was given up";
            self.published.stalled(index, format!("{error}: rebuild the projection"));
        }
        let error = error.unwrap_or("it was not wanted any more").to_owned();
        if was_wanted {
            (self.notice)(Notice::RebuildCancelled { projection });
        } else {
            (self.notice)(Notice::RebuildFailed { projection, error });
        }
    }

    /// Drops the tables of rebuilds that were given up. What a full disk has left in the write-ahead log
    /// is moved into the database, and its space given back.
    pub(in crate::es) fn drop_leftovers(&mut self) -> rusqlite::Result<()> {
        while let Some(definition) = self.leftover.last() {
            (self.committed)();
            store::discard_next(&mut self.db, definition)?;
            self.leftover.pop();
            (self.committed)();
            store::shorten_wal(&self.db)?;
        }
        if self.next.is_empty() {
            self.reserve = None;
        }
        Ok(())
    }

    /// Puts rebuilds in place that have come as far as the rows they replace (an answer never
    /// goes back in time) and follow the log.
    pub(in crate::es) fn swap_what_is_complete(&mut self) -> Result<(), CatchUpError> {
        while let Some(at) = self.next.iter().position(|build| self.is_complete(build)) {
            match store::swap(&mut self.db, &self.next[at].definition) {
                Ok(()) => {}
                Err(full) if is_full(&full) => return self.give_up_rebuilds(&full.to_string()),
                Err(error) => return Err(error.into()),
            }
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
        if self.next.is_empty() {
            self.reserve = None;
        }
        Ok(())
    }

    fn is_complete(&self, build: &Build) -> bool {
        let position = build.checkpoint.position;
        // While the head is not known, the live rows are what is known of the log.
        let is_near = self.published.head().is_none_or(|head| head.saturating_sub(position) <= NEAR);
        position >= self.live[build.index].checkpoint.position && is_near
    }
}
