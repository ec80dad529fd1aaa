//! The answer to a command, and the figures of a commit.
//!
//! **Invariant:** a [`Receipt`] stands for recorded events. A command without events has no receipt.
//!
//! Read next: `executor.rs`, which returns the answers.

use std::time::Duration;

use uuid::Uuid;

use crate::es::log::store::Receipt;

/// A command was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// The command's events were recorded now.
    Recorded(Receipt),
    /// The command was recorded before, under the same idempotency key. The receipt is the first receipt.
    Replayed(Receipt),
    /// The command decided on no events, and nothing was recorded. As after a rejection, the command's
    /// idempotency keys stay free: when a client repeats the command, the command decides anew.
    Unchanged {
        /// The stream that the command names.
        stream_id: Uuid,
        /// The version at which the command found the stream; 0 for a stream without events.
        version: u64,
        /// The end of the log at that moment. Rows at this position show the state that the command found.
        position: u64,
    },
}

impl Execution {
    /// Returns the receipt of a command that recorded events, now or before.
    pub fn receipt(&self) -> Option<&Receipt> {
        match self {
            Self::Recorded(receipt) | Self::Replayed(receipt) => Some(receipt),
            Self::Unchanged { .. } => None,
        }
    }

    /// Returns the stream that the command names.
    pub fn stream_id(&self) -> Uuid {
        self.place().0
    }

    /// Returns the version of the stream after the command.
    pub fn version(&self) -> u64 {
        self.place().1
    }

    /// Returns the position at which a read model shows the effect of the command.
    pub fn position(&self) -> u64 {
        self.place().2
    }

    fn place(&self) -> (Uuid, u64, u64) {
        match *self {
            Self::Recorded(receipt) | Self::Replayed(receipt) => {
                (receipt.stream_id, receipt.version, receipt.position)
            }
            Self::Unchanged { stream_id, version, position } => (stream_id, version, position),
        }
    }
}

/// How long each step of one command took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From the submission until the writer began the command.
    pub queue: Duration,
    /// Loading the aggregates, the decision, and staging the events in the transaction.
    pub decide: Duration,
    /// From the decision until the events were durable: the other commands of the batch, and the sync.
    pub sync: Duration,
}

/// The figures of one commit, for metrics.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// Commands answered after the commit, rejected commands included.
    pub commands: usize,
    /// Events made durable by the commit.
    pub events: u64,
    /// Time that the storage took to make the events durable.
    pub sync: Duration,
}
