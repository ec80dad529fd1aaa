//! The event store in memory, for the tests of a program that embeds this crate.
//!
//! The store keeps the rules of `schema.sql` that a program can meet: positions and versions without gaps,
//! valid JSON, keys used once, and a transaction that is kept whole or not at all. The store has no rules
//! against other clients, because no other client can reach the memory.
//!
//! **Invariant:** readers see committed events only. An append that breaks a rule rolls the transaction back.
//!
//! Read next: `sqlite/mod.rs`, the store that survives a restart.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::de::IgnoredAny;
use uuid::Uuid;

use super::owned_event::OwnedEvent;
use super::store::{Database, EventReader, EventStore, Fingerprint, Head, Receipt, Snapshot, Visitor};
use super::upkeep::LogUpkeep;
use crate::es::{Error, Hash, RecordedEvent};
use crate::lock::lock;

/// A log in memory. Clones share the log, so a test can keep a clone, drop executor and log, and open the
/// same log again.
///
/// ```
/// use tally::es::{EventLog, Executor, MemoryDatabase};
///
/// # fn main() -> Result<(), tally::es::Error> {
/// let log = EventLog::open(MemoryDatabase::default())?;
/// let executor = Executor::start(log.clone(), |_| ())?;
/// assert_eq!(log.head().value(), 0);
/// # drop(executor);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryDatabase {
    log_id: Uuid,
    shared: Arc<SharedRows>,
}

impl Default for MemoryDatabase {
    /// An empty log with an identity of its own.
    fn default() -> Self {
        Self { log_id: Uuid::now_v7(), shared: Arc::default() }
    }
}

#[derive(Debug, Default)]
struct SharedRows {
    committed: Mutex<StoredRows>,
    has_writer: AtomicBool,
}

impl SharedRows {
    // A panic under the lock cannot leave half a transaction: `commit` alone changes rows, and never panics.
    fn committed(&self) -> MutexGuard<'_, StoredRows> {
        lock(&self.committed)
    }
}

/// The committed rows, or the rows that a transaction adds.
#[derive(Debug, Default)]
struct StoredRows {
    events: Vec<Arc<OwnedEvent>>,
    streams: HashMap<Uuid, Vec<Arc<OwnedEvent>>>,
    receipts: HashMap<String, (Fingerprint, Receipt)>,
    snapshots: HashMap<Uuid, Snapshot>,
}

impl StoredRows {
    fn add(&mut self, event: Arc<OwnedEvent>) {
        self.streams.entry(event.as_recorded().stream_id).or_default().push(Arc::clone(&event));
        self.events.push(event);
    }

    /// The events of a stream after a version.
    fn stream(&self, stream_id: Uuid, after: u64) -> impl Iterator<Item = &Arc<OwnedEvent>> {
        let events = self.streams.get(&stream_id).into_iter().flatten();
        events.skip_while(move |event| event.as_recorded().version <= after)
    }

    fn length_of(&self, stream_id: Uuid) -> u64 {
        self.streams.get(&stream_id).map_or(0, |events| events.len() as u64)
    }
}

impl Database for MemoryDatabase {
    fn log_id(&self) -> Uuid {
        self.log_id
    }

    fn writer(&self, _: Arc<LogUpkeep>) -> Result<Box<dyn EventStore>, Error> {
        // `swap` looks and claims in a single step: of two starts at the same moment, one is refused.
        if self.shared.has_writer.swap(true, Ordering::AcqRel) {
            let what = "the log in memory has a writer already: stop that executor first";
            return Err(Error::Unusable(what.into()));
        }
        Ok(Box::new(MemoryStore { shared: Arc::clone(&self.shared), transaction: None }))
    }

    fn reader(&self) -> Result<Box<dyn EventReader>, Error> {
        Ok(Box::new(MemoryReader { shared: Arc::clone(&self.shared) }))
    }
}

struct MemoryStore {
    shared: Arc<SharedRows>,
    transaction: Option<StoredRows>,
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.shared.has_writer.store(false, Ordering::Release);
    }
}

impl MemoryStore {
    fn open(&mut self) -> Result<&mut StoredRows, Error> {
        self.transaction.as_mut().ok_or_else(|| Error::Storage("no transaction is open".into()))
    }

    fn check_next(&mut self, event: &RecordedEvent<'_>) -> Result<(), Error> {
        // A clone, since `open` borrows the store while the guard lives.
        let shared = Arc::clone(&self.shared);
        // The transaction's rows continue the committed rows.
        let (committed, staged) = (shared.committed(), self.open()?);
        let head = (committed.events.len() + staged.events.len()) as u64;
        let version = committed.length_of(event.stream_id) + staged.length_of(event.stream_id);
        let is_json = |text| serde_json::from_str::<IgnoredAny>(text).is_ok();
        let refused = if event.position != head + 1 {
            "events are append-only: position must be head + 1"
        } else if event.version != version + 1 {
            "events are append-only: version must be the next of its stream"
        } else if !is_json(event.data) || !is_json(event.metadata) {
            "data and metadata must be JSON"
        } else {
            return Ok(());
        };
        Err(Error::Corrupt(refused.into()))
    }
}

