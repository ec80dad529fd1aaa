//! Tally: CQRS, event sourcing and service discovery in Rust, without async.
//!
//! This page is for the program that embeds the event-sourcing core, [`es`]. It grows a purse in three steps; each
//! block is compiled and run by `cargo test --doc`. README.md walks through the other half, a small bank in three
//! services, with curl. A program that embeds `es` alone leaves the services out:
//!
//! ```toml
//! [dependencies]
//! tally = { path = "../tally", default-features = false }
//! serde = { version = "1", features = ["derive"] }
//! uuid = { version = "1", features = ["v7"] }
//! ```
//!
//! # The balance is not stored
//!
//! What is stored is what happened. The state is computed from it, by a fold. First comes the whole purse: the
//! events with the names that are stored, the state, and the two functions of an [`Aggregate`](es::Aggregate)
//! (`examples/es/purse.rs`).
//!
#![doc = concat!("```\n", include_str!("../examples/es/purse.rs"), "```\n")]
//! And the fold:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/purse.rs"));
//! # fn main() {
//! let history = [
//!     PurseEvent::PaidIn(Cents { cents: 5000 }),
//!     PurseEvent::PaidOut(Cents { cents: 1250 }),
//!     PurseEvent::PaidOut(Cents { cents: 300 }),
//! ];
//!
//! let now = history.iter().fold(Purse::default(), Purse::evolve);
//! assert_eq!(now.balance, 3450);
//! let before = history[..2].iter().fold(Purse::default(), Purse::evolve);
//! assert_eq!(before.balance, 3750);
//! # }
//! ```
//!
//! That one line, `history.iter().fold(Purse::default(), Purse::evolve)`, is all of event sourcing. A
//! shorter history is the purse as it was then. Another fold over the same history answers another
//! question, and needs no change here.
//!
//! # A command is a question, an event is a fact
//!
//! [`decide`](es::Aggregate::decide) answers a command with new events, or rejects it. It is the only place
//! that may say no. [`evolve`](es::Aggregate::evolve) never refuses: what has happened has happened, and a rule
//! there would make old history impossible to load. Rules are tested without a database and without a clock
//! ([`es::testing`]):
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/purse.rs"));
//! # fn main() {
//! use tally::es::testing::Given;
//!
//! let filled = || vec![PurseEvent::PaidIn(Cents { cents: 5000 })];
//! Given::<Purse>(filled())
//!     .when(PurseCommand::PayOut(1250))
//!     .then(vec![PurseEvent::PaidOut(Cents { cents: 1250 })]);
//! Given::<Purse>(filled())
//!     .when(PurseCommand::PayOut(5001))
//!     .then_rejected(Refusal::TooLittle);
//! # }
//! ```
//!
//! # Recorded durably, and shown in another shape
//!
//! An [`Executor`](es::Executor) loads the history, has the aggregate decide, and answers with a receipt when the
//! events are on disk. A [`Projection`](es::Projection) keeps the answer to another question in a table of its own
//! (`examples/es/turnover.rs`):
//!
// The block compiles with the purse, which is not shown again.
#![doc = concat!(
    "```\n# include!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/examples/es/purse.rs\"));\n# fn main() {}\n",
    include_str!("../examples/es/turnover.rs"),
    "```\n"
)]
//! Together they are a program that survives any kill:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/purse.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/turnover.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/scene.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = Directory::fresh();
//! use tally::es::{Context, Definition, EventLog, ExecuteError, Executor, Projector, SqliteDatabase};
//! use uuid::Uuid;
//!
//! let log = EventLog::open(SqliteDatabase::open(directory.join("purses.sqlite3"))?)?;
//! let purses = Executor::start(log.clone(), |_commit| ())?;
//! let mine = Uuid::now_v7();
//! purses.execute::<Purse>(mine, PurseCommand::PayIn(5000), Context::default())?;
//! purses.execute::<Purse>(mine, PurseCommand::PayOut(1250), Context::default())?;
//! let refused = purses.execute::<Purse>(mine, PurseCommand::PayOut(5000), Context::default());
//! assert_eq!(refused, Err(ExecuteError::Rejected(Refusal::TooLittle)));
//!
//! // The table may be deleted at any time: it is filled again from the first event.
//! let table = directory.join("turnover.sqlite3");
//! let mut projector = Projector::open(&table, &[Definition::of::<Turnover>()])?;
//! projector.catch_up(&mut log.clone(), log.head().value())?;
//! let turnover: u64 =
//!     Connection::open(&table)?.query_row("SELECT cents FROM turnover", [], |row| row.get(0))?;
//! assert_eq!(turnover, 6250);
//! # Ok(())
//! # }
//! ```
//!
//! The page of [`es`] goes on from here: several kinds of aggregates in one log, transactions over them, a
//! projector that follows the log, rebuilds. [`es::manual`] answers the questions of an embedder one by one.
//!
//! # From here
//!
//! `docs/course/` teaches the ideas in ten chapters with exercises, and `docs/how-to/` answers single questions. The
//! services put HTTP around `es`. In reading order:
//!
//! | module | what it is |
//! | --- | --- |
//! | [`account`] | the bank's domain: events, state, decisions; pure |
//! | [`es`] | event sourcing: aggregate, log, command execution, projections; then `schema.sql` |
//! | [`write_side`] | commands in, receipts out, the event feed |
//! | [`read_side`] | the bank's projections, and the queries on them |
//! | [`registry`] | who is alive, and where: leases |
//! | [`discovery`] | its client: register, heartbeat, find |
//! | [`http`] | a service is a function from request to response; the engine under it |
//! | [`service`] | the wiring: flags, logging, metrics, signals; each service from its start to its stop; then `src/bin/` |
//! | [`cli`] | the commands of the `tally` binary: a client of the services |
//! | [`watch`], [`gate`] | a number to wait on; a gate that readers pass |
//! | [`time`], [`host`], [`limits`] | timestamps; names and addresses; the largest exact integer |
//! | [`jitter`] | pauses shortened at random |
//!
//! The write side and the read side never import each other. That import rule is CQRS, and a test holds
//! it. ARCHITECTURE.md has the invariants, and the test of each.

// The table above links to the services, which are not there without the feature.
#![cfg_attr(not(feature = "services"), allow(rustdoc::broken_intra_doc_links))]

#[cfg(feature = "services")]
pub mod account;

pub mod es;

#[cfg(feature = "services")]
pub mod write_side;

#[cfg(feature = "services")]
pub mod read_side;

#[cfg(feature = "services")]
pub mod registry;

#[cfg(feature = "services")]
pub mod console;

#[cfg(feature = "services")]
pub mod discovery;

#[cfg(feature = "services")]
pub mod http;

#[cfg(feature = "services")]
pub mod service;

#[cfg(feature = "services")]
pub mod cli;

pub mod gate;
mod lock;
pub mod watch;

#[cfg(feature = "services")]
pub mod host;

pub mod jitter;

#[cfg(feature = "services")]
pub mod limits;

pub mod time;

/// The Rust of README.md runs as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
