//! One set of tables of a projection, and its checkpoint: the live tables, or a rebuild beside them.
//!
//! **Invariant:** `reached` is ahead of `checkpoint` only while a transaction is open. Rows in the
//! memory of an [`ErasedProjection`] end with the transaction: written before the commit, thrown away
//! at the rollback.
//!
//! Read next: `read_db.rs`.

use std::ops::RangeInclusive;

use rusqlite::Connection;

use super::checked_page::CheckedPage;
use super::definition::{Definition, ErasedProjection, Names, ProjectionError};
use super::projector_event::CatchUpError;
use super::read_db::{Checkpoint, Form};

pub(super) struct TableSet {
    pub(super) definition: Definition,
    /// The index of the definition.
    pub(super) index: usize,
    pub(super) names: Names,
    rows: Box<dyn ErasedProjection>,
    /// The last event in committed rows.
    pub(super) checkpoint: Checkpoint,
    /// The last event applied in the open transaction.
    pub(super) reached: Checkpoint,
    pub(super) poison: Option<Poison>,
    pub(super) form: Form,
}

/// Events with an error in [`ErasedProjection::apply`].
pub(super) struct Poison {
    /// The first event to blame. The table set stops before this position.
    first: u64,
    pub(super) error: String,
}

/// Why a transaction is rolled back.
pub(super) enum Failure {
    /// A table set has met poison, and has noted the events.
    Poison,
    Other(CatchUpError),
}

impl<E: Into<CatchUpError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl TableSet {
    pub(super) fn new(
        definition: &Definition,
        index: usize,
        names: Names,
        checkpoint: Checkpoint,
        form: Form,
    ) -> Self {
        let (definition, rows, reached) = (*definition, (definition.new)(&names), checkpoint);
        Self { definition, index, names, rows, checkpoint, reached, poison: None, form }
    }

    pub(super) fn is_live(&self) -> bool {
        self.names.is_live()
    }

    pub(super) fn has_stopped(&self) -> bool {
        let next = self.reached.position + 1;
        self.form == Form::Outdated || self.poison.as_ref().is_some_and(|poison| poison.first <= next)
    }

    pub(super) fn stands_at(&self, position: u64) -> bool {
        !self.has_stopped() && self.reached.position == position
    }

    /// Applies at most `limit` new events of the page, up to known poison.
    pub(super) fn apply(&mut self, db: &Connection, page: &CheckedPage, limit: u32) -> Result<(), Failure> {
        let stop_before = self.poison.as_ref().map_or(u64::MAX, |poison| poison.first);
        let after = self.reached.position;
        // An overlapping page begins with the last event applied.
        let events = page.events().skip_while(|event| event.position <= after).take(limit as usize);
        for event in events.take_while(|event| event.position < stop_before) {
            let applied = self.rows.apply(db, &event);
            applied.map_err(|error| self.stop(event.position..=event.position, error))?;
            // Only now: at an error the set still stands before the event.
            self.reached = Checkpoint::after(&event);
        }
        Ok(())
    }

    /// Writes the rows in memory.
    pub(super) fn flush(&mut self, db: &Connection) -> Result<(), Failure> {
        // The bad row may come from any of these events, so the set stops before all.
        let suspects = self.checkpoint.position + 1..=self.reached.position;
        self.rows.flush(db).map_err(|error| self.stop(suspects, error))
    }

    /// Notes the events as poison where they are to blame for the error, and not the machine.
    fn stop(&mut self, events: RangeInclusive<u64>, error: ProjectionError) -> Failure {
        let is_poison = error.is_poison();
        match error {
            ProjectionError::Storage(error) if !is_poison => error.into(),
            error @ (ProjectionError::Decode(_)
            | ProjectionError::Impossible(_)
            | ProjectionError::Storage(_)) => {
                let (first, last) = events.into_inner();
                let which =
                    if last > first { format!("events {first} to {last}") } else { format!("event {first}") };
                self.poison = Some(Poison { first, error: format!("{which} cannot be applied: {error}") });
                Failure::Poison
            }
        }
    }

    /// Goes back to the committed rows.
    pub(super) fn roll_back(&mut self) {
        self.reached = self.checkpoint;
        // Rows in memory may be ahead of the database.
        self.forget_rows();
    }

    /// Forgets the rows in memory, which the projection then reads again from the database.
    pub(super) fn forget_rows(&mut self) {
        self.rows = (self.definition.new)(&self.names);
    }
}
