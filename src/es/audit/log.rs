//! Checks a whole log, event by event: what a clean bill of health would have to say.
//!
//! It reads the log from the first event to the last, in pages, each a read transaction of its
//! own: what is recorded never changes, so the pages are one history even while a writer goes on
//! behind them, and no long transaction keeps that writer's write-ahead log from being emptied.
//! Only SQLite's own check at the start reads the whole file in one go.
//!
//! Memory does not grow with the events, but with the streams: one state for each.
//!
//! **Invariant:** nothing is written, nothing is repaired. What was found is named, the first
//! [`MAX_FINDINGS`] of it.
//!
//! Read next: `backup.rs`, which verifies every copy it makes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;
use uuid::Uuid;

use crate::es::database_file::{Access, DatabaseFile};
use crate::es::known_kinds::{KnownKinds, Replay, Taken, unknown};
use crate::es::log::sqlite::file::{self, BUSY_TIMEOUT, FileKind, SCHEMA_VERSION};
use crate::es::log::sqlite::refusal::{self, unreadable, unusable};
use crate::es::log::sqlite::row::{EVENT_COLUMNS, event_of};
use crate::es::{Error, Hash, RecordedEvent, chain};
use crate::time::Timestamp;

/// Most findings that are named: one fault often shows in many places, and the first ones say
/// where it is.
pub const MAX_FINDINGS: usize = 20;

/// Rows that are read in one transaction: a few milliseconds of work.
const PAGE_ROWS: u32 = 1_000;

/// What a log looks like, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The identity of the log; none where it cannot be read.
    pub log_id: Option<Uuid>,
    /// Position of the last event, as the log says; the events up to it were checked.
    pub head: u64,
    /// Events that were read.
    pub events: u64,
    /// Streams that they belong to.
    pub streams: u64,
    /// Receipts that are kept for idempotency keys.
    pub receipts: u64,
    /// Snapshots that were compared with the replay.
    pub snapshots: u64,
    /// Hash of the last event that was read. Whoever keeps it elsewhere can tell any other history.
    pub last_hash: Hash,
    /// What is wrong, in the order in which it was found: at most [`MAX_FINDINGS`].
    pub findings: Vec<String>,
    /// Kinds, event types and forms that this build does not know, and how many events have each: at
    /// most [`MAX_FINDINGS`] names. A newer build or another program wrote them; nothing is damaged.
    pub unknown: BTreeMap<String, u64>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    fn is_full(&self) -> bool {
        self.findings.len() >= MAX_FINDINGS
    }

    fn not_known(&mut self, what: String) {
        if self.unknown.len() < MAX_FINDINGS || self.unknown.contains_key(&what) {
            *self.unknown.entry(what).or_default() += 1;
        }
    }

    fn found(&mut self, what: impl Into<String>) {
        if !self.is_full() {
            self.findings.push(what.into());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.log_id {
            Some(log_id) => writeln!(f, "log {log_id}")?,
            None => writeln!(f, "log without an identity")?,
        }
        writeln!(f, "{} events in {} streams, head {}", self.events, self.streams, self.head)?;
        writeln!(f, "{} receipts, {} snapshots compared", self.receipts, self.snapshots)?;
        writeln!(f, "last hash {}", self.last_hash)?;
        for (what, events) in &self.unknown {
            writeln!(
                f,
                "UNKNOWN: {what}, {events} events: a newer build or another program wrote them; nothing is damaged"
            )?;
        }
        for finding in &self.findings {
            writeln!(f, "WRONG: {finding}")?;
        }
        match self.findings.len() {
            0 => writeln!(f, "sound"),
            MAX_FINDINGS.. => writeln!(f, "not sound: {MAX_FINDINGS} findings, and no more were looked for"),
            count => writeln!(f, "not sound: {count} found"),
        }
    }
}

/// Checks the log in the SQLite file at `path`: the file, the schema with its triggers, positions
/// and versions without gaps, the hash chain, times, that every event is understood and lawful,
/// receipts, snapshots. It may be in use meanwhile; what is recorded after the start is not looked
/// at.
///
/// `kinds` are the kinds of aggregates that this build knows. Events of other kinds are checked as far as
/// possible without knowing them; see [`Report::unknown`].
///
/// # Errors
/// [`Error::Unusable`] when there is no such file or it is no log of this version,
/// [`Error::Storage`] when it cannot be read. What is wrong with a log is no error: see
/// [`Report::findings`].
pub fn verify(path: &Path, kinds: &KnownKinds) -> Result<Report, Error> {
    let file = DatabaseFile::existing(path)?;
    let connection = open(&file)?;
    let report = Report {
        log_id: None,
        head: 0,
        events: 0,
        streams: 0,
        receipts: 0,
        snapshots: 0,
        last_hash: Hash::ZERO,
        findings: Vec::new(),
        unknown: BTreeMap::new(),
    };
    let mut audit = Audit {
        connection: &connection,
        kinds,
        streams: HashMap::new(),
        previous: Previous { position: 0, hash: Some(Hash::ZERO), recorded_at: String::new() },
        report,
    };
    audit.all()?;
    Ok(audit.report)
}

