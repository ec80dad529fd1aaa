//! Event sourcing.

mod event;

pub use event::{Hash, Page, PageContent, RecordedEvent, chain};
