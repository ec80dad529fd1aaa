//! The log as readers see the log: pages of events in order, and a head to wait on.
//!
//! All parts of a process share one [`EventLog`]. The executor raises the head after each commit, which wakes
//! every reader that waits for an event.
//!
//! **Invariant:** a page shows committed events only, in order of position, without gaps.
//!
//! Read next: `history.rs`, the same as an iterator; `projection/mod.rs`, which follows a log.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use uuid::Uuid;

use super::store::{Database, EventReader, EventStore, Visitor};
use super::upkeep::LogUpkeep;
use crate::es::database_file::LogBytes;
use crate::es::{Error, Page, RecordedEvent};
use crate::lock::lock;
use crate::time::Timestamp;
use crate::watch::Watch;

/// Maximum number of events on one page.
pub const MAX_PAGE_EVENTS: u32 = 10_000;

/// Bytes after which a page ends with the current event: enough for one transaction of a projector, and few
/// enough to hold for each of many clients.
pub(super) const MAX_PAGE_BYTES: usize = 1 << 20;

/// Seconds that a reader waits at the gate. Thousands of pages are read in that time.
const PATIENCE: Duration = Duration::from_secs(5);

/// Maximum number of idle connections kept for the next readers.
const IDLE_READERS: usize = 32;

/// A log, shared by its writer and its readers.
pub struct EventLog {
    // Dropped before the database: SQLite removes the write-ahead log with the last connection.
    idle_readers: Mutex<Vec<Box<dyn EventReader>>>,
    database: Box<dyn Database>,
    upkeep: Arc<LogUpkeep>,
    head: Watch,
    /// The time of the last event, in microseconds of the clock; 0 before the first.
    last_event_micros: AtomicI64,
}

