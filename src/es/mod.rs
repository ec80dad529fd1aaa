//! Event sourcing.

mod aggregate;
mod backup;
mod cache;
mod error;
mod event;
mod executor;
mod log;
mod projection;
mod projection_loop;
mod projection_notice;
mod projection_page;
mod projection_status;
mod projection_store;
mod projection_verify;
mod projector;
mod sqlite;
mod sqlite_file;
mod sqlite_wal;
mod store;
mod verify;
mod work;

pub use aggregate::{Aggregate, DecodeError, Event, Upcaster, decode, schema_version};
pub use backup::backup;
pub use error::{Error, ExecuteError};
pub use event::{Hash, Page, PageContent, RecordedEvent, chain};
pub use executor::{Commit, Context, Execution, Executor, IdempotencyKey, Metadata, QUEUE_CAPACITY};
pub use log::{EventLog, MAX_PAGE_EVENTS};
pub use projection::{Definition, Feed, FeedError, MAX_PAGE, Names, Projection, ProjectionError};
pub use projection_loop::RunningProjector;
pub use projection_notice::{CatchUpError, Notice};
pub use projection_status::{ProjectionState, ProjectionStatus, RebuildProgress, RebuildRefused};
pub use projection_store::OpenError;
pub use projection_verify::{Difference, Verified, VerifyError, verify};
pub use projector::Projector;
pub use sqlite::SqliteDatabase;
pub use sqlite_file::SCHEMA;
pub use store::{Database, EventReader, EventStore, Fingerprint, Head, Receipt, Snapshot, Visitor};
pub use verify::{MAX_FINDINGS, Report, verify};
pub use work::Work;

#[cfg(test)]
pub(crate) mod tests;
