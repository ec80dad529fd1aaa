//! A new log from an export: the same identity, events, receipts and hashes.
//!
//! **Invariant:** a file under the requested name is the exported log, complete, synced and verified. The log is
//! built in a [`Scratch`] directory and named at the end, so a failure leaves no file; an existing file is never
//! overwritten.
//!
//! Read next: `transcript.rs`, the form of the lines.

use std::io::{BufRead, Read};
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::backup::{name_file, refuse_existing};
use super::log::verify;
use super::report::Report;
use super::transcript::{EXPORT_FORMAT, ExportEnd, ExportHeader, read_receipt};
use crate::es::database_file::{DatabasePath, Scratch};
use crate::es::log::sqlite::transcript::NewLog;
use crate::es::{Error, Hash, KnownKinds, RecordedEvent, chain};

/// The longest line, in bytes: an event of the services has 64 KiB, an event of an embedder may have more.
const MAX_LINE_BYTES: u64 = 64 << 20;
/// Rows of one transaction: their changed pages stay in SQLite's cache.
const ROWS_PER_SAVE: u64 = 10_000;
/// Files of a former database, which SQLite would apply to the new one.
const LEFTOVERS: [&str; 2] = ["-wal", "-journal"];

/// Builds the log that [`export`](crate::es::export) has written to `lines`, in a new SQLite file at `to`, and
/// verifies the log as [`verify`] does. Memory is bounded by the longest line.
///
/// # Errors
/// [`Error::Unusable`] when `to` exists, or when `lines` are not a whole export: the text names the line, and the
/// position of the event, at which the lines differ from the exported log. [`Error::Corrupt`] when the log of
/// the lines is not sound by the rules of `kinds`. [`Error::Storage`] when a line cannot be read or the file cannot
/// be written. After an error `to` does not exist.
pub fn import(lines: &mut dyn BufRead, to: &Path, kinds: &KnownKinds) -> Result<Report, Error> {
    refuse_existing(to)?;
    let to = &DatabasePath::resolve(to)?;
    for leftover in LEFTOVERS.map(|suffix| to.beside(suffix)) {
        refuse_existing(&leftover)?;
    }
    let scratch = Scratch::beside(to).map_err(|error| Error::unusable(to, &error.to_string()))?;
    let partial = scratch.file("import.sqlite3");
    let mut import = Import { lines: Numbered::of(lines), events: 0, receipts: 0, last_hash: Hash::ZERO };
    // Before the file: an export that is none costs nothing.
    let header = import.header()?;
    let mut log = NewLog::create(&partial, header.log_id)?;
    import.all(&header, &mut log)?;
    log.close()?;
    let report = verify(&partial, kinds)?;
    // The chain may be whole and the history still unlawful: the domain has the last word.
    if let Some(finding) = report.findings.first() {
        return Err(Error::Corrupt(format!("the log of the export is not sound: {finding}")));
    }
    // The figures of the database itself, beside the figures of the lines.
    if (report.head, report.last_hash, report.receipts) != (header.head, header.last_hash, import.receipts) {
        return Err(Error::Storage(
            "the new log differs from its export: the file was changed meanwhile".into(),
        ));
    }
    name_file(&partial, to)?;
    Ok(report)
}

struct Import<'l> {
    lines: Numbered<'l>,
    events: u64,
    receipts: u64,
    last_hash: Hash,
}

