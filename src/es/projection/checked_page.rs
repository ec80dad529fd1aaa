//! A page of the feed that was read once, and checked as far as it can be on its own: it parses,
//! its positions follow each other, and each of its events continues the hash chain of the one
//! before.
//!
//! Reading and hashing cost more than applying an event to a table, so this happens on the
//! thread that fetches, while the projector's thread applies the page before.
//!
//! **Invariant:** a [`CheckedPage`] is one piece of one history. How it continues what a
//! projection has seen is for the projector to check.

use std::ops::Range;
use std::time::Instant;

use serde_json::Error;
use uuid::Uuid;

use crate::es::{Hash, Page, RecordedEvent, chain};

/// A page whose events follow each other. Unlike [`crate::es::PageContent`] it owns its bytes, so
/// that it can move from one thread to another.
#[derive(Debug)]
pub(in crate::es) struct CheckedPage {
    json: String,
    pub(in crate::es) log_id: Uuid,
    pub(in crate::es) head: u64,
    /// When the page was asked for: of two pages, the later one knows the head better.
    pub(in crate::es) asked: Instant,
    events: Vec<Place>,
}

/// Why a page is refused. It is asked for again, in case the fault was on the way.
#[derive(Debug)]
pub(in crate::es) enum PageError {
    Malformed(Error),
    Gap { expected: u64, found: u64 },
    Altered { position: u64 },
}

/// Where in the page's text an event is: numbers and ids as they are, texts as ranges.
#[derive(Debug)]
struct Place {
    position: u64,
    event_id: Uuid,
    stream_id: Uuid,
    version: u64,
    schema_version: u32,
    hash: Hash,
    texts: [Range<u32>; 5],
}

impl CheckedPage {
    /// Reads and checks a page that was asked for at `asked`.
    pub(in crate::es) fn read(page: Page, asked: Instant) -> Result<Self, PageError> {
        let json = String::from_utf8(page.json)
            .map_err(|error| PageError::Malformed(serde::de::Error::custom(error)))?;
        let content: crate::es::PageContent<'_> =
            serde_json::from_str(&json).map_err(PageError::Malformed)?;
        for pair in content.events.windows(2) {
            if let [previous, event] = pair {
                follows(event, previous.position, &previous.hash)?;
            }
        }
        let (log_id, head) = (content.log_id, content.head);
        let events = content.events.iter().map(|event| Place::of(event, &json)).collect();
        Ok(Self { log_id, head, asked, events, json })
    }

    pub(in crate::es) fn len(&self) -> usize {
        self.events.len()
    }

    pub(in crate::es) fn last_position(&self) -> Option<u64> {
        self.events.last().map(|place| place.position)
    }

    /// The events in order.
    pub(in crate::es) fn events(&self) -> impl Iterator<Item = RecordedEvent<'_>> {
        self.events.iter().map(|place| place.event(&self.json))
    }
}

/// Checks that `event` is the one after `position`, whose hash is `hash`.
///
/// A feed may have no hashes at all: then no event before had one either. One that has begun a
/// chain continues it, so hashes that vanish are found.
pub(in crate::es) fn follows(event: &RecordedEvent<'_>, position: u64, hash: &Hash) -> Result<(), PageError> {
    if event.position != position + 1 {
        return Err(PageError::Gap { expected: position + 1, found: event.position });
    }
    let is_unchained = event.hash == Hash::ZERO && *hash == Hash::ZERO;
    if !is_unchained && chain(hash, event) != event.hash {
        return Err(PageError::Altered { position: event.position });
    }
    Ok(())
}

impl Place {
    fn of(event: &RecordedEvent<'_>, json: &str) -> Self {
        let texts = [event.stream_type, event.event_type, event.data, event.metadata, event.recorded_at];
        Self {
            position: event.position,
            event_id: event.event_id,
            stream_id: event.stream_id,
            version: event.version,
            schema_version: event.schema_version,
            hash: event.hash,
            texts: texts.map(|text| range_in(json, text)),
        }
    }

    fn event<'a>(&self, json: &'a str) -> RecordedEvent<'a> {
        let [stream_type, event_type, data, metadata, recorded_at] =
            self.texts.each_ref().map(|range| &json[range.start as usize..range.end as usize]);
        RecordedEvent {
            position: self.position,
            event_id: self.event_id,
            stream_id: self.stream_id,
            stream_type,
            version: self.version,
            event_type,
            schema_version: self.schema_version,
            data,
            metadata,
            recorded_at,
            hash: self.hash,
        }
    }
}

/// Where `part`, which was borrowed from `whole`, is in it. Pages are far smaller than 4 GiB.
fn range_in(whole: &str, part: &str) -> Range<u32> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start as u32..(start + part.len()) as u32
}

impl std::fmt::Display for PageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "the feed's page is malformed: {error}"),
            Self::Gap { expected, found } => {
                write!(f, "the feed has a gap: event {expected} should come next, but {found} came")
            }
            Self::Altered { position } => write!(
                f,
                "the hash of event {position} does not continue the chain: history was altered at or before it"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events with what every feed has, and those `further` fields.
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
        let page = CheckedPage::read(page(["", ""]), Instant::now()).unwrap();
        assert!(page.events().all(|event| event.schema_version == 1));
        follows(&page.events().next().unwrap(), 0, &Hash::ZERO).unwrap();
    }

    #[test]
    fn a_chain_that_has_begun_cannot_end() {
        let chained = format!(r#","hash":"{}""#, "0a".repeat(32));
        let vanished = CheckedPage::read(page([&chained, ""]), Instant::now()).unwrap_err();
        assert!(matches!(vanished, PageError::Altered { position: 2 }), "{vanished}");
        let unchained = CheckedPage::read(page(["", &chained]), Instant::now()).unwrap_err();
        assert!(matches!(unchained, PageError::Altered { position: 2 }), "{unchained}");
    }
}
