//! Event sourcing.

mod aggregate;
mod event;
mod projection;
mod projection_loop;
mod projection_notice;
mod projection_page;
mod projection_status;
mod projection_store;
mod projector;

pub use aggregate::{Aggregate, DecodeError, Event, Upcaster, decode, schema_version};
pub use event::{Hash, Page, PageContent, RecordedEvent, chain};
pub use projection::{Definition, Feed, FeedError, MAX_PAGE, Names, Projection, ProjectionError};
pub use projection_loop::RunningProjector;
pub use projection_notice::{CatchUpError, Notice};
pub use projection_status::{ProjectionState, ProjectionStatus, RebuildProgress, RebuildRefused};
pub use projection_store::OpenError;
pub use projector::Projector;

#[cfg(test)]
mod projector_tests;
#[cfg(test)]
pub(crate) mod testing;