impl EventLog {
    /// Opens the log in `database`.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn open(database: impl Database + 'static) -> Result<Arc<Self>, Error> {
        let mut reader = database.reader()?;
        let (head, last) = (reader.head()?, AtomicI64::new(0));
        reader.read(head.saturating_sub(1), 1, &mut |event| {
            last.store(micros(event.recorded_at), Ordering::Relaxed);
            Ok(ControlFlow::Continue(()))
        })?;
        drop(reader);
        Ok(Arc::new(Self {
            database: Box::new(database),
            idle_readers: Mutex::new(Vec::new()),
            upkeep: Arc::default(),
            head: Watch::at(head),
            last_event_micros: last,
        }))
    }

    /// Returns the identity of the log, which is created once with the database.
    pub fn log_id(&self) -> Uuid {
        self.database.log_id()
    }

    /// Returns the position of the last committed event, to read or to wait on. The executor raises the
    /// position after each commit.
    pub fn head(&self) -> &Watch {
        &self.head
    }

    /// Checks that the database is still the file that was opened, and that the write-ahead log is flushed.
    ///
    /// # Errors
    /// See [`Database::check`]; and when the last flush failed, so that the write-ahead log grows.
    pub fn check(&self) -> Result<(), Error> {
        self.database.check()?;
        self.upkeep.failure().map_or(Ok(()), |error| {
            let what = "the write-ahead log cannot be moved into the database and grows";
            Err(Error::Storage(format!("{what}: {error}; see to the disk")))
        })
    }

    /// Notes the time of the last event of a commit.
    pub(in crate::es) fn note_time(&self, recorded_at: &str) {
        self.last_event_micros.store(micros(recorded_at), Ordering::Relaxed);
    }

    /// Returns how far the time of the last event is ahead of the clock. Times never fall along the log, so
    /// each event gets the same time until the clock has reached that time.
    pub fn ahead_of_clock(&self) -> Duration {
        let ahead = self.last_event_micros.load(Ordering::Relaxed) - Timestamp::now().as_micros();
        Duration::from_micros(u64::try_from(ahead).unwrap_or(0))
    }

    /// Returns the state of the log's upkeep.
    pub fn upkeep(&self) -> &LogUpkeep {
        &self.upkeep
    }

    /// Returns how large the files of the log are.
    pub fn bytes(&self) -> LogBytes {
        self.database.bytes()
    }

    pub(in crate::es) fn writer(&self) -> Result<Box<dyn EventStore>, Error> {
        self.database.writer(Arc::clone(&self.upkeep))
    }

    /// Returns the page of the log after a position: at most `limit` events (1 to [`MAX_PAGE_EVENTS`]), and
    /// at least one event unless the log ends there. At the end of the log, waits up to `wait` for the next
    /// event.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn page(&self, after: u64, limit: u32, wait: Duration) -> Result<Page, Error> {
        // Waits outside of the gate: thousands of long polls must not block the readers of other pages.
        self.head.wait_for(after.saturating_add(1), wait);
        let limit = limit.clamp(1, MAX_PAGE_EVENTS);
        self.build_page(|reader, add| reader.read(after, limit, add))
    }

    /// Returns the page of one stream after a version; `None` for an unknown stream.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn stream_page(&self, stream_id: Uuid, after: u64, limit: u32) -> Result<Option<Page>, Error> {
        // Asked before the page is read: a page after the last version is empty for a known stream as well.
        let mut exists = false;
        self.read(|reader| {
            reader.read_stream(stream_id, 0, 1, &mut |_| {
                exists = true;
                Ok(ControlFlow::Break(()))
            })
        })?;
        let limit = limit.clamp(1, MAX_PAGE_EVENTS);
        let page = self.build_page(|reader, add| reader.read_stream(stream_id, after, limit, add));
        if exists { page.map(Some) } else { Ok(None) }
    }

    /// Returns the events that `read` shows to its visitor as one page.
    pub(super) fn build_page(
        &self,
        read: impl FnOnce(&mut dyn EventReader, &mut Visitor<'_>) -> Result<(), Error>,
    ) -> Result<Page, Error> {
        // The JSON is written piece by piece into one buffer: the feed of a service sends exactly these
        // bytes.
        let mut json = format!("{{\"log_id\":\"{}\",\"events\":[", self.log_id()).into_bytes();
        let empty = json.len();
        let mut last_position = 0;
        self.read(|reader| {
            read(reader, &mut |event: &RecordedEvent<'_>| {
                if json.len() > empty {
                    json.push(b',');
                }
                event.write_json(&mut json);
                // A search backwards shows the last position first.
                last_position = event.position.max(last_position);
                let full = json.len() >= MAX_PAGE_BYTES;
                Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })
        })?;
        // A reader can see a commit before its writer has raised the head.
        let head = self.head.value().max(last_position);
        json.extend_from_slice(format!("],\"head\":{head}}}").as_bytes());
        Ok(Page { json })
    }

    /// Runs `read` with a connection of its own, behind the readers' gate.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the gate admits no reader in time; when the storage fails, or when `read`
    /// fails.
    pub fn read<T>(&self, read: impl FnOnce(&mut dyn EventReader) -> Result<T, Error>) -> Result<T, Error> {
        let _pass = self.upkeep.readers.enter(PATIENCE).ok_or(Error::Overloaded)?;
        let idle = self.idle().pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => self.database.reader()?,
        };
        // A failed reader is dropped: its connection may belong to a file that lost its name.
        let result = read(&mut *reader)?;
        let mut idle = self.idle();
        // A burst of readers must not leave its connections open for ever.
        if idle.len() < IDLE_READERS {
            idle.push(reader);
        }
        Ok(result)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Box<dyn EventReader>>> {
        lock(&self.idle_readers)
    }
}

/// Returns the time in microseconds; 0 for a malformed time, which an audit of the log reports.
fn micros(recorded_at: &str) -> i64 {
    recorded_at.parse().map_or(0, |time: Timestamp| time.as_micros())
}

impl std::fmt::Debug for EventLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLog").field("log_id", &self.log_id()).field("head", &self.head.value()).finish()
    }
}
