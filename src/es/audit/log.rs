//! The audit of a whole log, event by event.
//!
//! The audit reads the log from the first event to the last, in pages, each in a read transaction of its own.
//! Recorded events never change, so the pages are one history although a writer goes on meanwhile, and no
//! long transaction keeps the writer's write-ahead log from being flushed. Only the check of the storage at
//! the start reads everything in one transaction.
//!
//! Memory grows with the number of streams, one state for each, and not with the number of events.
//!
//! **Invariant:** an audit writes and repairs nothing. The report names the first [`MAX_FINDINGS`] faults.
//!
//! Read next: `backup.rs`, which verifies every copy.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;

use serde_json::Value;
use uuid::Uuid;

use super::report::{MAX_FINDINGS, Report};
use crate::es::database_file::DatabaseFile;
use crate::es::known_kinds::{KnownKinds, StreamReplay, Verdict, unknown};
use crate::es::log::inspection::Inspection;
use crate::es::log::sqlite::inspect::SqliteInspection;
use crate::es::log::store::Snapshot;
use crate::es::{Error, Hash, RecordedEvent, chain};
use crate::time::Timestamp;

/// Rows read in one transaction: a few milliseconds of work.
const PAGE_ROWS: u32 = 1_000;

/// Opens the SQLite file at `path` itself, with connections of its own, and checks the log: the file, the schema with its triggers, positions and
/// versions without gaps, the hash chain, times, every event, receipts, and snapshots. The log may be in use;
/// the audit ends at the event that was last when the audit began.
///
/// `kinds` are the kinds of aggregates that this build knows. Events of other kinds are checked as far as
/// possible without their code; see [`Report::unknown`].
///
/// # Errors
/// [`Error::Unusable`] when the file does not exist or is not a log of this version,
/// [`Error::Storage`] when the file cannot be read, [`Error::InvalidDefinition`] when `kinds` has a kind twice. A damaged log is not an error: see
/// [`Report::findings`].
pub fn verify(path: &Path, kinds: &KnownKinds) -> Result<Report, Error> {
    kinds.check()?;
    let file = DatabaseFile::existing(path)?;
    let log = SqliteInspection::open(&file)?;
    let mut audit = Audit {
        log: &log,
        kinds,
        streams: HashMap::new(),
        previous: Previous { position: 0, hash: Some(Hash::ZERO), recorded_at: String::new() },
        report: Report::EMPTY,
    };
    audit.all()?;
    Ok(audit.report)
}

struct Audit<'c> {
    log: &'c dyn Inspection,
    kinds: &'c KnownKinds,
    streams: HashMap<Uuid, AuditedStream>,
    previous: Previous,
    report: Report,
}

/// The event before the current event, as far as that event could be read.
struct Previous {
    position: u64,
    hash: Option<Hash>,
    recorded_at: String,
}

struct AuditedStream {
    version: u64,
    /// The kind of the first event.
    stream_type: String,
    /// None for an unknown kind.
    replay: Option<Box<dyn StreamReplay>>,
    /// Version of the snapshot when the audit met the stream, 0 without a snapshot.
    snapshot_version: u64,
}