impl EventStore for MemoryStore {
    fn begin(&mut self) -> Result<Head, Error> {
        // Also abandons a transaction that was never committed.
        self.transaction = Some(StoredRows::default());
        let committed = self.shared.committed();
        let Some(last) = committed.events.last() else {
            return Ok(Head { position: 0, hash: Hash::ZERO, recorded_at: String::new() });
        };
        let last = last.as_recorded();
        Ok(Head { position: last.position, hash: last.hash, recorded_at: last.recorded_at.to_owned() })
    }

    fn events_after(&mut self, stream_id: Uuid, version: u64, visit: &mut Visitor<'_>) -> Result<(), Error> {
        let mut events: Vec<_> = self.shared.committed().stream(stream_id, version).cloned().collect();
        events.extend(self.open()?.stream(stream_id, version).cloned());
        show_all(&events, visit)
    }

    fn append(&mut self, event: &RecordedEvent<'_>) -> Result<(), Error> {
        // A caller that overlooks the error must not commit the rest, as in `schema.sql`.
        self.check_next(event).inspect_err(|_| self.transaction = None)?;
        self.open()?.add(Arc::new(OwnedEvent::from(event)));
        Ok(())
    }

    fn receipt(&mut self, key: &str) -> Result<Option<(Fingerprint, Receipt)>, Error> {
        // A command sees the receipts of earlier commands in its batch.
        let staged = self.open()?.receipts.get(key).copied();
        Ok(staged.or_else(|| self.shared.committed().receipts.get(key).copied()))
    }

    fn keep_receipt(&mut self, key: &str, command: &Fingerprint, receipt: &Receipt) -> Result<(), Error> {
        if self.receipt(key)?.is_some() {
            self.transaction = None;
            return Err(Error::Corrupt("receipts are append-only: the key is taken".into()));
        }
        self.open()?.receipts.insert(key.to_owned(), (*command, *receipt));
        Ok(())
    }

    fn snapshot(&mut self, stream_id: Uuid) -> Result<Option<Snapshot>, Error> {
        let staged = self.open()?.snapshots.get(&stream_id).cloned();
        Ok(staged.or_else(|| self.shared.committed().snapshots.get(&stream_id).cloned()))
    }

    fn keep_snapshot(&mut self, stream_id: Uuid, snapshot: &Snapshot) -> Result<(), Error> {
        self.open()?.snapshots.insert(stream_id, snapshot.clone());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.open()?;
        let Some(StoredRows { events, receipts, snapshots, .. }) = self.transaction.take() else {
            return Ok(());
        };
        // One lock for all rows: a reader sees the whole transaction or no row of the transaction.
        let mut committed = self.shared.committed();
        events.into_iter().for_each(|event| committed.add(event));
        committed.receipts.extend(receipts);
        committed.snapshots.extend(snapshots);
        Ok(())
    }

    fn recover(&mut self) -> Result<(), Error> {
        self.transaction = None;
        Ok(())
    }
}

struct MemoryReader {
    shared: Arc<SharedRows>,
}

impl EventReader for MemoryReader {
    fn head(&mut self) -> Result<u64, Error> {
        Ok(self.shared.committed().events.len() as u64)
    }

    fn read(&mut self, after: u64, limit: u32, visit: &mut Visitor<'_>) -> Result<(), Error> {
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        let page: Vec<_> =
            self.shared.committed().events.iter().skip(after).take(limit as usize).cloned().collect();
        show_all(&page, visit)
    }

    fn read_back(&mut self, before: u64, limit: u32, visit: &mut Visitor<'_>) -> Result<(), Error> {
        let count = usize::try_from(before.saturating_sub(1)).unwrap_or(usize::MAX);
        let page: Vec<_> =
            self.shared.committed().events.iter().take(count).rev().take(limit as usize).cloned().collect();
        show_all(&page, visit)
    }

    fn read_stream(
        &mut self,
        stream_id: Uuid,
        after: u64,
        limit: u32,
        visit: &mut Visitor<'_>,
    ) -> Result<(), Error> {
        let page: Vec<_> =
            self.shared.committed().stream(stream_id, after).take(limit as usize).cloned().collect();
        show_all(&page, visit)
    }
}

/// Shows events without a lock: `visit` may take long, or use the log.
fn show_all(events: &[Arc<OwnedEvent>], visit: &mut Visitor<'_>) -> Result<(), Error> {
    for event in events {
        if let ControlFlow::Break(()) = visit(&event.as_recorded())? {
            break;
        }
    }
    Ok(())
}
