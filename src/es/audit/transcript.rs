//! The form of an export: JSON lines that hold a whole log.
//!
//! ```text
//! {"tally_export":1,"log_id":"…","head":2,"last_hash":"…"}                      the header
//! {"position":1,…,"hash":"…"}                                    each event, as the feed shows the event
//! {"idempotency_key":"…","command":"…","stream_id":"…","version":1,"position":1}     each receipt
//! {"end":{"events":2,"receipts":1,"sha256":"…"}}               SHA-256 of all bytes before this line
//! ```
//!
//! Read next: `export.rs`, which writes the lines; `import.rs`, which reads them.

use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, Error as ValueError};
use serde_json::Value;
use uuid::Uuid;

use crate::es::Hash;
use crate::es::log::sqlite::transcript::KeptReceipt;
use crate::es::log::store::Receipt;

/// The version of this form. A reader refuses every other version.
pub(super) const EXPORT_FORMAT: u64 = 1;

/// The first line.
#[derive(Debug)]
pub(super) struct ExportHeader {
    pub(super) log_id: Uuid,
    /// Position of the last event.
    pub(super) head: u64,
    /// Hash of the last event.
    pub(super) last_hash: Hash,
}

/// The figures of the last line.
#[derive(Debug)]
pub(super) struct ExportEnd {
    pub(super) events: u64,
    pub(super) receipts: u64,
    /// Covers the header and the receipts as well, which the hash chain of the events does not.
    pub(super) sha256: Hash,
}

// Read from a `Value` field by field: a derived reader for each line would take 30 KiB of a binary.

impl ExportHeader {
    pub(super) fn line(&self) -> String {
        let Self { log_id, head, last_hash } = self;
        // The format first, so that a reader of any version finds the field at once.
        format!(
            r#"{{"tally_export":{EXPORT_FORMAT},"log_id":"{log_id}","head":{head},"last_hash":"{last_hash}"}}"#
        )
    }

    pub(super) fn read(line: &Value) -> Result<Self, String> {
        Ok(Self {
            log_id: id(line, "log_id")?,
            head: number(line, "head")?,
            last_hash: hash(line, "last_hash")?,
        })
    }

    /// Returns the version of the form of the export.
    pub(super) fn format(line: &Value) -> Result<u64, String> {
        number(line, "tally_export")
    }
}

impl ExportEnd {
    pub(super) fn line(&self) -> String {
        let Self { events, receipts, sha256 } = self;
        format!(r#"{{"end":{{"events":{events},"receipts":{receipts},"sha256":"{sha256}"}}}}"#)
    }

    pub(super) fn read(line: &Value) -> Result<Self, String> {
        let end = &line["end"];
        Ok(Self {
            events: number(end, "events")?,
            receipts: number(end, "receipts")?,
            sha256: hash(end, "sha256")?,
        })
    }
}

pub(super) fn receipt_line(KeptReceipt { key, command, receipt }: &KeptReceipt) -> String {
    let Receipt { stream_id, version, position } = receipt;
    // A key is the one text that may need escapes.
    let (key, command) = (Value::from(key.as_str()), Hash(*command));
    format!(
        r#"{{"idempotency_key":{key},"command":"{command}","stream_id":"{stream_id}","version":{version},"position":{position}}}"#
    )
}

pub(super) fn read_receipt(line: &Value) -> Result<KeptReceipt, String> {
    let receipt = Receipt {
        stream_id: id(line, "stream_id")?,
        version: number(line, "version")?,
        position: number(line, "position")?,
    };
    Ok(KeptReceipt {
        key: text(line, "idempotency_key")?.to_owned(),
        command: hash(line, "command")?.0,
        receipt,
    })
}

#[inline(never)]
fn text<'l>(line: &'l Value, field: &str) -> Result<&'l str, String> {
    line[field].as_str().ok_or_else(|| format!("no text in the field {field}"))
}

#[inline(never)]
fn number(line: &Value, field: &str) -> Result<u64, String> {
    line[field].as_u64().ok_or_else(|| format!("no whole number in the field {field}"))
}

#[inline(never)]
fn id(line: &Value, field: &str) -> Result<Uuid, String> {
    Uuid::try_parse(text(line, field)?).map_err(|_| format!("no UUID in the field {field}"))
}

#[inline(never)]
fn hash(line: &Value, field: &str) -> Result<Hash, String> {
    let digits = BorrowedStrDeserializer::<ValueError>::new(text(line, field)?);
    Hash::deserialize(digits).map_err(|_| format!("no hash in the field {field}"))
}
