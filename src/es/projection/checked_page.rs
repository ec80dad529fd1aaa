//! A request to the feed, and the page that answers it, checked as far as a page can be checked alone:
//! the JSON parses, positions follow each other, and each event continues the hash chain.
//!
//! Parsing and hashing cost more than applying an event to a table, so both happen on the
//! fetching thread, while the applying thread works on the page before.
//!
//! **Invariant:** a [`CheckedPage`] is one piece of one history. `continuity.rs` checks how the piece
//! continues the history of a table set.
//!
//! Read next: `continuity.rs`.

use std::ops::Range;
use std::time::Duration;

use uuid::Uuid;

use super::definition::LIVE_LAG_EVENTS;
use super::feed::{Feed, MAX_PAGE};
use super::projector_event::CatchUpError;
use crate::es::{Hash, Page, PageContent, RecordedEvent, chain};

/// Events that must remain in the log after a page for the next page to be prefetched. Fewer events are
/// cheaper to fetch together with later events.
const PREFETCH_MIN_EVENTS: u64 = 500;

/// A part of the log to fetch: up to `limit` events after the position `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageRequest {
    pub(super) after: u64,
    pub(super) limit: u32,
    pub(super) wait: Duration,
    /// Whether to fetch the applied event at `after` again, to compare the hashes.
    pub(super) overlaps: bool,
}

impl PageRequest {
    pub(super) fn fetch(&self, feed: &mut dyn Feed) -> Result<CheckedPage, CatchUpError> {
        let overlap = u32::from(self.overlaps);
        let limit = (self.limit + overlap).min(MAX_PAGE);
        let page = feed.next_page(self.after - u64::from(overlap), limit, self.wait);
        CheckedPage::read(page.map_err(|error| CatchUpError::FeedAway(error.to_string()))?)
    }

    /// Returns the likely request after `page`, for the fetching thread to work ahead.
    pub(super) fn following(&self, page: &CheckedPage) -> Option<Self> {
        let after = page.last_position()?;
        let is_worth_it = self.limit == MAX_PAGE && page.head.saturating_sub(after) >= PREFETCH_MIN_EVENTS;
        is_worth_it.then_some(Self { after, limit: MAX_PAGE, wait: Duration::ZERO, overlaps: false })
    }
}

/// A page of consecutive events. Unlike [`PageContent`] the page owns the bytes, and so can move from
/// one thread to another.
#[derive(Debug)]
pub(super) struct CheckedPage {
    pub(super) log_id: Uuid,
    pub(super) head: u64,
    json: String,
    events: Vec<Packed>,
}

/// An event with ranges of the page's JSON as texts.
#[derive(Debug)]
struct Packed {
    /// The event with empty texts.
    event: RecordedEvent<'static>,
    texts: [Range<u32>; 5],
}

impl CheckedPage {
    /// Parses and checks a page.
    pub(super) fn read(page: Page) -> Result<Self, CatchUpError> {
        let malformed = |error: &dyn std::fmt::Display| {
            CatchUpError::PageRejected(format!("the feed's page is malformed: {error}"))
        };
        let json = String::from_utf8(page.json).map_err(|error| malformed(&error))?;
        let content: PageContent<'_> = serde_json::from_str(&json).map_err(|error| malformed(&error))?;
        // The first event is checked against the rows, on the applying thread.
        for pair in content.events.windows(2) {
            if let [previous, event] = pair {
                check_next(event, previous.position, &previous.hash).map_err(CatchUpError::PageRejected)?;
            }
        }
        let (log_id, head) = (content.log_id, content.head);
        let events = content.events.iter().map(|event| Packed::of(event, &json)).collect();
        Ok(Self { log_id, head, events, json })
    }

    /// Returns the events in order.
    pub(super) fn events(&self) -> impl Iterator<Item = RecordedEvent<'_>> {
        self.events.iter().map(|packed| packed.event(&self.json))
    }

    pub(super) fn is_far_from_head(&self) -> bool {
        self.last_position().is_some_and(|last| self.head.saturating_sub(last) >= LIVE_LAG_EVENTS)
    }

    pub(super) fn last_position(&self) -> Option<u64> {
        self.events.last().map(|packed| packed.event.position)
    }
}

/// Checks `event` as the successor of the event with this `position` and `hash`.
///
/// A feed may have no hashes at all: then no earlier event had a hash either. A chain that has begun
/// goes on, so vanished hashes are found.
pub(super) fn check_next(event: &RecordedEvent<'_>, position: u64, hash: &Hash) -> Result<(), String> {
    let (expected, found) = (position + 1, event.position);
    if found != expected {
        return Err(format!("the feed has a gap: event {expected} should come next, but {found} came"));
    }
    let is_unchained = event.hash == Hash::ZERO && *hash == Hash::ZERO;
    if !is_unchained && chain(hash, event) != event.hash {
        return Err(format!(
            "the hash of event {found} does not continue the chain: history was altered at or before it"
        ));
    }
    Ok(())
}

impl Packed {
    fn of(event: &RecordedEvent<'_>, json: &str) -> Self {
        let texts = [event.stream_type, event.event_type, event.data, event.metadata, event.recorded_at];
        let event = RecordedEvent {
            position: event.position,
            event_id: event.event_id,
            stream_id: event.stream_id,
            version: event.version,
            schema_version: event.schema_version,
            hash: event.hash,
            stream_type: "",
            event_type: "",
            data: "",
            metadata: "",
            recorded_at: "",
        };
        Self { event, texts: texts.map(|text| range_in(json, text)) }
    }

    fn event<'a>(&self, json: &'a str) -> RecordedEvent<'a> {
        let [stream_type, event_type, data, metadata, recorded_at] =
            self.texts.each_ref().map(|range| &json[range.start as usize..range.end as usize]);
        RecordedEvent { stream_type, event_type, data, metadata, recorded_at, ..self.event }
    }
}

/// Returns the place of `part`, which was borrowed from `whole`. Pages are far smaller than 4 GiB.
fn range_in(whole: &str, part: &str) -> Range<u32> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start as u32..(start + part.len()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns two events with the fields of every feed, and the `further` fields.
    fn page(further: [&str; 2]) -> Page {
        let id = Uuid::nil();
        let event = |(index, further): (usize, &str)| {
            let number = index + 1;
            format!(
                r#"{{"position":{number},"event_id":"{id}","stream_id":"{id}","stream_type":"account",
                "version":{number},"type":"Added","data":{{}},"metadata":{{}},
                "recorded_at":"2026-01-01T00:00:00.000000Z"{further}}}"#
            )
        };
        let events: Vec<_> = further.into_iter().enumerate().map(event).collect();
        Page { json: format!(r#"{{"log_id":"{id}","head":2,"events":[{}]}}"#, events.join(",")).into_bytes() }
    }

    #[test]
    fn a_feed_without_schema_versions_and_hashes_is_read() {
        let page = CheckedPage::read(page(["", ""])).unwrap();
        assert!(page.events().all(|event| event.schema_version == 1));
        check_next(&page.events().next().unwrap(), 0, &Hash::ZERO).unwrap();
    }

    #[test]
    fn a_chain_that_has_begun_cannot_end() {
        let chained = format!(r#","hash":"{}""#, "0a".repeat(32));
        let vanished = CheckedPage::read(page([&chained, ""])).unwrap_err();
        assert!(vanished.to_string().contains("the hash of event 2"), "{vanished}");
        let unchained = CheckedPage::read(page(["", &chained])).unwrap_err();
        assert!(unchained.to_string().contains("the hash of event 2"), "{unchained}");
    }
}
