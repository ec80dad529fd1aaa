//! The log: events in order of position, appended by one writer, read by any number of readers.
//!
//! ```text
//! history.rs       iterators over owned_event.rs  ──┐
//! search.rs        filtered pages, newest first   ──┤
//! event_log.rs     pages, and a head to wait on   ◄─┘──┐
//! store.rs         the traits of a database          ◄─┴──  sqlite/ and memory.rs implement the traits
//! inspection.rs    the trait of an audit             ◄───── sqlite/inspect.rs
//! upkeep.rs        the readers' gate, and the report of failed flushes
//! ```
//!
//! Threads: the callers', and the database's own; see `sqlite/mod.rs`.
//!
//! Read next: `store.rs`, `event_log.rs`, `sqlite/mod.rs`.

mod event_log;
mod history;
pub(in crate::es) mod inspection;
mod memory;
mod owned_event;
mod search;
pub(in crate::es) mod sqlite;
pub(in crate::es) mod store;
mod upkeep;

pub use event_log::{EventLog, MAX_PAGE_EVENTS};
pub use history::Events;
pub use memory::MemoryDatabase;
pub use owned_event::OwnedEvent;
pub use search::{EventFilter, MAX_SCANNED_EVENTS, SearchFrom, SearchPage};
pub use sqlite::{SCHEMA, SqliteDatabase};
pub use store::{Database, EventReader, EventStore, Fingerprint, Head, Receipt, Snapshot, Visitor};
pub use upkeep::LogUpkeep;