impl Import<'_> {
    fn header(&mut self) -> Result<ExportHeader, Error> {
        if !self.lines.next()? {
            return Err(Error::Unusable(
                "the export is empty: give the file that `tally export` wrote".into(),
            ));
        }
        // The version first: another version may have other fields.
        let line = self.lines.value("the header of an export")?;
        let tally_export = self.lines.checked(ExportHeader::format(&line))?;
        if tally_export != EXPORT_FORMAT {
            return Err(self.lines.wrong(&format!(
                "expected an export of format {EXPORT_FORMAT}, found format {tally_export}: import it with the \
                 version of Tally that knows the format"
            )));
        }
        self.lines.checked(ExportHeader::read(&line))
    }

    fn all(&mut self, header: &ExportHeader, log: &mut NewLog) -> Result<(), Error> {
        while self.events < header.head {
            self.next(&format!("event {}", self.events + 1))?;
            self.event(log)?;
        }
        if self.last_hash != header.last_hash {
            return Err(self.lines.wrong(&format!(
                "the hash of the last event is {}, and the header says {}",
                self.last_hash, header.last_hash
            )));
        }
        loop {
            // The digest of the last line covers the lines before it, not itself.
            let before = self.lines.digest();
            self.next("a receipt, or the last line")?;
            if self.lines.line.starts_with(b"{\"end\"") {
                return self.end(before);
            }
            self.receipt(log)?;
        }
    }

    fn next(&mut self, expected: &str) -> Result<(), Error> {
        if self.lines.next()? {
            return Ok(());
        }
        self.lines.number += 1;
        Err(self.lines.wrong(&format!("expected {expected}, found the end: the export was cut off")))
    }

    fn event(&mut self, log: &mut NewLog) -> Result<(), Error> {
        let expected = self.events + 1;
        let event: RecordedEvent<'_> = serde_json::from_slice(&self.lines.line)
            .map_err(|error| self.lines.wrong(&format!("expected event {expected}, found: {error}")))?;
        if event.position != expected {
            let found = event.position;
            return Err(self.lines.wrong(&format!("expected event {expected}, found event {found}")));
        }
        // Altered in any field, or in its hash: the chain of the lines before does not lead here.
        if chain(&self.last_hash, &event) != event.hash {
            return Err(self
                .lines
                .wrong(&format!("event {expected} was altered: its hash does not cover it")));
        }
        log.append(&event).map_err(|error| self.lines.wrong(&format!("event {expected}: {error}")))?;
        (self.last_hash, self.events) = (event.hash, expected);
        self.save(log)
    }

    fn receipt(&mut self, log: &mut NewLog) -> Result<(), Error> {
        let kept = self.lines.checked(read_receipt(&self.lines.value("a receipt")?))?;
        log.keep(&kept).map_err(|error| self.lines.wrong(&format!("receipt {:?}: {error}", kept.key)))?;
        self.receipts += 1;
        self.save(log)
    }

    fn save(&self, log: &mut NewLog) -> Result<(), Error> {
        if (self.events + self.receipts).is_multiple_of(ROWS_PER_SAVE) { log.save() } else { Ok(()) }
    }

    /// Checks the last line; `sha256` is the digest of the lines before.
    fn end(&mut self, sha256: Hash) -> Result<(), Error> {
        let end = self.lines.checked(ExportEnd::read(&self.lines.value("the last line")?))?;
        let found = ExportEnd { events: self.events, receipts: self.receipts, sha256 };
        if (end.events, end.receipts) != (found.events, found.receipts) {
            return Err(self.lines.wrong(&format!(
                "expected {} events and {} receipts before this line, found {} and {}",
                end.events, end.receipts, found.events, found.receipts
            )));
        }
        if end.sha256 != found.sha256 {
            return Err(self
                .lines
                .wrong("the header or a receipt was altered: the digest does not cover them"));
        }
        if self.lines.next()? {
            return Err(self.lines.wrong("expected the end, found another line"));
        }
        Ok(())
    }
}

/// The lines, counted from 1, and the digest of the lines read.
struct Numbered<'l> {
    lines: &'l mut dyn BufRead,
    number: u64,
    line: Vec<u8>,
    digest: Sha256,
}

impl<'l> Numbered<'l> {
    fn of(lines: &'l mut dyn BufRead) -> Self {
        Self { lines, number: 0, line: Vec::new(), digest: Sha256::new() }
    }

    /// Reads the next line; false at the end.
    fn next(&mut self) -> Result<bool, Error> {
        self.line.clear();
        // One byte more than the longest line tells a longer line.
        let read = (&mut *self.lines).take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut self.line);
        let count = read.map_err(|error| Error::Storage(format!("the export cannot be read: {error}")))?;
        if count == 0 {
            return Ok(false);
        }
        self.number += 1;
        if count as u64 > MAX_LINE_BYTES {
            return Err(self.wrong(&format!("expected at most {MAX_LINE_BYTES} bytes in a line")));
        }
        self.digest.update(&self.line);
        Ok(true)
    }

    fn digest(&self) -> Hash {
        Hash(self.digest.clone().finalize().into())
    }

    /// Reads the current line as JSON.
    fn value(&self, expected: &str) -> Result<Value, Error> {
        serde_json::from_slice(&self.line)
            .map_err(|error| self.wrong(&format!("expected {expected}, found: {error}")))
    }

    /// Returns what was read from the current line, or the error of the line.
    fn checked<T>(&self, read: Result<T, String>) -> Result<T, Error> {
        read.map_err(|why| self.wrong(&why))
    }

    /// Returns the error for the current line.
    #[cold]
    #[inline(never)]
    fn wrong(&self, what: &str) -> Error {
        Error::Unusable(format!("line {} of the export: {what}", self.number))
    }
}
