//! Fixtures for the tests of the crate: a log in memory, feeds of the log, and temporary files.
//!
//! The log numbers, stamps and chains events as the store does, and a test can damage the log on purpose.
//!
//! Read next: `testing.rs`, the tools for the tests of embedders.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use uuid::Uuid;

use crate::es::{Feed, FeedError, Hash, MAX_PAGE, Page, RecordedEvent, chain};
use crate::watch::Watch;

/// A recorded event that owns its texts.
#[derive(Clone, Debug)]
pub(crate) struct Owned {
    pub(crate) position: u64,
    pub(crate) stream_id: Uuid,
    pub(crate) version: u64,
    pub(crate) event_type: String,
    pub(crate) data: String,
    pub(crate) recorded_at: String,
    pub(crate) hash: Hash,
}

impl Owned {
    fn event(&self) -> RecordedEvent<'_> {
        RecordedEvent {
            position: self.position,
            event_id: Uuid::from_u128(self.position.into()),
            stream_id: self.stream_id,
            stream_type: "account",
            version: self.version,
            event_type: &self.event_type,
            schema_version: 1,
            data: &self.data,
            metadata: "{}",
            recorded_at: &self.recorded_at,
            hash: self.hash,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) log_id: Uuid,
    pub(crate) events: Vec<Owned>,
    versions: HashMap<Uuid, u64>,
    hash: Hash,
}

impl Log {
    pub(crate) fn new(log_id: u128) -> Self {
        Self {
            log_id: Uuid::from_u128(log_id),
            events: Vec::new(),
            versions: HashMap::new(),
            hash: Hash::ZERO,
        }
    }

    /// Appends one event to a stream. Event n is recorded n milliseconds into 2026.
    pub(crate) fn append(&mut self, stream: u128, event_type: &str, data: &str) -> u64 {
        let stream_id = Uuid::from_u128(stream);
        let version = self.versions.entry(stream_id).or_insert(0);
        *version += 1;
        let position = self.events.len() as u64 + 1;
        let (minute, second) = (position / 60_000, position / 1000 % 60);
        let mut owned = Owned {
            position,
            stream_id,
            version: *version,
            event_type: event_type.to_owned(),
            data: data.to_owned(),
            recorded_at: format!(
                "2026-01-01T{:02}:{:02}:{second:02}.{:03}000Z",
                minute / 60,
                minute % 60,
                position % 1000
            ),
            hash: Hash::ZERO,
        };
        owned.hash = chain(&self.hash, &owned.event());
        self.hash = owned.hash;
        self.events.push(owned);
        position
    }

    fn page(&self, after: u64, limit: u32) -> Page {
        let mut json = format!(r#"{{"log_id":"{}","events":["#, self.log_id).into_bytes();
        let events = self.events.iter().filter(|event| event.position > after).take(limit as usize);
        for (index, owned) in events.enumerate() {
            if index > 0 {
                json.push(b',');
            }
            owned.event().write_json(&mut json);
        }
        let head = self.events.last().map_or(0, |event| event.position);
        json.extend_from_slice(format!(r#"],"head":{head}}}"#).as_bytes());
        Page { json }
    }
}

/// A feed over a [`Log`] to which the test appends. The feed notes each requested position.
#[derive(Clone, Debug)]
pub(crate) struct LogFeed {
    pub(crate) log: Arc<Mutex<Log>>,
    pub(crate) head: Arc<Watch>,
    pub(crate) asked: Arc<Mutex<Vec<u64>>>,
}

impl LogFeed {
    pub(crate) fn new(log: Log) -> Self {
        let head = Arc::new(Watch::at(log.events.len() as u64));
        Self { log: Arc::new(Mutex::new(log)), head, asked: Arc::default() }
    }

    pub(crate) fn append(&self, stream: u128, event_type: &str, data: &str) -> u64 {
        let position = self.log.lock().unwrap().append(stream, event_type, data);
        self.head.raise(position);
        position
    }
}

/// A feed whose full pages are made beforehand, for measuring readers alone.
#[cfg_attr(not(feature = "services"), allow(dead_code))] // The read side measures with it.
#[derive(Clone, Debug)]
pub(crate) struct PreparedFeed {
    pages: HashMap<u64, Page>,
    log: LogFeed,
}

#[cfg_attr(not(feature = "services"), allow(dead_code))] // The read side measures with it.
impl LogFeed {
    pub(crate) fn prepared(self) -> PreparedFeed {
        let log = self.log.lock().unwrap();
        let head = log.events.len() as u64;
        let pages =
            (0..head).step_by(MAX_PAGE as usize).map(|after| (after, log.page(after, MAX_PAGE))).collect();
        drop(log);
        PreparedFeed { pages, log: self }
    }
}

impl Feed for PreparedFeed {
    fn next_page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        match self.pages.get(&after) {
            Some(page) if limit == MAX_PAGE => Ok(page.clone()),
            _ => self.log.next_page(after, limit, wait),
        }
    }
}

impl Feed for LogFeed {
    fn next_page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        self.asked.lock().unwrap().push(after);
        // No longer than an `EventLog`: a projector that is dropped waits for the answer.
        self.head.wait_for(after + 1, wait.min(Duration::from_millis(250)));
        Ok(self.log.lock().unwrap().page(after, limit))
    }
}

/// A file name in the temporary directory. Dropping the value removes the file, and SQLite's files beside
/// the file.
#[derive(Debug)]
pub(crate) struct TempPath(std::path::PathBuf);

impl TempPath {
    pub(crate) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("tally-test-{}.sqlite3", Uuid::now_v7())))
    }
}

impl std::ops::Deref for TempPath {
    type Target = std::path::Path;

    fn deref(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for TempPath {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut name = self.0.clone().into_os_string();
            name.push(suffix);
            let _ = std::fs::remove_file(name);
        }
    }
}