/// Read-only: not even the write-ahead log is moved into the database.
fn open(file: &DatabaseFile) -> Result<Connection, Error> {
    let path = file.path();
    let refuse = |error: rusqlite::Error| unreadable(path, &error);
    let connection = file.connect(Access::Read).map_err(refuse)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    match file::kind_of(&connection).map_err(refuse)? {
        FileKind::Log { version: SCHEMA_VERSION } => Ok(connection),
        FileKind::Log { version } => Err(refusal::other_version(path, version)),
        FileKind::Empty => Err(unusable(path, "it is empty: there is no log in it")),
        FileKind::Foreign => Err(refusal::foreign(path)),
    }
}

struct Audit<'c> {
    connection: &'c Connection,
    kinds: &'c KnownKinds,
    streams: HashMap<Uuid, Stream>,
    previous: Previous,
    report: Report,
}

/// The event before the one that is looked at, as far as it could be read.
struct Previous {
    position: u64,
    hash: Option<Hash>,
    recorded_at: String,
}

struct Stream {
    version: u64,
    /// The kind of its first event.
    stream_type: String,
    /// None for a kind that is not known.
    replay: Option<Box<dyn Replay>>,
    /// Version of its snapshot when the stream was first seen, 0 without one.
    snapshot_version: u64,
}