impl Audit<'_> {
    fn all(&mut self) -> Result<(), Error> {
        let checks = [Self::storage, Self::schema, Self::log, Self::receipts, Self::stray_snapshots];
        for check in checks {
            match check(self) {
                // An unreadable part of the storage ends one check, and is the finding of that check.
                Err(Error::Corrupt(what)) => self.report.add_finding(what),
                other => other?,
            }
            if self.report.is_full() {
                break;
            }
        }
        // Counted at the end, also of an audit that stopped early.
        self.report.streams = self.streams.len() as u64;
        Ok(())
    }

    fn storage(&mut self) -> Result<(), Error> {
        let faults = self.log.storage_faults(MAX_FINDINGS)?;
        faults.into_iter().for_each(|fault| self.report.add_finding(fault));
        Ok(())
    }

    fn schema(&mut self) -> Result<(), Error> {
        if let Some(what) = self.log.schema_fault()? {
            self.report.add_finding(format!("history was not defended: {what}"));
        }
        Ok(())
    }

    fn log(&mut self) -> Result<(), Error> {
        let log = self.log.log()?.ok_or_else(|| {
            Error::Corrupt("the log has no identity and no head: its row is missing".into())
        })?;
        self.report.log_id = Uuid::try_parse(&log.log_id).ok();
        self.report.head = u64::try_from(log.head).unwrap_or(0);
        if self.report.log_id.is_none() {
            self.report.add_finding(format!("the log's identity is no UUID: {:?}", log.log_id));
        }
        if log.last != log.head {
            let what = format!("the head of the log is {}, but the last event is {}", log.head, log.last);
            self.report.add_finding(what);
        }
        // The last event, not the counter: with a wrong counter, the events are still checked.
        self.events(log.last)
    }

    fn events(&mut self, until: i64) -> Result<(), Error> {
        let log = self.log;
        // Below every position, because a damaged log can hold negative positions.
        let mut after = i64::MIN;
        while !self.report.is_full() {
            // Each page is a read transaction of its own.
            let last = log.events(after, until, PAGE_ROWS, &mut |position, event| {
                if self.report.is_full() {
                    return Ok(ControlFlow::Break(()));
                }
                self.row(position, event)?;
                Ok(ControlFlow::Continue(()))
            })?;
            let Some(last) = last else { break };
            after = last;
        }
        Ok(())
    }

    fn row(&mut self, position: i64, event: Result<RecordedEvent<'_>, String>) -> Result<(), Error> {
        self.report.events += 1;
        match event {
            Ok(event) => self.event(&event),
            Err(error) => {
                self.report.add_finding(format!("event {position} cannot be read: {error}"));
                // The next event has no hash to be judged by, and is not a second finding.
                self.previous.position = u64::try_from(position).unwrap_or(0);
                self.previous.hash = None;
                Ok(())
            }
        }
    }

    fn event(&mut self, event: &RecordedEvent<'_>) -> Result<(), Error> {
        let position = event.position;
        if position != self.previous.position + 1 {
            let before = self.previous.position;
            self.report.add_finding(format!("event {position} follows event {before}: there is a gap"));
        }
        // Each link of the chain is judged by the stored hash before, so one broken link is one finding.
        if self.previous.hash.is_some_and(|hash| chain(&hash, event) != event.hash) {
            self.report.add_finding(format!(
                "event {position}: its hash does not cover it and the events before: history was changed here"
            ));
        }
        self.time(event);
        self.previous.position = position;
        self.previous.hash = Some(event.hash);
        self.report.last_hash = event.hash;
        self.in_stream(event)
    }

    fn time(&mut self, event: &RecordedEvent<'_>) {
        let (position, time) = (event.position, event.recorded_at);
        // Times are compared as texts, so each must be in the one canonical form.
        let canonical = Timestamp::from_str(time).is_ok_and(|parsed| parsed.to_string() == time);
        if !canonical {
            self.report.add_finding(format!("event {position}: its time is malformed: {time:?}"));
        } else if *time < *self.previous.recorded_at {
            let before = &self.previous.recorded_at;
            self.report.add_finding(format!(
                "event {position}: its time {time} is before {before}, the time before it"
            ));
        } else {
            time.clone_into(&mut self.previous.recorded_at);
        }
    }

    fn in_stream(&mut self, event: &RecordedEvent<'_>) -> Result<(), Error> {
        let stream = match self.streams.entry(event.stream_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let snapshot = self.log.snapshot(event.stream_id)?;
                // The version alone stays in memory: the states of all streams would fill the memory.
                let snapshot_version = snapshot.map_or(0, |snapshot| snapshot.version);
                let stream_type = event.stream_type.to_owned();
                let replay = self.kinds.begin(&stream_type);
                new.insert(AuditedStream { version: 0, stream_type, replay, snapshot_version })
            }
        };
        let in_stream = format_args!("event {}: in stream {}", event.position, event.stream_id).to_string();
        // A wrong version or kind does not stop the replay: later findings of the stream may tell more.
        if event.version != stream.version + 1 {
            let before = stream.version;
            self.report
                .add_finding(format!("{in_stream}, version {} follows version {before}", event.version));
        }
        if event.stream_type != stream.stream_type {
            let kind = event.stream_type;
            self.report
                .add_finding(format!("{in_stream}, a stream of {:?} holds a {kind:?}", stream.stream_type));
        }
        stream.version = event.version;
        let event_type = event.event_type;
        match stream.replay.as_mut().map(|replay| replay.apply(event)) {
            // Neither damaged nor judged: this build has no code for the kind.
            None => self.report.add_unknown(format!("the kind {:?}", event.stream_type)),
            Some(Verdict::Lawful) => {}
            Some(Verdict::Unlawful(why)) => {
                self.report.add_finding(format!("{in_stream}, {event_type} cannot have happened: {why}"));
            }
            Some(Verdict::Unreadable(error)) => match unknown(event, &error) {
                Some(what) => {
                    self.report.add_unknown(format!("{what} ({event_type:?} of {:?})", event.stream_type));
                }
                None => self.report.add_finding(format!("{in_stream}, {event_type} cannot be read: {error}")),
            },
        }
        if stream.version == stream.snapshot_version {
            self.snapshot(event.stream_id)?;
        }
        Ok(())
    }

    /// Compares the snapshot of a stream with the replay, which has reached the version of the snapshot.
    fn snapshot(&mut self, stream_id: Uuid) -> Result<(), Error> {
        let Some(Snapshot { version, shape, state }) = self.log.snapshot(stream_id)? else {
            return Ok(());
        };
        let Some(stream) = self.streams.get_mut(&stream_id) else {
            return Ok(());
        };
        // The writer may have replaced the snapshot by a newer snapshot meanwhile.
        stream.snapshot_version = version;
        // A snapshot of another shape is never read, and so does no harm.
        let is_comparable =
            version == stream.version && self.kinds.shape(&stream.stream_type) == Some(&*shape);
        let replayed = stream.replay.as_ref().filter(|_| is_comparable).and_then(|replay| replay.state());
        let Some(replayed) = replayed else {
            return Ok(());
        };
        self.report.snapshots += 1;
        if serde_json::from_str::<Value>(&state).ok() != Some(replayed) {
            self.report.add_finding(format!(
                "the snapshot of stream {stream_id} at version {version} is not what its events say: delete it \
                 (DELETE FROM snapshots), it is made again"
            ));
        }
        Ok(())
    }

    /// Checks that each receipt names recorded events. A receipt is written in the transaction of its events,
    /// so the events of every receipt are there, also of a receipt that is newer than the audit.
    fn receipts(&mut self) -> Result<(), Error> {
        let mut after = String::new();
        while !self.report.is_full() {
            let page = self.log.receipts(&after, PAGE_ROWS)?;
            self.report.receipts += page.len() as u64;
            for (key, _) in page.iter().filter(|(_, names_events)| !names_events) {
                self.report
                    .add_finding(format!("the receipt of key {key:?} names an event that is not there"));
            }
            let Some((last, _)) = page.into_iter().last() else { break };
            after = last;
        }
        Ok(())
    }

    fn stray_snapshots(&mut self) -> Result<(), Error> {
        for (stream_id, version) in self.log.stray_snapshots(MAX_FINDINGS)? {
            self.report.add_finding(format!(
                "there is a snapshot of stream {stream_id} at version {version}, but no such event: delete it"
            ));
        }
        Ok(())
    }
}
