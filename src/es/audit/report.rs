//! The result of an audit of a log.
//!
//! Read next: `log.rs`, the audit.

use std::collections::BTreeMap;
use std::fmt;

use uuid::Uuid;

use crate::es::Hash;

/// Maximum number of findings in a report. One fault often shows in many places, and the first findings
/// locate the fault.
pub const MAX_FINDINGS: usize = 20;

/// The contents of a log in figures, and the faults that were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The identity of the log; None if the identity cannot be read.
    pub log_id: Option<Uuid>,
    /// Position of the last event, as the log's counter says.
    pub head: u64,
    /// Events read.
    pub events: u64,
    /// Streams of these events.
    pub streams: u64,
    /// Receipts kept for idempotency keys.
    pub receipts: u64,
    /// Snapshots compared with the replay.
    pub snapshots: u64,
    /// Hash of the last event read. An operator who keeps the hash elsewhere can recognise another history.
    pub last_hash: Hash,
    /// The faults, in the order in which they were found: at most [`MAX_FINDINGS`].
    pub findings: Vec<String>,
    /// Kinds, event types and forms that this build does not know, and the number of events of each: at
    /// most [`MAX_FINDINGS`] names. A newer build or another program wrote the events; no event is damaged.
    pub unknown: BTreeMap<String, u64>,
}

impl Report {
    /// The report of an audit that has read no event yet.
    pub(super) const EMPTY: Self = Self {
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

    /// Returns whether the audit found no fault.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.findings.len() >= MAX_FINDINGS
    }

    pub(super) fn add_unknown(&mut self, what: String) {
        // Another program may have written any number of types: listed types are counted on, further types
        // are left out.
        if self.unknown.len() < MAX_FINDINGS || self.unknown.contains_key(&what) {
            *self.unknown.entry(what).or_default() += 1;
        }
    }

    pub(super) fn add_finding(&mut self, what: impl Into<String>) {
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
