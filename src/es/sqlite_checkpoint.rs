//! Checkpoints beside the writer.
//!
//! Commits collect in the write-ahead log (WAL); a checkpoint copies their pages into the database
//! and syncs it. SQLite does so in the commit that makes the WAL long enough, and those pages lie all
//! over the file: some ten milliseconds, which all commands that come meanwhile wait for. Here a thread
//! does it, on a connection of its own, while the writer goes on.
//!
//! The WAL is written again from its beginning once all of it was copied and nobody reads it. A pause
//! between two commits is enough for that. Where there is none, the WAL grows to [`LONGEST_WAL`], and
//! then the writer itself copies the little that is left.
//!
//! **Invariant:** nothing depends on it. What is committed is durable in the WAL, so a checkpoint that
//! fails loses nothing, and the next one copies what it did not.
//!
//! Read next: `sqlite.rs`, the writer.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;

use super::Error;

/// Pages between two checkpoints: a few thousand commands. SQLite's own 1000 would copy the pages that
/// many commits write over and over as often as they are written; four times as many take four
/// times as long to read at a start after a crash, some hundredths of a second.
const PAGES: usize = 4000;

/// Pages that a commit writes besides the one in the index for each of its events: the end of the
/// log, and its counter.
const PAGES_OF_A_COMMIT: usize = 3;

/// Pages of the WAL at which the writer lends a hand: 64 MiB. That is once in some hundred commits at
/// the highest rate; below it, a WAL hardly ever has more than a quarter of that.
pub(super) const LONGEST_WAL: i64 = 16_000;

/// The thread, and what it is told by.
#[derive(Debug)]
pub(super) struct Checkpointer {
    /// Taken when it is dropped, which ends the thread.
    due: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// About so many pages were committed since the last checkpoint.
    pages: usize,
}

impl Checkpointer {
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(connection: Connection) -> Result<Self, Error> {
        let (due, signals) = sync_channel(1);
        let thread = Builder::new()
            .name("checkpoint".into())
            .spawn(move || checkpoint_when_due(&connection, &signals))
            .map_err(|error| Error::Storage(format!("the checkpointing thread cannot start: {error}")))?;
        Ok(Self { due: Some(due), thread: Some(thread), pages: 0 })
    }

    /// Counts a commit of so many events. Waits for nobody.
    pub(super) fn committed(&mut self, events: usize) {
        self.pages += events + PAGES_OF_A_COMMIT;
        if self.pages >= PAGES
            && let Some(due) = &self.due
        {
            self.pages = 0;
            // Where one is due already, that one will do.
            let _ = due.try_send(());
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.due.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn checkpoint_when_due(connection: &Connection, signals: &Receiver<()>) {
    for () in signals {
        // PASSIVE waits neither for readers nor for the writer, and they do not wait for it.
        let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    }
}
