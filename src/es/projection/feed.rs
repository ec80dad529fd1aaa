//! The source of events for a projector: the log itself in process, or another service over HTTP.
//!
//! **Invariant:** a feed only carries pages. `continuity.rs` checks whether a page continues the history.
//!
//! Read next: `checked_page.rs`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::es::{EventLog, Page};

/// Events on one page, at most: about a megabyte for each side to hold, and the cost of a request spread
/// thin.
pub const MAX_PAGE: u32 = 2_500;

/// How long an [`EventLog`] waits at most. A page of a log in the same process costs microseconds, and a
/// dropped projector waits until the thread with the log has ended.
pub(super) const MAX_LOG_WAIT: Duration = Duration::from_millis(250);

/// A source of events in order of position.
pub trait Feed: Send {
    /// Returns the events after position `after`, at most `limit` (1..=[`MAX_PAGE`]) of them. At the end of
    /// the log, waits up to `wait` for an event; if none comes, the page has no events. A feed may wait for
    /// less: the projector then asks again at once.
    ///
    /// # Errors
    /// When no page can be had, or when the next page may come from another place than the last: the
    /// projector asks again after a pause, and checks first that the history is still the same.
    fn next_page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError>;

    /// Hears that the last page was rejected: the page was damaged, or of another history. A feed with
    /// several sources chooses another.
    fn rejected(&mut self) {}
}

impl Feed for Arc<EventLog> {
    fn next_page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        self.page(after, limit, wait.min(MAX_LOG_WAIT)).map_err(|error| FeedError::new(error.to_string()))
    }
}

/// Why a feed has no page now. The feed itself logs the reason; the projector only asks
/// again later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedError {
    message: String,
}

impl FeedError {
    /// Returns an error with that message.
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