impl Audit<'_> {
    fn all(&mut self) -> Result<(), Error> {
        let checks = [Self::file, Self::schema, Self::log, Self::receipts, Self::snapshots];
        for check in checks {
            match check(self) {
                // A page of the file that cannot be read ends one check, and is what it found.
                Err(Error::Corrupt(what)) => self.report.found(what),
                other => other?,
            }
            if self.report.is_full() {
                break;
            }
        }
        self.report.streams = self.streams.len() as u64;
        Ok(())
    }

    fn file(&mut self) -> Result<(), Error> {
        let sql = format!("PRAGMA integrity_check({MAX_FINDINGS})");
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let line: String = row.get(0)?;
            if line != "ok" {
                self.report.found(format!("the file is damaged: {}", line.replace('\n', " ")));
            }
        }
        Ok(())
    }

    fn schema(&mut self) -> Result<(), Error> {
        if let Some(what) = file::schema_fault(self.connection)? {
            self.report.found(format!("history was not defended: {what}"));
        }
        Ok(())
    }

    fn log(&mut self) -> Result<(), Error> {
        let sql = "SELECT log_id, head, (SELECT max(position) FROM events) FROM log";
        let (log_id, head, last): (String, i64, Option<i64>) = self
            .connection
            .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?
            .ok_or_else(|| {
                Error::Corrupt("the log has no identity and no head: its row is missing".into())
            })?;
        self.report.log_id = Uuid::try_parse(&log_id).ok();
        self.report.head = u64::try_from(head).unwrap_or(0);
        if self.report.log_id.is_none() {
            self.report.found(format!("the log's identity is no UUID: {log_id:?}"));
        }
        let last = last.unwrap_or(0);
        if last != head {
            self.report.found(format!("the head of the log is {head}, but the last event is {last}"));
        }
        self.events(last)
    }

    /// Events up to that position. Signed, because a damaged log may hold what a sound one cannot.
    fn events(&mut self, until: i64) -> Result<(), Error> {
        let mut after = i64::MIN;
        while let Some(last) = self.page(after, until)? {
            after = last;
        }
        Ok(())
    }

    /// The events after a position, and the position of the last of them.
    fn page(&mut self, after: i64, until: i64) -> Result<Option<i64>, Error> {
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM events
             WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT {PAGE_ROWS}"
        );
        let connection = self.connection;
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![after, until])?;
        let mut last = None;
        while let Some(row) = rows.next()? {
            if self.report.is_full() {
                return Ok(None);
            }
            last = Some(row.get(0)?);
            self.row(row)?;
        }
        Ok(last)
    }

    fn row(&mut self, row: &Row<'_>) -> Result<(), Error> {
        self.report.events += 1;
        match event_of(row) {
            Ok(event) => self.event(&event),
            Err(error) => {
                let position: i64 = row.get(0)?;
                self.report.found(format!("event {position} cannot be read: {error}"));
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
            self.report.found(format!("event {position} follows event {before}: there is a gap"));
        }
        // A chain is judged link by link: what follows a broken link hangs on the hash that is there.
        if self.previous.hash.is_some_and(|hash| chain(&hash, event) != event.hash) {
            self.report.found(format!(
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
        let canonical = Timestamp::from_str(time).is_ok_and(|parsed| parsed.to_string() == time);
        if !canonical {
            self.report.found(format!("event {position}: its time is malformed: {time:?}"));
        } else if *time < *self.previous.recorded_at {
            let before = &self.previous.recorded_at;
            self.report
                .found(format!("event {position}: its time {time} is before {before}, the time before it"));
        } else {
            time.clone_into(&mut self.previous.recorded_at);
        }
    }

    /// The event as the next of its stream.
    fn in_stream(&mut self, event: &RecordedEvent<'_>) -> Result<(), Error> {
        let stream = match self.streams.entry(event.stream_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let snapshot_version = snapshot_version(self.connection, event.stream_id)?;
                let stream_type = event.stream_type.to_owned();
                let replay = self.kinds.begin(&stream_type);
                new.insert(Stream { version: 0, stream_type, replay, snapshot_version })
            }
        };
        let in_stream = format_args!("event {}: in stream {}", event.position, event.stream_id).to_string();
        if event.version != stream.version + 1 {
            let before = stream.version;
            self.report.found(format!("{in_stream}, version {} follows version {before}", event.version));
        }
        if event.stream_type != stream.stream_type {
            let kind = event.stream_type;
            self.report.found(format!("{in_stream}, a stream of {:?} holds a {kind:?}", stream.stream_type));
        }
        stream.version = event.version;
        let event_type = event.event_type;
        match stream.replay.as_mut().map(|replay| replay.take(event)) {
            None => self.report.not_known(format!("the kind {:?}", event.stream_type)),
            Some(Taken::Lawful) => {}
            Some(Taken::Unlawful(why)) => {
                self.report.found(format!("{in_stream}, {event_type} cannot have happened: {why}"));
            }
            Some(Taken::NotRead(error)) => match unknown(event, &error) {
                Some(what) => {
                    self.report.not_known(format!("{what} ({event_type:?} of {:?})", event.stream_type));
                }
                None => self.report.found(format!("{in_stream}, {event_type} cannot be read: {error}")),
            },
        }
        if stream.version == stream.snapshot_version {
            self.snapshot(event.stream_id)?;
        }
        Ok(())
    }

    /// The stream's snapshot, where the replay has come to its version. Of another form it is of no
    /// use to anybody and does no harm; a newer one may have taken its place meanwhile.
    fn snapshot(&mut self, stream_id: Uuid) -> Result<(), Error> {
        let sql = "SELECT version, shape, state FROM snapshots WHERE stream_id = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let kept = statement.query_row([stream_id.to_string()], |row| {
            Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        });
        let Some((version, shape, state)) = kept.optional()? else {
            return Ok(());
        };
        let Some(stream) = self.streams.get_mut(&stream_id) else {
            return Ok(());
        };
        stream.snapshot_version = version;
        let is_of_use = version == stream.version && self.kinds.shape(&stream.stream_type) == Some(&*shape);
        let replayed = stream.replay.as_ref().filter(|_| is_of_use).and_then(|replay| replay.state());
        let Some(replayed) = replayed else {
            return Ok(());
        };
        self.report.snapshots += 1;
        if serde_json::from_str::<Value>(&state).ok() != Some(replayed) {
            self.report.found(format!(
                "the snapshot of stream {stream_id} at version {version} is not what its events say: delete it \
                 (DELETE FROM snapshots), it is made again"
            ));
        }
        Ok(())
    }

    /// Each receipt names an event that is there. It was written with it, in one transaction, so
    /// the log as it is now answers for the receipts as they are now.
    fn receipts(&mut self) -> Result<(), Error> {
        let mut after = String::new();
        while let Some(last) = self.receipts_page(&after)? {
            after = last;
        }
        Ok(())
    }

    fn receipts_page(&mut self, after: &str) -> Result<Option<String>, Error> {
        // Of a transfer, the receipt names the first event's version and the last event's position.
        let sql = format!(
            "SELECT idempotency_key, length(command) = 32 AND position <= (SELECT head FROM log) AND
                 (version = 0 OR EXISTS (SELECT 1 FROM events AS e WHERE e.stream_id = r.stream_id
                                         AND e.version = r.version AND e.position <= r.position))
             FROM receipts AS r WHERE idempotency_key > ?1 ORDER BY idempotency_key LIMIT {PAGE_ROWS}"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([after])?;
        let mut last = None;
        while let Some(row) = rows.next()? {
            let key: String = row.get(0)?;
            self.report.receipts += 1;
            if !row.get::<_, bool>(1)? {
                self.report.found(format!("the receipt of key {key:?} names an event that is not there"));
            }
            last = Some(key);
        }
        Ok(last.filter(|_| !self.report.is_full()))
    }

    fn snapshots(&mut self) -> Result<(), Error> {
        let sql = format!(
            "SELECT stream_id, version FROM snapshots AS s WHERE version > 0 AND NOT EXISTS
                 (SELECT 1 FROM events AS e WHERE e.stream_id = s.stream_id AND e.version = s.version)
             LIMIT {MAX_FINDINGS}"
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (stream_id, version): (String, i64) = (row.get(0)?, row.get(1)?);
            self.report.found(format!(
                "there is a snapshot of stream {stream_id} at version {version}, but no such event: delete it"
            ));
        }
        Ok(())
    }
}

fn snapshot_version(connection: &Connection, stream_id: Uuid) -> Result<u64, Error> {
    let mut statement = connection.prepare_cached("SELECT version FROM snapshots WHERE stream_id = ?1")?;
    let version = statement.query_row([stream_id.to_string()], |row| row.get(0)).optional()?;
    Ok(version.unwrap_or(0))
}
