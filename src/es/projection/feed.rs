//! Where a projector reads events: the log itself in process, or another service over HTTP.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::es::{EventLog, Page};

/// The most events on one page: about a megabyte for each side to hold, and the cost of asking for
/// it spread thin.
pub const MAX_PAGE: u32 = 2_500;

/// Where events come from: the log itself in process, or another service over HTTP.
pub trait Feed: Send {
    /// The events after position `after`, at most `limit` (1..=[`MAX_PAGE`]) of them. When there
    /// is none, waits up to `wait` for one; then the page has no events.
    ///
    /// # Errors
    /// When no page could be had, or when the next one may come from another place than the last: the
    /// caller asks again after a pause, and then makes sure that it is the same history.
    fn page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError>;
}

impl Feed for Arc<EventLog> {
    fn page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        EventLog::page(self, after, limit, wait).map_err(|error| FeedError::new(error.to_string()))
    }
}

/// Why there is no page now. A feed that others depend on logs it where it changes; the projector
/// only comes back later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedError {
    message: String,
}

impl FeedError {
    /// An error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FeedError {}
