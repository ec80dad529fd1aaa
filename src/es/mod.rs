//! Event sourcing.

mod aggregate;
mod cache;
mod error;
mod event;
mod executor;
mod log;
mod sqlite;
mod store;
mod work;

pub use aggregate::{Aggregate, DecodeError, Event, Upcaster, decode, schema_version};
pub use error::{Error, ExecuteError};
pub use event::{Hash, Page, PageContent, RecordedEvent, chain};
pub use executor::{Commit, Context, Execution, Executor, IdempotencyKey, Metadata, QUEUE_CAPACITY};
pub use log::{EventLog, MAX_PAGE_EVENTS};
pub use sqlite::{SCHEMA, SqliteDatabase};
pub use store::{Database, EventReader, EventStore, Fingerprint, Head, Receipt, Snapshot, Visitor};
pub use work::Work;
