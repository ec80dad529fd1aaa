//! Rebuilds: each begins beside the live rows, and replaces them or is given up.
//!
//! In between, a rebuild is a table set like any other, which applies the log from the first event on.
//!
//! **Invariant:** the live rows answer until the new rows have replaced them; and a claimed
//! rebuild ends or goes on, also when the database refuses.
//!
//! Read next: `read_db.rs`, the tables; `reserve.rs`.

use std::io;

use rusqlite::ErrorCode;

use super::definition::LIVE_LAG_EVENTS;
use super::projector::{Projector, is_full};
use super::projector_event::{CatchUpError, ProjectorEvent};
use super::read_db::{self, Checkpoint, Form};
use super::reserve::Reserve;
use super::status::{Changed, RebuildOutcome};
use super::table_set::TableSet;

impl Projector {
    /// Begins to rebuild a projection from the first event, beside its live rows.
    ///
    /// # Errors
    /// When the database refuses. The claim has ended then, unless only the swap has failed, which is
    /// retried.
    pub(super) fn begin_rebuild(&mut self, index: usize) -> Result<(), CatchUpError> {
        let Some(definition) = self.live(index).map(|live| live.definition) else { return Ok(()) };
        let projection = definition.name;
        // Before the first table: a disk too full now would be full in the middle of the rebuild.
        if let Err(error) = self.set_space_aside() {
            let error = no_space(&error);
            self.board.end_rebuild(index, RebuildOutcome::Failed(error.clone()));
            (self.on_event)(ProjectorEvent::RebuildFailed { projection, error });
            return Ok(());
        }
        // The open transaction belongs to other sets, and new tables need a transaction of their own.
        let begun = self.commit().and_then(|()| {
            let created = self.commit_with_hook(|db| read_db::create_next(db, &definition));
            Ok(created?)
        });
        // The claim ends in any case, or no later request could begin a rebuild.
        let names = begun.inspect_err(|error| {
            self.board.end_rebuild(index, RebuildOutcome::Failed(error.to_string()));
        })?;
        self.sets.push(TableSet::new(&definition, index, names, Checkpoint::START, Form::Current));
        self.board.begin_rebuild(index, 0);
        (self.on_event)(ProjectorEvent::RebuildBegan { projection });
        self.settle_rebuilds()
    }

    /// Cancels a rebuild. The rebuild has ended also when this fails.
    ///
    /// # Errors
    /// When the database refuses to commit or to drop the tables; the next commit retries.
    pub(super) fn cancel_rebuild(&mut self, index: usize) -> Result<(), CatchUpError> {
        let committed = self.commit();
        // Also after a failed commit: the caller waits for the end, and a later commit drops the tables.
        if let Some(at) = self.sets.iter().position(|set| set.index == index && !set.is_live()) {
            self.give_up(at, RebuildOutcome::Cancelled);
        }
        committed?;
        Ok(self.drop_leftovers()?)
    }

    /// Gives all rebuilds up, to free space for the live rows.
    ///
    /// # Errors
    /// When the database refuses to drop the tables; the next commit retries.
    pub(super) fn give_up_rebuilds(&mut self, error: &str) -> Result<(), CatchUpError> {
        // First: dropping the tables needs the reserved space.
        self.reserve = None;
        while let Some(at) = self.sets.iter().position(|set| !set.is_live()) {
            self.give_up(at, RebuildOutcome::Failed(error.to_owned()));
        }
        Ok(self.drop_leftovers()?)
    }

