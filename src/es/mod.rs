//! Event sourcing.

mod aggregate;
mod event;

pub use aggregate::{Aggregate, DecodeError, Event, Upcaster, decode, schema_version};
pub use event::{Hash, Page, PageContent, RecordedEvent, chain};
