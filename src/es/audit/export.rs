//! A log as JSON lines: for another database, another tool, or a diff.
//!
//! The log may be in use. The export has the events up to the head that was found at the start, and the
//! receipts of their commands: what was acknowledged before the start is in the export.
//!
//! **Invariant:** an export that ends without an error is a whole log. The hash chain is checked on the way, so
//! a damaged log has no export.
//!
//! Read next: `transcript.rs`, the form of the lines; `import.rs`, the way back.

use std::fmt;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::transcript::{ExportEnd, ExportHeader, receipt_line};
use crate::es::database_file::DatabaseFile;
use crate::es::log::inspection::Inspection;
use crate::es::log::sqlite::inspect::SqliteInspection;
use crate::es::log::sqlite::transcript::ReceiptRows;
use crate::es::{Error, Hash, RecordedEvent, chain};

/// Rows read in one transaction: a few milliseconds of work.
const PAGE_ROWS: u32 = 1_000;

/// What an export holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The identity of the log.
    pub log_id: Uuid,
    /// Position of the last event.
    pub head: u64,
    /// Hash of the last event.
    pub last_hash: Hash,
    /// Receipts kept for idempotency keys.
    pub receipts: u64,
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log_id, head, last_hash, receipts } = self;
        write!(f, "exported log {log_id}: {head} events, {receipts} receipts, last hash {last_hash}")
    }
}

/// Writes the log in the SQLite file at `from` to `out` as JSON lines; see [`import`](crate::es::import). The
/// log may be in use. Memory is bounded by the largest event. Snapshots are not exported: replays make them again.
///
/// # Errors
/// [`Error::Unusable`] when `from` is not a log, [`Error::Corrupt`] when an event is damaged or cannot be a
/// line of JSON, [`Error::Storage`] when the file cannot be read or `out` cannot be written. After an error
/// the written lines are not an export; the last line is missing.
pub fn export(from: &Path, out: &mut dyn Write) -> Result<Exported, Error> {
    let file = DatabaseFile::existing(from)?;
    let log = SqliteInspection::open(&file)?;
    let (log_id, head) = identity(&log)?;
    let mut lines = Lines { out, digest: Sha256::new(), line: Vec::new() };
    // In the header too, so that a reader knows the goal before the first event.
    let last_hash = last_hash(&log, head)?;
    lines.json(ExportHeader { log_id, head, last_hash }.line())?;
    write_events(&log, head, &mut lines)?;
    // After the events: a receipt names an event that a reader has seen.
    let receipts = write_receipts(&ReceiptRows::open(&file, head)?, &mut lines)?;
    let sha256 = Hash(lines.digest.clone().finalize().into());
    lines.json(ExportEnd { events: head, receipts, sha256 }.line())?;
    lines.out.flush().map_err(|error| unwritten(&error))?;
    Ok(Exported { log_id, head, last_hash, receipts })
}

/// Returns the log's identity and head.
fn identity(log: &SqliteInspection) -> Result<(Uuid, u64), Error> {
    let found = log.log()?.ok_or_else(|| Error::Corrupt("the row of the log is missing".into()))?;
    let log_id =
        Uuid::try_parse(&found.log_id).map_err(|_| Error::Corrupt("its log_id is no UUID".into()))?;
    let head = u64::try_from(found.head).map_err(|_| Error::Corrupt("its head is negative".into()))?;
    Ok((log_id, head))
}

fn last_hash(log: &SqliteInspection, head: u64) -> Result<Hash, Error> {
    let mut hash = Hash::ZERO;
    each_event(log, head.saturating_sub(1), head, &mut |event| {
        hash = event.hash;
        Ok(())
    })?;
    Ok(hash)
}

fn write_events(log: &SqliteInspection, head: u64, lines: &mut Lines<'_>) -> Result<(), Error> {
    let (mut before, mut position) = (Hash::ZERO, 0);
    each_event(log, 0, head, &mut |event| {
        if event.position != position + 1 || chain(&before, event) != event.hash {
            return Err(damaged(event.position, "its hash does not cover it and the events before"));
        }
        (before, position) = (event.hash, event.position);
        lines.event(event)
    })?;
    if position == head { Ok(()) } else { Err(damaged(position + 1, "it is missing")) }
}

/// Shows the events after a position and up to another, page by page.
fn each_event(
    log: &SqliteInspection,
    after: u64,
    until: u64,
    show: &mut dyn FnMut(&RecordedEvent<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    // Positions are SQLite's integers.
    let [mut after, until] = [after, until].map(|position| i64::try_from(position).unwrap_or(i64::MAX));
    // Each page is a read transaction of its own, so that a writer can flush its write-ahead log.
    while let Some(last) = log.events(after, until, PAGE_ROWS, &mut |position, event| {
        show(&event.map_err(|why| Error::Corrupt(format!("event {position}: {why}")))?)?;
        Ok(ControlFlow::Continue(()))
    })? {
        after = last;
    }
    Ok(())
}

#[cold]
#[inline(never)]
fn damaged(position: u64, why: &str) -> Error {
    Error::Corrupt(format!("event {position}: {why}: verify the log, and export a backup"))
}

fn write_receipts(rows: &ReceiptRows, lines: &mut Lines<'_>) -> Result<u64, Error> {
    let (mut after, mut count) = (String::new(), 0);
    loop {
        let page = rows.page(&after, PAGE_ROWS)?;
        count += page.len() as u64;
        for receipt in &page {
            lines.json(receipt_line(receipt))?;
        }
        let Some(last) = page.into_iter().last() else { return Ok(count) };
        after = last.key;
    }
}

/// The lines, and the digest of the lines so far.
struct Lines<'o> {
    out: &'o mut dyn Write,
    digest: Sha256,
    line: Vec<u8>,
}

impl Lines<'_> {
    fn event(&mut self, event: &RecordedEvent<'_>) -> Result<(), Error> {
        self.line.clear();
        event.write_json(&mut self.line);
        // Another program's type names or formatted JSON may need an escape, which would change the text that the
        // hash covers.
        let is_same =
            serde_json::from_slice::<RecordedEvent<'_>>(&self.line).is_ok_and(|read| read == *event);
        if !is_same || self.line.contains(&b'\n') {
            return Err(Error::Corrupt(format!(
                "event {} does not fit into one line of JSON as it was stored: make a backup instead",
                event.position
            )));
        }
        self.write()
    }

    fn json(&mut self, line: String) -> Result<(), Error> {
        self.line = line.into_bytes();
        self.write()
    }

    fn write(&mut self) -> Result<(), Error> {
        self.line.push(b'\n');
        self.digest.update(&self.line);
        self.out.write_all(&self.line).map_err(|error| unwritten(&error))
    }
}

#[cold]
#[inline(never)]
fn unwritten(error: &std::io::Error) -> Error {
    Error::Storage(format!("the export cannot be written: {error}"))
}
