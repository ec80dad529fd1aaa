//! Lesson 4: a log with several writers, and a follower that must not miss an event.
//!
//! The log works like a table with a sequence: a transaction draws its position, and a commit shows the event to
//! readers. The lesson begins with a mistake in the log and another in the follower; `just lesson 4` shows what each
//! leads to.
//!
//! Read next: `docs/course/04-the-log-and-its-feed.md`.

use std::collections::BTreeMap;

/// A log: the committed events, by position.
#[derive(Debug, Default)]
pub struct Log {
    last_position: u64,
    committed: BTreeMap<u64, String>,
}

/// An open transaction, which appends one event. Dropped before [`Log::commit`], the transaction is rolled back.
#[derive(Debug)]
pub struct Transaction {
    event: String,
}

impl Log {
    /// Opens a transaction. Several may be open at once.
    pub fn begin(&mut self, event: &str) -> Transaction {
        Transaction { event: event.to_owned() }
    }

    /// Commits a transaction: from now on, readers see the event.
    pub fn commit(&mut self, transaction: Transaction) {
        // The next number and the event become visible in one step, so the numbers are in commit order.
        self.last_position += 1;
        self.committed.insert(self.last_position, transaction.event);
    }

    /// Returns the committed events after a position, in order, as `GET /events?after=` does.
    pub fn after(&self, position: u64) -> Vec<(u64, String)> {
        self.committed.range(position + 1..).map(|(position, event)| (*position, event.clone())).collect()
    }
}

/// A reader that follows a log, page by page.
#[derive(Debug, Default)]
pub struct Follower {
    /// The position of the last event that the follower took; 0 before the first.
    pub checkpoint: u64,
    /// The events that the follower took.
    pub seen: Vec<String>,
}

/// A page lacks the event that follows the checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub struct Gap {
    /// The position that must come next.
    pub expected: u64,
    /// The position that came.
    pub found: u64,
}

impl Follower {
    /// Takes the events of a page, which was asked for after the checkpoint.
    ///
    /// # Errors
    /// [`Gap`] when an event is missing. The events before the gap are taken, and no others.
    pub fn take(&mut self, page: &[(u64, String)]) -> Result<(), Gap> {
        for (position, event) in page {
            let expected = self.checkpoint + 1;
            if *position != expected {
                return Err(Gap { expected, found: *position });
            }
            self.seen.push(event.clone());
            self.checkpoint = *position;
        }
        Ok(())
    }
}
