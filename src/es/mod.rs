//! Event sourcing, without services: the part of this crate that another program embeds.
//!
//! ```toml
//! [dependencies]
//! tally = { path = "../tally", default-features = false }
//! ```
//!
//! A program brings an [`Aggregate`] (what can happen, and the rules) and any number of
//! [`Projection`]s (tables that show what happened). This page grows one such program: the door of a
//! workshop, with a badge reader.
//!
//! # 1. The aggregate: what can happen, and who says no
//!
//! First the events, in the past tense, and the JSON that they are stored as; then the state; then the
//! two functions that are all of event sourcing. The code is `examples/es/door.rs`:
//!
#![doc = concat!("```\n", include_str!("../../examples/es/door.rs"), "```\n")]
//! Neither a database nor a clock is needed to test rules like these:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let history = [DoorEvent::Opened(Opened { badge: "ada".into() }), DoorEvent::Closed(Closed {})];
//! let door = history.iter().fold(Door::default(), Door::evolve);
//! assert_eq!(door.decide(&DoorCommand::Close), Err(Rejection::ClosedAlready));
//! # Ok(())
//! # }
//! ```
//!
//! # 2. Record: a log, and commands on it
//!
//! An [`EventLog`] is a database with a log in it, shared by all who read. The [`Executor`] is its one
//! writer: it loads the history of a stream, has the aggregate decide, and answers with a [`Receipt`]
//! when the events are on disk. Share it between threads; the commands of many callers share a sync.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = std::env::temp_dir().join(format!("tally-es-record-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! # let path = directory.join("doors.sqlite3");
//! use tally::es::{Context, EventLog, ExecuteError, Executor, SqliteDatabase};
//!
//! let log = EventLog::open(SqliteDatabase::open(&path)?)?;
//! let doors = Executor::start(log.clone(), |_commit| ())?;
//!
//! let front = uuid::Uuid::now_v7();
//! let open = || DoorCommand::Open { badge: "ada".into() };
//! let receipt = *doors.execute::<Door>(front, open(), Context::default())?.receipt();
//! assert_eq!((receipt.stream_id, receipt.version, receipt.position), (front, 1, 1));
//!
//! let refused = doors.execute::<Door>(front, open(), Context::default());
//! assert_eq!(refused, Err(ExecuteError::Rejected(Rejection::OpenAlready)));
//! # drop((doors, log));
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Context`] can carry an idempotency key (the same command, sent twice, is carried out once) and
//! where the command comes from.
//!
//! # 3. Several kinds: one log, one transaction
//!
//! A log takes any number of kinds of aggregates; a command names its kind. [`Executor::transact`] runs a
//! decision over several streams, of several kinds, and records all of it or nothing. Here a door opens
//! only for a badge that is valid (`examples/es/badge.rs`), and the badge's own history notes the use.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/badge.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = std::env::temp_dir().join(format!("tally-es-kinds-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! # let path = directory.join("doors.sqlite3");
//! # use tally::es::{Context, EventLog, ExecuteError, Executor, SqliteDatabase};
//! # let log = EventLog::open(SqliteDatabase::open(&path)?)?;
//! # let workshop = Executor::start(log.clone(), |_| ())?;
//! #[derive(Debug, PartialEq)]
//! enum Refused {
//!     Badge(NotValid),
//!     Door(Rejection),
//! }
//!
//! let (badge, door) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
//! workshop.execute::<Badge>(badge, BadgeCommand::Issue { holder: "Ada".into() }, Context::default())?;
//!
//! let enter = || {
//!     workshop.transact(Context::default(), move |work| {
//!         work.execute::<Badge>(badge, &BadgeCommand::Use).map_err(|error| error.map_rejection(Refused::Badge))?;
//!         let open = DoorCommand::Open { badge: badge.to_string() };
//!         work.execute::<Door>(door, &open).map_err(|error| error.map_rejection(Refused::Door))?;
//!         Ok(door)
//!     })
//! };
//! assert_eq!(enter()?.receipt().position, 3);
//! assert_eq!(enter(), Err(ExecuteError::Rejected(Refused::Door(Rejection::OpenAlready))));
//! assert_eq!(log.head().value(), 3, "and the use of the badge is not recorded either");
//!
//! workshop.execute::<Badge>(badge, BadgeCommand::Revoke, Context::default())?;
//! assert_eq!(enter(), Err(ExecuteError::Rejected(Refused::Badge(NotValid))));
//! # drop((workshop, log));
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok(())
//! # }
//! ```
//!
//! # 4. Replay: the state is the fold of the history
//!
//! The executor does this for each command, from the state that it kept or from a snapshot. Nothing keeps
//! anybody else from doing it.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = std::env::temp_dir().join(format!("tally-es-replay-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! # let path = directory.join("doors.sqlite3");
//! # use tally::es::{Context, EventLog, Executor, SqliteDatabase};
//! # let log = EventLog::open(SqliteDatabase::open(&path)?)?;
//! # let doors = Executor::start(log.clone(), |_| ())?;
//! # let front = uuid::Uuid::now_v7();
//! # doors.execute::<Door>(front, DoorCommand::Open { badge: "ada".into() }, Context::default())?;
//! use tally::es::decode;
//!
//! let page = log.stream_page(front, 0, 1000)?.expect("the door has a history");
//! let mut door = Door::default();
//! for event in page.content()?.events {
//!     door = door.evolve(&decode(&event)?);
//! }
//! assert_eq!(door, Door::Open);
//! # drop((doors, log));
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok(())
//! # }
//! ```
//!
//! [`decode`] reads events of every form that was ever stored: when a form changes, add an [`Upcaster`].
//!
//! # 5. Project: the same history as tables
//!
//! Who opens the doors, and how often? The log knows, but slowly. A [`Projection`] keeps the answer in
//! tables, in a database of its own. It says how an event changes its rows (`examples/es/openings.rs`):
//!
// The block compiles with the door of step 1, which is not shown again.
#![doc = concat!(
    "```\n# include!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/examples/es/door.rs\"));\n# fn main() {}\n",
    include_str!("../../examples/es/openings.rs"),
    "```\n"
)]
//! The [`Projector`] reads the feed, opens the transactions, and moves rows and checkpoint together:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/openings.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = std::env::temp_dir().join(format!("tally-es-project-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! # let path = directory.join("doors.sqlite3");
//! # use tally::es::{Context, EventLog, Executor, SqliteDatabase};
//! # let log = EventLog::open(SqliteDatabase::open(&path)?)?;
//! # let doors = Executor::start(log.clone(), |_| ())?;
//! # let open = DoorCommand::Open { badge: "ada".into() };
//! # let receipt = *doors.execute::<Door>(uuid::Uuid::now_v7(), open, Context::default())?.receipt();
//! # let path = directory.join("openings.sqlite3");
//! use std::time::Duration;
//! use tally::es::{Definition, Projector};
//!
//! let projector = Projector::open(&path, &[Definition::of::<Openings>()])?;
//! let running = projector.start(log.clone(), Duration::from_secs(5))?;
//!
//! // Read your own writes: wait until the rows have reached the receipt's position.
//! let position = running.watch("openings").expect("it is one of the projections");
//! assert!(position.wait_for(receipt.position, Duration::from_secs(60)) >= receipt.position);
//!
//! let rows = Connection::open(&path)?;
//! let times: u64 = rows.query_row("SELECT times FROM openings WHERE badge = 'ada'", [], |row| row.get(0))?;
//! assert_eq!(times, 1);
//! # drop((rows, running, doors, log));
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok(())
//! # }
//! ```
//!
//! The feed can be in the same process, as here, or far away: [`Feed`] is one function. A program that
//! wants no threads calls [`Projector::catch_up`] instead of [`Projector::start`].
//!
//! # 6. Rebuild: change your mind about the past
//!
//! Read models are disposable. [`RunningProjector::rebuild`] builds the tables anew beside the live ones,
//! which go on answering, and swaps them in one transaction. A projection whose
//! [`VERSION`](Projection::VERSION) was raised is replayed at the next start.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/openings.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = std::env::temp_dir().join(format!("tally-es-rebuild-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! # let path = directory.join("doors.sqlite3");
//! # use tally::es::{Context, EventLog, Executor, SqliteDatabase};
//! # let log = EventLog::open(SqliteDatabase::open(&path)?)?;
//! # let doors = Executor::start(log.clone(), |_| ())?;
//! # doors.execute::<Door>(uuid::Uuid::now_v7(), DoorCommand::Open { badge: "ada".into() }, Context::default())?;
//! # let path = directory.join("openings.sqlite3");
//! # use std::time::Duration;
//! # use tally::es::{Definition, Projector};
//! # let projector = Projector::open(&path, &[Definition::of::<Openings>()])?;
//! let running = projector.start(log.clone(), Duration::from_secs(5))?;
//! running.rebuild_and_wait("openings", Duration::from_secs(60))?;
//! # drop((running, doors, log));
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - An event is appended at the end or not at all, and never changed: [`SCHEMA`] refuses anything else,
//!   from any client.
//! - Positions count from 1 without gaps, in commit order: who remembers the last one misses nothing.
//! - A receipt is given when its events are on disk, and never before.
//! - Rows and checkpoint move in one transaction: an event is taken once, and never skipped.
//! - Loading a stream costs the same however long it is.
//!
//! ARCHITECTURE.md names the test that holds each.
//!
//! Not here, on purpose: async, HTTP, a message broker, sagas, a log with several writers. A log on
//! another database implements [`Database`], [`EventStore`] and [`EventReader`], and passes the suite in
//! `tests/spec/event_store.rs`.
//!
//! Read next: `aggregate.rs`, `event.rs`, `store.rs`, `sqlite.rs`, `executor.rs`, `log.rs`, `projection.rs`,
//! `projector.rs`.

