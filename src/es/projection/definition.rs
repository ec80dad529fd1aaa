//! What a program brings to read its history in another shape: projections, each a set of tables and
//! how an event changes them.
//!
//! A projection never writes its checkpoint and never opens a transaction. The projector does
//! both around it, so that rows and checkpoint move together or not at all: after any crash the
//! tables say exactly what the events up to the checkpoint say.
//!
//! Read next: `projector.rs`, the loop that drives projections.

use std::fmt;

use rusqlite::{Connection, ErrorCode};

use crate::es::{DecodeError, RecordedEvent};

/// Rows that are so many events from the end of the log, or nearer, follow it: a fraction of a
/// second.
pub(in crate::es) const NEAR: u64 = 10_000;

/// One read model: its tables, and how an event changes them.
///
/// What it writes may depend on the events and on its own rows alone: no clock, no randomness,
/// no other projection's tables. A replay then gives the same rows again.
///
/// A value of the type holds what it likes in memory (statements as text, rows that it will
/// need again). It is thrown away and made anew with [`Projection::over`] whenever a transaction
/// fails, so memory may run ahead of the database only until [`Projection::flush`].
pub trait Projection: Send + Sized + 'static {
    /// Its name in the checkpoint table and for people: lower-case letters and digits.
    const NAME: &'static str;
    /// Raise it when the tables or their meaning change: rows of another version are replaced by new ones,
    /// which are built from the first event beside them.
    const VERSION: u32;
    /// The oldest version whose rows today's queries can still read. Such rows go on answering, as they
    /// are, until the new ones replace them; older rows answer nothing.
    const READABLE_FROM: u32 = Self::VERSION;
    /// Its tables, by their live names.
    const TABLES: &'static [&'static str];

    /// The projection over the tables that `names` gives. Nothing is read yet.
    fn over(names: &Names) -> Self;

    /// Creates the empty tables and their indexes.
    ///
    /// # Errors
    /// When the database refuses.
    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()>;

    /// Takes one event into the rows, or into memory until [`Projection::flush`]. Events come in
    /// order of position, each once.
    ///
    /// # Errors
    /// When the event cannot be applied. The projection stops before this event until a build
    /// starts that can apply it; it is never skipped.
    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError>;

    /// Writes what is still in memory; called before every commit.
    ///
    /// # Errors
    /// When the rows cannot be written.
    fn flush(&mut self, _db: &Connection) -> Result<(), ProjectionError> {
        Ok(())
    }
}

/// The names under which a projection's tables and indexes exist: those of the live ones, or of
/// those that are built beside them and renamed when they are complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    suffix: &'static str,
    generation: u64,
}

impl Names {
    pub(in crate::es) const LIVE: &'static str = "";
    pub(in crate::es) const NEXT: &'static str = "_next";

    pub(in crate::es) fn new(suffix: &'static str, generation: u64) -> Self {
        Self { suffix, generation }
    }

    pub(in crate::es) fn suffix(&self) -> &'static str {
        self.suffix
    }

    /// The names after the swap.
    pub(in crate::es) fn live(self) -> Self {
        Self { suffix: Self::LIVE, ..self }
    }

    /// The table that is called `table` when it is live.
    pub fn table(&self, table: &str) -> String {
        format!("{table}{}", self.suffix)
    }

    /// An index called `index`. SQLite cannot rename an index, so each build has names of its own.
    pub fn index(&self, index: &str) -> String {
        format!("{index}_{}", self.generation)
    }
}

/// Why an event could not be applied.
#[derive(Debug)]
pub enum ProjectionError {
    /// This build cannot read the event.
    Decode(DecodeError),
    /// The event cannot follow the rows that are there, for the reason given.
    Impossible(String),
    /// The database refused.
    Storage(rusqlite::Error),
}

impl ProjectionError {
    /// Whether the event is to blame, so that trying again is useless; otherwise the machine is
    /// (disk full, file locked), and it is tried again.
    pub fn is_poison(&self) -> bool {
        match self {
            Self::Decode(_) | Self::Impossible(_) => true,
            Self::Storage(error) => !is_of_the_machine(error),
        }
    }
}

/// Errors that say nothing about the statement, only about disk, memory and neighbours.
fn is_of_the_machine(error: &rusqlite::Error) -> bool {
    [
        ErrorCode::DiskFull,
        ErrorCode::SystemIoFailure,
        ErrorCode::DatabaseBusy,
        ErrorCode::DatabaseLocked,
        ErrorCode::CannotOpen,
        ErrorCode::ReadOnly,
        ErrorCode::DatabaseCorrupt,
        ErrorCode::NotADatabase,
        ErrorCode::OutOfMemory,
        ErrorCode::PermissionDenied,
    ]
    .iter()
    .any(|code| error.sqlite_error_code() == Some(*code))
}

impl From<DecodeError> for ProjectionError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<rusqlite::Error> for ProjectionError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error)
    }
}

impl fmt::Display for ProjectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => error.fmt(f),
            Self::Impossible(reason) => f.write_str(reason),
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ProjectionError {}

/// A [`Projection`] as a value, so that a list can hold several types of them.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// [`Projection::NAME`].
    pub name: &'static str,
    /// [`Projection::VERSION`].
    pub version: u32,
    /// [`Projection::READABLE_FROM`].
    pub readable_from: u32,
    /// [`Projection::TABLES`].
    pub tables: &'static [&'static str],
    pub(in crate::es) create: fn(&Connection, &Names) -> rusqlite::Result<()>,
    pub(in crate::es) over: fn(&Names) -> Box<dyn Rows>,
}

impl Definition {
    /// The definition that `P` is.
    pub fn of<P: Projection>() -> Self {
        Self {
            name: P::NAME,
            version: P::VERSION,
            readable_from: P::READABLE_FROM,
            tables: P::TABLES,
            create: P::create,
            over: |names| Box::new(P::over(names)),
        }
    }
}

/// The part of [`Projection`] that runs for every event, without the type.
pub(in crate::es) trait Rows: Send {
    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError>;
    fn flush(&mut self, db: &Connection) -> Result<(), ProjectionError>;
}

impl<P: Projection> Rows for P {
    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        Projection::apply(self, db, event)
    }

    fn flush(&mut self, db: &Connection) -> Result<(), ProjectionError> {
        Projection::flush(self, db)
    }
}