    /// Swaps complete rebuilds in, and gives poisoned ones up; called between transactions.
    pub(super) fn settle_rebuilds(&mut self) -> Result<(), CatchUpError> {
        self.report_poison();
        if self.has_rebuilds()
            && let Err(error) = self.set_space_aside()
        {
            return self.give_up_rebuilds(&no_space(&error));
        }
        while let Some(at) = self.sets.iter().position(|set| self.is_complete(set)) {
            match self.swap_rebuild_in(at) {
                Ok(()) => {}
                // A retry would fail as well. On a full disk, the live rows need the space.
                Err(error) if is_full(&error) || is_statement_wrong(&error) => {
                    return self.give_up_rebuilds(&error.to_string());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.drop_leftovers()?)
    }

    /// Swaps a complete rebuild in: the new rows replace the live ones in one transaction.
    fn swap_rebuild_in(&mut self, at: usize) -> rusqlite::Result<()> {
        let definition = self.sets[at].definition;
        self.commit_with_hook(|db| read_db::swap(db, &definition))?;
        crash_point!("after-swap");
        // Only now: a failed swap is retried after the next commit.
        let TableSet { index, names, checkpoint, .. } = self.sets.remove(at);
        self.sets.retain(|outdated| outdated.index != index);
        self.sets.push(TableSet::new(&definition, index, names.live(), checkpoint, Form::Current));
        self.board.end_rebuild(index, RebuildOutcome::SwappedIn);
        let (projection, position) = (definition.name, checkpoint.position);
        (self.on_event)(ProjectorEvent::Rebuilt { projection, position });
        self.publish()
    }

    /// Returns whether a rebuild can be swapped in. An answer never goes back in time: the new rows have come as
    /// far as the live ones.
    fn is_complete(&self, set: &TableSet) -> bool {
        let position = set.checkpoint.position;
        // While the head is unknown, the live rows are the known end of the log.
        let is_near = self.board.head().is_none_or(|head| head.saturating_sub(position) <= LIVE_LAG_EVENTS);
        let has_caught_up = |live: &TableSet| position >= live.checkpoint.position;
        !set.is_live() && is_near && self.live(set.index).is_none_or(has_caught_up)
    }

    /// Reports poisoned live rows, and gives up poisoned rebuilds.
    fn report_poison(&mut self) {
        // From the last on, so that a removal does not shift the indexes of the others.
        let poisoned = self.sets.iter().enumerate().rev();
        let poisoned = poisoned.filter_map(|(at, set)| Some((at, set.poison.as_ref()?.error.clone())));
        for (at, error) in poisoned.collect::<Vec<_>>() {
            let (index, projection) = (self.sets[at].index, self.sets[at].definition.name);
            if !self.sets[at].is_live() {
                self.give_up(at, RebuildOutcome::Failed(error));
            } else if self.board.record_stall(index, &error) == Changed::Yes {
                (self.on_event)(ProjectorEvent::Stalled { projection, error });
            }
        }
    }

    /// Ends a rebuild without a swap.
    fn give_up(&mut self, at: usize, outcome: RebuildOutcome) {
        let TableSet { definition, index, .. } = self.sets.remove(at);
        self.leftover.push(definition);
        let projection = definition.name;
        let event = match &outcome {
            RebuildOutcome::Failed(error) => {
                ProjectorEvent::RebuildFailed { projection, error: error.clone() }
            }
            RebuildOutcome::Cancelled | RebuildOutcome::SwappedIn => {
                ProjectorEvent::RebuildCancelled { projection }
            }
        };
        self.board.end_rebuild(index, outcome);
        if self.live(index).is_some_and(|live| live.form == Form::Outdated) {
            let error = "its rows are of an older version, and the rebuild that was to replace them was given \
                         up: rebuild the projection";
            self.board.record_stall(index, error);
        }
        (self.on_event)(event);
    }

    /// Drops the tables of abandoned rebuilds. The write-ahead log of a full disk is
    /// flushed into the database and cut back.
    fn drop_leftovers(&mut self) -> rusqlite::Result<()> {
        while let Some(definition) = self.leftover.last() {
            let definition = *definition;
            // The hook ends snapshots, which would keep SQLite from cutting the write-ahead log back.
            self.commit_with_hook(|db| read_db::drop_next(db, &definition))?;
            self.leftover.pop();
            read_db::truncate_wal(&self.db)?;
        }
        if !self.has_rebuilds() {
            self.reserve = None;
        }
        Ok(())
    }

    /// Sets space aside for the end of the rebuilds, as much as they need by now.
    fn set_space_aside(&mut self) -> io::Result<()> {
        match &mut self.reserve {
            Some(reserve) => reserve.grow_with(&self.file),
            None => Reserve::beside(&self.file).map(|reserve| self.reserve = Some(reserve)),
        }
    }

    pub(super) fn has_rebuilds(&self) -> bool {
        self.sets.iter().any(|set| !set.is_live())
    }

    fn live(&self, index: usize) -> Option<&TableSet> {
        self.sets.iter().find(|set| set.index == index && set.is_live())
    }
}

/// Returns whether the tables are to blame, such as a table that another program has dropped.
fn is_statement_wrong(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::Unknown)
}

fn no_space(error: &io::Error) -> String {
    format!("the disk has too little space for a rebuild: {error}")
}
