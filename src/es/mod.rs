//! Event sourcing, without services: the part of this crate that another program embeds.
//!
//! ```toml
//! [dependencies]
//! tally = { path = "../tally", default-features = false }
//! ```
//!
//! A program brings an [`Aggregate`] (the events of a thing, and the rules) and any number of [`Projection`]s
//! (tables that show the events in another shape). This page grows one such program: the door of a workshop,
//! with a badge reader. The [`manual`] answers further questions, one section each. Hidden lines
//! (`examples/es/scene.rs`) open the log `log`, its executors `doors` and `workshop`, and a directory.
//!
//! ```text
//! command/       a command becomes events: Executor, writer thread, batches, idempotency keys
//!     │ appends
//!     ▼
//! log/           the events in order, in SQLite: EventLog, EventStore
//!     │ pages of events
//!     ▼
//! projection/    events become tables: Projector, checkpoints, rebuilds
//!
//! audit/         verify, backup (skip the folder at first reading)
//! ```
//!
//! Threads: one writer for each log, and one more that flushes the write-ahead log; for each projector one
//! thread that applies events, and two that fetch pages. Callers block on their own threads.
//!
//! # 1. The aggregate: events, state, decisions
//!
//! First the events, in the past tense, and the JSON that they are stored as; then the state; then the
//! two functions that are all of event sourcing. The code is `examples/es/door.rs`:
//!
#![doc = concat!("```\n", include_str!("../../examples/es/door.rs"), "```\n")]
//! Rules like these are tested without a database and without a clock:
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
//! # 2. Record: a log, and commands on the log
//!
//! An [`EventLog`] is a database with a log, shared by all readers. The [`Executor`] is the log's one
//! writer: the executor loads the history of a stream, has the aggregate decide, and answers with a
//! [`Receipt`] when the events are on disk. Share the executor between threads; the commands of many callers
//! share a sync.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/scene.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = Directory::fresh();
//! use tally::es::{Context, EventLog, ExecuteError, Executor, SqliteDatabase};
//!
//! let log = EventLog::open(SqliteDatabase::open(directory.join("doors.sqlite3"))?)?;
//! let doors = Executor::start(log.clone(), |_commit| ())?;
//!
//! let front = uuid::Uuid::now_v7();
//! let open = || DoorCommand::Open { badge: "ada".into() };
//! let opened = doors.execute::<Door>(front, open(), Context::default())?;
//! assert_eq!((opened.stream_id(), opened.version(), opened.position()), (front, 1, 1));
//!
//! let refused = doors.execute::<Door>(front, open(), Context::default());
//! assert_eq!(refused, Err(ExecuteError::Rejected(Rejection::OpenAlready)));
//! # Ok(())
//! # }
//! ```
//!
//! A command that decides on no events gets [`Execution::Unchanged`] and no receipt. A [`Context`] carries
//! idempotency keys (a command that is sent twice is recorded once), and the origin of the command.
//!
//! # 3. Several kinds: one log, one transaction
//!
//! A log takes any number of kinds of aggregates; a command names its kind. [`Executor::transact`] runs a
//! decision over several streams, of several kinds, and records all of the events or none. Here a door opens
//! only for a valid badge (`examples/es/badge.rs`), and the badge's own history notes the use. The
//! transaction is `examples/es/entry.rs`:
//!
// The block compiles with both aggregates, which are not shown again.
#![doc = concat!(
    "```\n# include!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/examples/es/door.rs\"));\n",
    "# include!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/examples/es/badge.rs\"));\n# fn main() {}\n",
    include_str!("../../examples/es/entry.rs"),
    "```\n"
)]
//! Both kinds in one log:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/badge.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/entry.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/scene.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scene = Scene::open()?;
//! # let (workshop, log) = (&scene.executor, &scene.log);
//! let (badge, door) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
//! workshop.execute::<Badge>(badge, BadgeCommand::Issue { holder: "Ada".into() }, Context::default())?;
//!
//! let entered = enter(workshop, badge, door)?;
//! assert_eq!(entered.position(), 3);
//! let refused = enter(workshop, badge, door);
//! assert_eq!(refused, Err(ExecuteError::Rejected(Refused::Door(Rejection::OpenAlready))));
//! assert_eq!(log.head().value(), 3, "and the use of the badge is not recorded either");
//!
//! workshop.execute::<Badge>(badge, BadgeCommand::Revoke, Context::default())?;
//! let refused = enter(workshop, badge, door);
//! assert_eq!(refused, Err(ExecuteError::Rejected(Refused::Badge(NotValid))));
//! # Ok(())
//! # }
//! ```
//!
//! # 4. Replay: the state is the fold of the history
//!
//! The executor replays for each command, from a state in memory or from a snapshot. A program may replay a
//! stream as well.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/scene.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scene = Scene::open()?;
//! # let (doors, log) = (&scene.executor, &scene.log);
//! # let front = uuid::Uuid::now_v7();
//! # let open = DoorCommand::Open { badge: "ada".into() };
//! # doors.execute::<Door>(front, open, tally::es::Context::default())?;
//! use tally::es::decode;
//!
//! let mut door = Door::default();
//! for event in log.stream(front) {
//!     door = door.evolve(&decode(&event?.as_recorded())?);
//! }
//! assert_eq!(door, Door::Open);
//! # Ok(())
//! # }
//! ```
//!
//! [`decode`] reads events of every form that was ever stored: when a form changes, add an [`Upcaster`].
//!
//! # 5. Project: the same history as tables
//!
//! Who opens the doors, and how often? The log knows, but slowly. A [`Projection`] keeps the answer in
//! tables, in a database of its own. The projection says how an event changes its rows
//! (`examples/es/openings.rs`):
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
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/scene.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scene = Scene::open()?;
//! # let (doors, log) = (&scene.executor, &scene.log);
//! # let open = DoorCommand::Open { badge: "ada".into() };
//! # let opened = doors.execute::<Door>(uuid::Uuid::now_v7(), open, tally::es::Context::default())?;
//! # let path = scene.directory.join("openings.sqlite3");
//! use std::time::Duration;
//! use tally::es::{Definition, Projector};
//!
//! let projector = Projector::open(&path, &[Definition::of::<Openings>()])?;
//! let running = projector.start(log.clone(), Duration::from_secs(5))?;
//!
//! // Read your own writes: wait until the rows have reached the position of the command.
//! let reached = running.wait_for("openings", opened.position(), Duration::from_secs(60));
//! assert!(reached.is_some_and(|position| position >= opened.position()));
//!
//! let rows = Connection::open(&path)?;
//! let times: u64 = rows.query_row("SELECT times FROM openings WHERE badge = 'ada'", [], |row| row.get(0))?;
//! assert_eq!(times, 1);
//! # Ok(())
//! # }
//! ```
//!
//! The feed is in the same process, as here, or in another: [`Feed`] is one function. A program without
//! threads calls [`Projector::catch_up`] instead of [`Projector::start`].
//!
//! # 6. Rebuild: change your mind about the past
//!
//! Read models are disposable. [`RunningProjector::rebuild_and_wait`] builds new tables beside the live ones, which
//! answer meanwhile, and swaps the tables in one transaction. A projection with a raised
//! [`VERSION`](Projection::VERSION) is replayed at the next start.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/openings.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/scene.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scene = Scene::open()?;
//! # let (doors, log) = (&scene.executor, &scene.log);
//! # let open = DoorCommand::Open { badge: "ada".into() };
//! # doors.execute::<Door>(uuid::Uuid::now_v7(), open, tally::es::Context::default())?;
//! # let path = scene.directory.join("openings.sqlite3");
//! # use std::time::Duration;
//! # use tally::es::{Definition, Projector};
//! # let projector = Projector::open(&path, &[Definition::of::<Openings>()])?;
//! let running = projector.start(log.clone(), Duration::from_secs(5))?;
//! running.rebuild_and_wait("openings", Duration::from_secs(60))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Promises
//!
//! - An event is appended at the end or not at all, and never changed: [`SCHEMA`] refuses any other write,
//!   from any client.
//! - Positions count from 1 without gaps, in commit order: a reader that remembers its last position misses
//!   no event.
//! - A receipt is given when its events are on disk, and never before.
//! - Rows and checkpoint move in one transaction: an event is applied once, and never skipped.
//! - Loading a stream costs the same however long the stream is.
//!
//! ARCHITECTURE.md names the test of each promise.
//!
//! Not here, on purpose: async, HTTP, a message broker, sagas (`docs/how-to/react-to-events.md` builds one on
//! top), a log with several writers. A log on
//! another database implements [`Database`], [`EventStore`] and [`EventReader`], and passes the suite in
//! `tests/spec/event_store.rs`.
//!
//! Read next: `aggregate.rs`, `recorded_event.rs`; then the folders `command`, `log`, `projection`, each from its
//! `mod.rs`.