/// Ends the process here if the environment asks for it; see `crash_point.rs`.
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "crash-points")]
        $crate::es::crash_point::reach($name);
    };
}

mod aggregate;
mod error;
mod event;
mod events;

mod audit;
mod command;
mod log;
mod projection;

#[cfg(feature = "crash-points")]
mod crash_point;
mod database_file;
mod known_kinds;
pub mod testing;

pub use aggregate::{Aggregate, DecodeError, Event, Upcaster, decode, schema_version};
pub use audit::{Difference, MAX_FINDINGS, Report, Verified, VerifyError, backup, verify, verify_projection};
pub use command::{Commit, Context, Execution, Executor, IdempotencyKey, Metadata, QUEUE_CAPACITY, Work};
#[cfg(feature = "crash-points")]
pub use crash_point::CRASH_POINTS;
pub use database_file::{DatabaseFile, DatabasePath, Displaced, PathError, Scratch};
pub use error::{Error, ExecuteError};
pub use event::{Hash, Page, PageContent, RecordedEvent, chain};
pub use known_kinds::KnownKinds;
pub use log::{
    Database, EventLog, EventReader, EventStore, Fingerprint, Head, LogBytes, LogUpkeep, MAX_PAGE_EVENTS,
    Receipt, SCHEMA, Snapshot, SqliteDatabase, Visitor,
};
pub use projection::{
    CatchUpError, CommitPhase, Definition, Feed, FeedError, MAX_PAGE, Names, OpenError, Projection,
    ProjectionError, ProjectionState, ProjectionStatus, Projector, ProjectorEvent, RebuildError,
    RebuildProgress, RebuildRefused, RunningProjector, followed_log,
};

pub use events::events;

/// The JSON library that [`events!`] writes events with.
#[doc(hidden)]
pub use serde_json;

/// The SQLite that projections write with, for programs that bring some: it must be the same one.
pub use rusqlite;

#[cfg(test)]
pub(crate) mod tests;
