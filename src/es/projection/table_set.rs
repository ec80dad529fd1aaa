//! One set of tables that a projection fills, and how far it has come: the live tables, or those
//! that are rebuilt beside them.
//!
//! **Invariant:** `reached` is ahead of `checkpoint` only while a transaction is open, and what
//! [`Rows`] hold in memory ends with it: written at its commit, thrown away at its rollback.

use std::fmt;
use std::ops::RangeInclusive;

use rusqlite::Connection;

use crate::es::projection::checked_page::CheckedPage;
use crate::es::projection::definition::{Definition, Names, ProjectionError, Rows};
use crate::es::projection::read_db::{Checkpoint, Form};

pub(in crate::es) struct Build {
    pub(in crate::es) definition: Definition,
    /// Of its definition.
    pub(in crate::es) index: usize,
    pub(in crate::es) names: Names,
    rows: Box<dyn Rows>,
    /// What is committed.
    pub(in crate::es) checkpoint: Checkpoint,
    /// What the open transaction has taken.
    pub(in crate::es) reached: Checkpoint,
    pub(in crate::es) poison: Option<Poison>,
    /// Whether this build can apply events to its rows.
    form: Form,
}

/// What a build stops before, and why.
pub(in crate::es) struct Poison {
    /// The first event that may be to blame: the build stops before it.
    position: u64,
    /// The last one that may be; mostly the same.
    last: u64,
    error: String,
}

impl Build {
    pub(in crate::es) fn new(
        definition: &Definition,
        index: usize,
        names: Names,
        checkpoint: Checkpoint,
    ) -> Self {
        let (rows, form) = ((definition.over)(&names), Form::Current);
        Self {
            definition: *definition,
            index,
            names,
            rows,
            checkpoint,
            reached: checkpoint,
            poison: None,
            form,
        }
    }

    /// The same rows, which answer as they are when they are outdated.
    pub(in crate::es) fn of_form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// Whether its rows are of this version.
    pub(in crate::es) fn is_current(&self) -> bool {
        self.form == Form::Current
    }

    /// Whether the next event is one that it cannot apply.
    pub(in crate::es) fn has_stopped(&self) -> bool {
        self.form == Form::Outdated
            || self.poison.as_ref().is_some_and(|poison| poison.position <= self.reached.position + 1)
    }

    pub(in crate::es) fn stands_at(&self, position: u64) -> bool {
        !self.has_stopped() && self.reached.position == position
    }

    /// Applies at most `limit` events of the page, and none from the poisonous one on.
    pub(in crate::es) fn run(
        &mut self,
        db: &Connection,
        page: &CheckedPage,
        limit: u32,
    ) -> Result<(), Failure> {
        let stop_before = self.poison.as_ref().map_or(u64::MAX, |poison| poison.position);
        let events = page.events().take(limit as usize);
        for event in events.take_while(|event| event.position < stop_before) {
            let applied = self.rows.apply(db, &event);
            applied.map_err(|error| self.stop(event.position..=event.position, error))?;
            self.reached = Checkpoint::after(&event);
        }
        Ok(())
    }

    /// Writes what is in memory.
    pub(in crate::es) fn flush(&mut self, db: &Connection) -> Result<(), Failure> {
        // Which event's rows cannot be written is not known, so the build stops before them all.
        let taken = self.checkpoint.position + 1..=self.reached.position;
        self.rows.flush(db).map_err(|error| self.stop(taken, error))
    }

    /// Notes that it cannot get past those events, where they are to blame.
    fn stop(&mut self, events: RangeInclusive<u64>, error: ProjectionError) -> Failure {
        let is_poison = error.is_poison();
        match error {
            ProjectionError::Storage(error) if !is_poison => Failure::Database(error),
            other @ (ProjectionError::Decode(_)
            | ProjectionError::Impossible(_)
            | ProjectionError::Storage(_)) => {
                let (position, last) = events.into_inner();
                self.poison = Some(Poison { position, last, error: other.to_string() });
                Failure::Poison
            }
        }
    }

    /// Forgets what was not committed.
    pub(in crate::es) fn go_back(&mut self) {
        self.reached = self.checkpoint;
        self.forget();
    }

    /// Gives back the memory of its rows; between two transactions it needs none.
    pub(in crate::es) fn forget(&mut self) {
        self.rows = (self.definition.over)(&self.names);
    }
}

impl fmt::Display for Poison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, last, error } = self;
        if last > position {
            write!(f, "events {position} to {last} cannot be applied: {error}")
        } else {
            write!(f, "event {position} cannot be applied: {error}")
        }
    }
}

/// Why a transaction is rolled back.
pub(in crate::es) enum Failure {
    /// A build has met events that it cannot get past; it has noted which.
    Poison,
    /// The machine is to blame: disk full, file locked.
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}
