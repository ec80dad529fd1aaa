//! A stream, or the rest of the log, as an iterator over owned events.
//!
//! **Invariant:** an iterator holds one page of events in memory, and neither a connection nor a transaction
//! between two pages: a slow consumer delays neither the writer nor a flush of the write-ahead log.
//!
//! Read next: `event_log.rs`, which reads the pages.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use uuid::Uuid;

use super::event_log::{EventLog, MAX_PAGE_BYTES, MAX_PAGE_EVENTS};
use super::owned_event::OwnedEvent;
use crate::es::{Error, RecordedEvent};

/// Bytes of an event in memory besides `data` and `metadata`.
const EVENT_BYTES: usize = 256;

impl EventLog {
    /// Returns the events of a stream in order, from the first event to the event that is last when the
    /// iterator arrives there. The iterator of an unknown stream is empty.
    ///
    /// The events come from the storage in pages of 1 MiB, and one page is in memory at a time.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tally::es::{Context, EventLog, Executor, MemoryDatabase};
    /// use tally::es::decode;
    ///
    /// # let log = EventLog::open(MemoryDatabase::default())?;
    /// # let doors = Executor::start(log.clone(), |_| ())?;
    /// # let front = uuid::Uuid::now_v7();
    /// # doors.execute::<Door>(front, DoorCommand::Open { badge: "ada".into() }, Context::default())?;
    /// let mut door = Door::default();
    /// for event in log.stream(front) {
    ///     door = door.evolve(&decode(&event?.as_recorded())?);
    /// }
    /// assert_eq!(door, Door::Open);
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(&self, stream_id: Uuid) -> Events<'_> {
        Events::of(self, Source::Stream(stream_id), 0)
    }

    /// Returns the events of the log after a position, in order, up to the end of the log. To wait for the
    /// next event, use [`EventLog::head`].
    pub fn events_after(&self, position: u64) -> Events<'_> {
        Events::of(self, Source::Log, position)
    }
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Log,
    Stream(Uuid),
}

/// Events in order; see [`EventLog::stream`] and [`EventLog::events_after`].
///
/// An error is the last item.
#[derive(Debug)]
pub struct Events<'l> {
    log: &'l EventLog,
    source: Source,
    /// Position or version of the last event that was read from the storage.
    after: u64,
    page: VecDeque<OwnedEvent>,
    /// Whether the storage has no further event, or has failed.
    has_ended: bool,
}

impl<'l> Events<'l> {
    fn of(log: &'l EventLog, source: Source, after: u64) -> Self {
        Self { log, source, after, page: VecDeque::new(), has_ended: false }
    }

    fn read_page(&mut self) -> Result<(), Error> {
        // Owned copies leave the storage at once; a borrowed event would keep its connection and transaction.
        let Self { log, source, after, page, .. } = self;
        let mut bytes = 0;
        // Copied, because `keep` borrows `after` while the page is read.
        let (source, begin) = (*source, *after);
        let mut keep = |event: &RecordedEvent<'_>| {
            page.push_back(OwnedEvent::from(event));
            *after = match source {
                Source::Log => event.position,
                Source::Stream(_) => event.version,
            };
            bytes += event.data.len() + event.metadata.len() + EVENT_BYTES;
            let is_full = bytes >= MAX_PAGE_BYTES;
            Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        log.read(|reader| match source {
            Source::Log => reader.read(begin, MAX_PAGE_EVENTS, &mut keep),
            Source::Stream(stream_id) => reader.read_stream(stream_id, begin, MAX_PAGE_EVENTS, &mut keep),
        })
    }
}

impl Iterator for Events<'_> {
    type Item = Result<OwnedEvent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty() && !self.has_ended {
            let read = self.read_page();
            self.has_ended = read.is_err() || self.page.is_empty();
            if let Err(error) = read {
                // Events of a page that failed in the middle are not shown: the caller starts again.
                self.page.clear();
                return Some(Err(error));
            }
        }
        self.page.pop_front().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::es::fixtures::TempPath;
    use crate::es::{Database, EventStore, Hash, MemoryDatabase, SqliteDatabase, chain};

    const STREAM: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    /// Records `count` events of about 40 KiB, every third of them in the other stream.
    fn record(store: &mut dyn EventStore, count: u64) {
        let data = format!("\"{}\"", "x".repeat(40_000));
        let mut versions = [0; 2];
        let mut head = store.begin().unwrap();
        for number in 1..=count {
            let of = usize::from(number % 3 == 0);
            versions[of] += 1;
            let mut event = RecordedEvent {
                position: head.position + 1,
                event_id: Uuid::from_u128(u128::from(number)),
                stream_id: [STREAM, OTHER][of],
                stream_type: "thing",
                version: versions[of],
                event_type: "Happened",
                schema_version: 1,
                data: &data,
                metadata: "{}",
                recorded_at: "2026-01-31T12:00:00.000000Z",
                hash: Hash::ZERO,
            };
            event.hash = chain(&head.hash, &event);
            store.append(&event).unwrap();
            (head.position, head.hash) = (event.position, event.hash);
        }
        store.commit().unwrap();
    }

    fn log_of(database: impl Database + 'static, count: u64) -> Arc<EventLog> {
        record(&mut *database.writer(Arc::default()).unwrap(), count);
        EventLog::open(database).unwrap()
    }

    #[test]
    fn a_stream_of_many_pages_comes_in_order_and_one_page_is_in_memory() {
        let path = TempPath::new();
        let sqlite = log_of(SqliteDatabase::open(&*path).unwrap(), 150);
        for log in [sqlite, log_of(MemoryDatabase::default(), 150)] {
            let mut events = log.stream(STREAM);
            let mut versions = Vec::new();
            while let Some(event) = events.next() {
                versions.push(event.unwrap().as_recorded().version);
                let bytes: usize = events.page.iter().map(|event| event.as_recorded().data.len()).sum();
                assert!(bytes <= MAX_PAGE_BYTES + 40_000, "{bytes}");
            }
            assert_eq!(versions, (1..=100).collect::<Vec<_>>());
            assert!(events.next().is_none(), "the end stays the end");
            let positions: Vec<_> =
                log.events_after(30).map(|event| event.unwrap().as_recorded().position).collect();
            assert_eq!(positions, (31..=150).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_unknown_stream_and_the_end_of_the_log_have_no_events() {
        let log = log_of(MemoryDatabase::default(), 3);
        assert!(log.stream(Uuid::from_u128(9)).next().is_none());
        assert!(log.events_after(3).next().is_none() && log.events_after(u64::MAX).next().is_none());
    }

    #[test]
    fn an_error_is_the_last_item() {
        let path = TempPath::new();
        let log = log_of(SqliteDatabase::open(&*path).unwrap(), 60);
        let mut events = log.stream(STREAM);
        assert!(events.next().is_some_and(|event| event.is_ok()));
        std::fs::remove_file(&*path).unwrap();
        let rest: Vec<_> = events.collect();
        assert!(matches!(rest.last(), Some(Err(Error::Storage(_)))) && rest.len() < 40);
        assert!(rest[..rest.len() - 1].iter().all(Result::is_ok));
    }
}
