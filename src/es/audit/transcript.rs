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

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::es::Hash;

/// The version of this form. A reader refuses every other version.
pub(super) const EXPORT_FORMAT: u64 = 1;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ExportHeader {
    pub(super) tally_export: u64,
    pub(super) log_id: Uuid,
    /// Position of the last event.
    pub(super) head: u64,
    /// Hash of the last event.
    pub(super) last_hash: Hash,
}

/// The line of a receipt.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReceiptLine {
    pub(super) idempotency_key: String,
    pub(super) command: Hash,
    pub(super) stream_id: Uuid,
    pub(super) version: u64,
    pub(super) position: u64,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndLine {
    pub(super) end: ExportEnd,
}

/// The figures of the last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportEnd {
    pub(super) events: u64,
    pub(super) receipts: u64,
    /// Covers the header and the receipts as well, which the hash chain of the events does not.
    pub(super) sha256: Hash,
}
