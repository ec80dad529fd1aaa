//! Searching the log: events of one type, one kind or one correlation, forwards or newest first.
//!
//! The log has no index over types and correlations, because every command would pay for the index. A search
//! scans a bounded number of events, and returns how far the scan came: the caller continues there.
//!
//! **Invariant:** a search that is continued at [`SearchPage::scanned_to`] misses no event and returns no event
//! twice.
//!
//! Read next: `event_log.rs`, which reads the pages.

use std::ops::ControlFlow;

use serde::Deserialize;

use super::event_log::{EventLog, MAX_PAGE_EVENTS};
use super::owned_event::OwnedEvent;
use super::store::Visitor;
use crate::es::{Error, Page, RecordedEvent};
use crate::time::Timestamp;

/// Maximum number of events that one search scans: ten milliseconds of reading, so a search holds up no
/// other reader.
pub const MAX_SCANNED_EVENTS: u32 = 10_000;

/// The properties of the events that a search returns. The default filter accepts every event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// The stored name of the event type, such as `MoneyDeposited`.
    pub event_type: Option<String>,
    /// The kind of aggregate, such as `account`.
    pub stream_type: Option<String>,
    /// The correlation id in the event's metadata.
    pub correlation_id: Option<String>,
    /// The earliest time of recording.
    pub since: Option<Timestamp>,
}

/// Where a search begins, and the direction of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchFrom {
    /// Forwards, beginning with the event after a position.
    After(u64),
    /// Backwards, newest first, beginning with the event before a position.
    Before(u64),
}

/// The events that a search has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPage {
    /// The events in the form of the feed, with `scanned_to` after the head.
    pub page: Page,
    /// The number of events on the page.
    pub events: u32,
    /// The number of events that the search has read, [`MAX_SCANNED_EVENTS`] at most.
    pub scanned: u32,
    /// The last position at which the search has looked. Forwards, the search continues after this position;
    /// backwards, before this position, unless the position is 0 or 1: then the search has ended.
    pub scanned_to: u64,
}

impl EventLog {
    /// Returns at most `limit` events (1 to [`MAX_PAGE_EVENTS`]) that `filter` accepts, among at most
    /// [`MAX_SCANNED_EVENTS`]. After a page without events, continue at
    /// [`SearchPage::scanned_to`], too.
    ///
    /// ```
    /// use tally::es::{EventFilter, EventLog, MemoryDatabase, SearchFrom};
    ///
    /// # fn main() -> Result<(), tally::es::Error> {
    /// let log = EventLog::open(MemoryDatabase::default())?;
    /// let opened = EventFilter { event_type: Some("DoorOpened".into()), ..EventFilter::default() };
    /// let newest = log.search(SearchFrom::Before(u64::MAX), &opened, 10)?;
    /// assert_eq!((newest.events, newest.scanned_to), (0, 0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the storage fails.
    pub fn search(&self, from: SearchFrom, filter: &EventFilter, limit: u32) -> Result<SearchPage, Error> {
        let limit = limit.clamp(1, MAX_PAGE_EVENTS);
        let matcher = Matcher::of(filter);
        // Forwards, the positions up to `after` need no look: a follower at the head pays for no search in time.
        let begin = if let SearchFrom::After(after) = from { after } else { 0 };
        let earlier = filter.since.map_or(Ok(0), |since| self.last_before(since, begin))?;
        let (mut events, mut scanned, mut scanned_to) = (0, 0, None);
        let mut page = self.build_page(|reader, add| {
            let mut visit = |event: &RecordedEvent<'_>| {
                // Backwards, all further events are even older.
                if event.position <= earlier {
                    return Ok(ControlFlow::Break(()));
                }
                scanned_to = Some(event.position);
                scanned += 1;
                if !matcher.accepts(event) {
                    return Ok(ControlFlow::Continue(()));
                }
                events += 1;
                let flow = add(event)?;
                Ok(if events == limit { ControlFlow::Break(()) } else { flow })
            };
            let visit: &mut Visitor<'_> = &mut visit;
            match from {
                SearchFrom::After(after) => reader.read(after.max(earlier), MAX_SCANNED_EVENTS, visit),
                SearchFrom::Before(before) => reader.read_back(before, MAX_SCANNED_EVENTS, visit),
            }
        })?;
        let scanned_to = match (from, scanned_to) {
            (SearchFrom::After(after), None) => after.max(earlier),
            (SearchFrom::After(_), Some(last)) => last,
            (SearchFrom::Before(_), Some(last)) if last > earlier + 1 => last,
            // No older event can match: the search has ended.
            (SearchFrom::Before(_), _) => 1.min(self.head().value()),
        };
        page.extend("scanned_to", scanned_to);
        Ok(SearchPage { page, events, scanned, scanned_to })
    }

    /// Returns the event at a position; `None` for a position that the log does not have.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn event(&self, position: u64) -> Result<Option<OwnedEvent>, Error> {
        let Some(after) = position.checked_sub(1) else {
            return Ok(None);
        };
        let mut found = None;
        self.read(|reader| {
            reader.read(after, 1, &mut |event| {
                found = Some(OwnedEvent::from(event));
                Ok(ControlFlow::Break(()))
            })
        })?;
        Ok(found)
    }

    /// Returns the position of the last event after `begin` that was recorded before `time`, `begin` without
    /// such an event.
    fn last_before(&self, time: Timestamp, begin: u64) -> Result<u64, Error> {
        // Times never fall along the log, so the position is found in twenty steps in a million events.
        let time = time.to_string();
        let (mut low, mut high) = (begin, self.head().value());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let event = self.event(middle)?;
            if event.is_some_and(|event| event.as_recorded().recorded_at < &*time) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(low)
    }
}

/// A filter, prepared for many events.
struct Matcher<'f> {
    filter: &'f EventFilter,
    /// The correlation id as it stands in JSON.
    correlation_json: Option<String>,
}

/// The part of an event's metadata that a filter compares.
#[derive(Deserialize)]
struct Correlation {
    #[serde(default)]
    correlation_id: Option<String>,
}

impl<'f> Matcher<'f> {
    fn of(filter: &'f EventFilter) -> Self {
        let json = filter.correlation_id.as_ref().and_then(|id| serde_json::to_string(id).ok());
        Self { filter, correlation_json: json }
    }

    fn accepts(&self, event: &RecordedEvent<'_>) -> bool {
        let has = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        has(&self.filter.event_type, event.event_type)
            && has(&self.filter.stream_type, event.stream_type)
            && self.correlation_json.as_ref().is_none_or(|json| self.has_correlation(json, event.metadata))
    }

    fn has_correlation(&self, json: &str, metadata: &str) -> bool {
        // The text first: parsing the metadata of each scanned event would take most of the time. This crate
        // writes the id without needless escapes, and another writer's escapes begin with a backslash.
        (metadata.contains(json) || metadata.contains('\\'))
            && serde_json::from_str::<Correlation>(metadata)
                .is_ok_and(|found| found.correlation_id == self.filter.correlation_id)
    }
}
