//! What a program brings to read its history in another shape: projections, each a set of tables and
//! the rule by which an event changes them.
//!
//! A projection never writes its checkpoint and never opens a transaction. The projector does
//! both around it, so rows and checkpoint move together or not at all: after any crash the
//! tables say exactly what the events up to the checkpoint say.
//!
//! **Invariant:** the rows of a projection depend on the events alone.
//!
//! Read next: `projector.rs`.

use std::fmt;

use rusqlite::{Connection, ErrorCode};

use crate::es::{DecodeError, RecordedEvent};

/// Lag, in events, up to which a projection counts as live: a fraction of a second of replay.
pub(super) const LIVE_LAG_EVENTS: u64 = 10_000;

/// One read model: its tables, and how an event changes them.
///
/// Rows may depend on the events and on the projection's own rows alone: no clock, no randomness,
/// no other projection's tables. A replay then gives the same rows again.
///
/// A value of the type may cache in memory (statements as text, rows for the next events).
/// The projector throws the value away and makes another with [`Projection::new`] whenever a transaction
/// fails, so memory may run ahead of the database only until [`Projection::flush`].
pub trait Projection: Send + Sized + 'static {
    /// The name in the checkpoint table and in reports: a lower-case letter, then lower-case letters, digits and
    /// `_`.
    const NAME: &'static str;
    /// The version of the tables and of their meaning. Raise the number when either changes: the projector
    /// then replays the log into new tables beside the old rows, and swaps the two.
    const VERSION: u32;
    /// The oldest version of rows for today's queries. Rows from this version on keep
    /// answering until new rows replace them; older rows do not answer.
    const READABLE_FROM: u32 = Self::VERSION;
    /// The tables, by their live names, which are of the same letters. [`Projection::create`] makes these tables
    /// and no other ones.
    const TABLES: &'static [&'static str];

    /// Makes the projection over the tables called `names`. Does not read yet.
    ///
    /// Every statement of the projection must take its table from [`Names::table`]. A literal name writes into
    /// the live table during a rebuild, and the rebuilt table stays empty.
    fn new(names: &Names) -> Self;

    /// Creates the empty tables and their indexes: tables named by [`Names::table`], indexes by
    /// [`Names::index`], because both exist twice during a rebuild.
    ///
    /// # Errors
    /// When the database refuses.
    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()>;

    /// Applies one event to the rows, or to memory until [`Projection::flush`]. Events come in
    /// order of position, each once.
    ///
    /// # Errors
    /// When the event cannot be applied. The projection stops before this event until the program starts
    /// with a fixed version; the event is never skipped.
    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError>;

    /// Writes the rows still in memory. The projector calls this before every commit.
    ///
    /// # Errors
    /// When the rows cannot be written.
    fn flush(&mut self, _db: &Connection) -> Result<(), ProjectionError> {
        Ok(())
    }
}

/// The names of a projection's tables and indexes: the live names, or the names of a rebuild beside them,
/// renamed at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    suffix: &'static str,
    generation: u64,
}

impl Names {
    pub(in crate::es) const LIVE: &'static str = "";
    pub(super) const NEXT: &'static str = "_next";

    pub(in crate::es) fn new(suffix: &'static str, generation: u64) -> Self {
        Self { suffix, generation }
    }

    pub(super) fn is_live(&self) -> bool {
        self.suffix == Self::LIVE
    }

    /// Returns the names after the swap.
    pub(super) fn live(&self) -> Self {
        Self { suffix: Self::LIVE, ..*self }
    }

    /// Returns the name of the table called `table` when live.
    pub fn table(&self, table: &str) -> String {
        format!("{table}{}", self.suffix)
    }

    /// Returns the name of the index `index`. SQLite cannot rename an index, so each set of tables has
    /// other index names.
    pub fn index(&self, index: &str) -> String {
        format!("{index}_{}", self.generation)
    }
}

/// Why an event could not be applied.
#[derive(Debug)]
pub enum ProjectionError {
    /// This program cannot read the event.
    Decode(DecodeError),
    /// The event cannot follow the rows, for the given reason.
    Impossible(String),
    /// The database refused.
    Storage(rusqlite::Error),
}

impl ProjectionError {
    /// Returns whether the event is to blame, and a retry useless. Otherwise the machine is
    /// (disk full, file locked), and the projector retries.
    pub fn is_poison(&self) -> bool {
        match self {
            Self::Decode(_) | Self::Impossible(_) => true,
            Self::Storage(error) => {
                error.sqlite_error_code().is_none_or(|code| !OF_THE_MACHINE.contains(&code))
            }
        }
    }
}

/// Errors about disk, memory and other processes, not about the statement.
const OF_THE_MACHINE: [ErrorCode; 10] = [
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
];

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

/// A [`Projection`] as a value, for lists of several types.
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
    pub(super) create: fn(&Connection, &Names) -> rusqlite::Result<()>,
    pub(super) new: fn(&Names) -> Box<dyn ErasedProjection>,
}

impl Definition {
    /// Returns the definition of the projection `P`.
    pub fn of<P: Projection>() -> Self {
        Self {
            name: P::NAME,
            version: P::VERSION,
            readable_from: P::READABLE_FROM,
            tables: P::TABLES,
            create: P::create,
            new: |names| Box::new(P::new(names)),
        }
    }
}

/// The part of [`Projection`] to run for every event, without the type.
pub(super) trait ErasedProjection: Send {
    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError>;
    fn flush(&mut self, db: &Connection) -> Result<(), ProjectionError>;
}

impl<P: Projection> ErasedProjection for P {
    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        Projection::apply(self, db, event)
    }

    fn flush(&mut self, db: &Connection) -> Result<(), ProjectionError> {
        Projection::flush(self, db)
    }
}