// First: the other modules use its macro.
#[macro_use]
mod crash_point;

mod aggregate;
mod aggregate_rules;
mod error;
mod events_macro;
mod hash;
mod hash_chain;
mod recorded_event;

mod audit;
mod command;
mod log;
mod projection;

mod database_file;
mod known_kinds;
pub mod manual;
pub mod testing;

pub use aggregate::{Aggregate, DecodeError, Event, Upcaster, decode, schema_version};
pub use audit::{
    Difference, Exported, MAX_FINDINGS, Report, Verified, VerifyError, backup, export, import, verify,
    verify_projection,
};
pub use command::{
    Commit, Context, Execution, Executor, IdempotencyKey, Metadata, QUEUE_CAPACITY, Timing, Work,
};
#[cfg(feature = "crash-points")]
pub use crash_point::CRASH_POINTS;
pub use database_file::{DatabaseFile, DatabasePath, Displaced, LogBytes, PathError, Scratch};
pub use error::{Error, ExecuteError};
pub use hash::Hash;
pub use hash_chain::chain;
pub use known_kinds::KnownKinds;
pub use log::{
    Database, EventFilter, EventLog, EventReader, EventStore, Events, Fingerprint, Head, LogUpkeep,
    MAX_PAGE_EVENTS, MAX_SCANNED_EVENTS, MemoryDatabase, OwnedEvent, Receipt, SCHEMA, SearchFrom, SearchPage,
    Snapshot, SqliteDatabase, Visitor,
};
pub use projection::{
    CatchUpError, CommitPhase, Definition, Feed, FeedError, MAX_PAGE, Names, OpenError, PauseError,
    Projection, ProjectionError, ProjectionState, ProjectionStatus, Projector, ProjectorEvent, RebuildError,
    RebuildProgress, RebuildRefused, RunningProjector, followed_log,
};
pub use recorded_event::{Page, PageContent, RecordedEvent};

pub use events_macro::events;

/// The JSON library that [`events!`] writes events with.
#[doc(hidden)]
pub use serde_json;

/// The SQLite that projections write with, for programs that bring some: it must be the same one.
pub use rusqlite;

#[cfg(test)]
pub(crate) mod fixtures;
