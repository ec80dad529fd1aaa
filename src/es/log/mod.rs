//! The log: events in order of position, appended by one writer, read by anybody.
//!
//! ```text
//! event_log.rs   what readers see: pages, a head to wait on   ──┐
//! store.rs       what a database must do: three traits        ◄─┴── sqlite/ does it
//! upkeep.rs      what the writer's housekeeping reports, and the gate that readers pass
//! ```
//!
//! Threads: the callers' and the database's own; see `sqlite/mod.rs`.
//!
//! Read next: `store.rs`, `event_log.rs`, `sqlite/mod.rs`.

mod event_log;
pub(in crate::es) mod sqlite;
pub(in crate::es) mod store;
pub(in crate::es) mod upkeep;

pub use event_log::{EventLog, MAX_PAGE_EVENTS};
pub use sqlite::{SCHEMA, SqliteDatabase};
pub use store::{Database, EventReader, EventStore, Fingerprint, Head, Receipt, Snapshot, Visitor};
pub use upkeep::{LogBytes, LogUpkeep};
