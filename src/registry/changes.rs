//! The instances that came and went, for the log and for the console.
//!
//! **Invariant:** memory is bounded however many instances come and go: the log gets the first changes of a
//! storm and the number of the others.
//!
//! Read next: `registry/journal.rs`, which logs the changes.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use serde::Serialize;

use super::instance::Instance;
use crate::time::Timestamp;

/// Number of departures that answers show. A person looks at the last few; at 2.5 KiB each, the list adds at
/// most 50 KiB to an answer.
pub const MAX_DEPARTED: usize = 20;
/// Number of changes that wait for the log. A site of three services has a handful at a start; the log needs
/// no more lines of a storm.
const MAX_UNLOGGED: usize = 20;

/// A change of the lease table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The instance that came or went.
    pub instance: Arc<Instance>,
    /// The kind of the change.
    pub kind: ChangeKind,
    /// The wall-clock time of the change.
    pub at: Timestamp,
}

/// The kind of a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The instance is new.
    Registered,
    /// The instance registered again under its id; the earlier registration.
    Replaced(Arc<Instance>),
    /// The instance ended its lease.
    Deregistered,
    /// The lease ended without a heartbeat.
    Expired,
}

/// The reason why an instance is gone, in the form of the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // As in [`ChangeKind`].
pub enum Departure {
    Deregistered,
    Expired,
}

impl Change {
    /// Returns the reason why the instance is gone; `None` for an instance that lives.
    pub fn departure(&self) -> Option<Departure> {
        match self.kind {
            ChangeKind::Registered | ChangeKind::Replaced(_) => None,
            ChangeKind::Deregistered => Some(Departure::Deregistered),
            ChangeKind::Expired => Some(Departure::Expired),
        }
    }
}

/// The last changes of a lease table.
#[derive(Debug, Default)]
pub struct Changes {
    departed: VecDeque<Change>,
    unlogged: Unlogged,
    expired: u64,
}

/// The changes that the log lacks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unlogged {
    /// The first changes, at most 20.
    pub changes: Vec<Change>,
    /// The number of changes after the first.
    pub left_out: u64,
}

impl Changes {
    /// Records a change.
    pub(super) fn record(&mut self, change: Change) {
        self.expired += u64::from(change.kind == ChangeKind::Expired);
        if change.departure().is_some() {
            if self.departed.len() == MAX_DEPARTED {
                self.departed.pop_front();
            }
            self.departed.push_back(change.clone());
        }
        // A full list counts only: a storm of registrations must not grow the memory.
        if self.unlogged.changes.len() < MAX_UNLOGGED {
            self.unlogged.changes.push(change);
        } else {
            self.unlogged.left_out += 1;
        }
    }

    /// Returns the last [`MAX_DEPARTED`] instances that deregistered or expired, the earliest first.
    pub fn departed(&self) -> Vec<Change> {
        self.departed.iter().cloned().collect()
    }

    /// Returns the number of leases that expired.
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// Takes the changes since the last call.
    pub fn take_unlogged(&mut self) -> Unlogged {
        mem::take(&mut self.unlogged)
    }
}
