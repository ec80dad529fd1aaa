//! Checkpoints beside the writer.
//!
//! Commits collect in the write-ahead log (WAL); a checkpoint copies their pages into the database
//! and syncs it. SQLite does so in the commit that makes the WAL long enough, and those pages lie all
//! over the file: some ten milliseconds, for which all commands of that time wait. Here a thread does it,
//! on a connection of its own, while the writer goes on.
//!
//! SQLite writes a WAL again from its beginning once all of it is copied and no connection reads it. Where
//! readers overlap, that moment never comes by itself, and the WAL grows without end. So the thread
//! makes the moment: at [`RESTART_BYTES`] it closes the readers' gate for the milliseconds of a
//! checkpoint. Readers of another process pass no gate; the WAL grows while such a reader stays, and is
//! cut back when the reader has left.
//!
//! **Invariant:** nothing depends on it. What is committed is durable in the WAL, so a checkpoint that
//! fails loses nothing, and the next one copies what it did not. But a failure is reported: without
//! checkpoints the WAL fills the disk.
//!
//! Threads: `checkpoint`, one for each writer.
//!
//! Read next: `sqlite.rs`, the writer.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use crate::es::Error;
use crate::es::database_file::DatabaseFile;
use crate::es::log::upkeep::LogUpkeep;

/// Pages between two checkpoints: a few thousand commands. SQLite's own 1000 would copy the pages that
/// many commits write over and over as often as they are written; four times as many take four
/// times as long to read at a start after a crash, some hundredths of a second.
const PAGES: usize = 4000;

/// Pages that a commit writes besides the one in the index for each of its events: the end of the
/// log, and its counter.
const PAGES_OF_A_COMMIT: usize = 3;

/// Pages of the WAL at which the writer itself lends a hand: 64 MiB. The checkpoint thread is hardly ever
/// so late.
pub(in crate::es) const LONGEST_WAL: i64 = 16_000;

/// Bytes of the WAL at which readers wait for a checkpoint: some seconds of commands at the highest rate,
/// so that readers wait for some milliseconds of each.
const RESTART_BYTES: u64 = 32 << 20;

/// Bytes of a page in the WAL, with its header.
const FRAME_BYTES: u64 = 4096 + 24;

/// Bytes that a WAL keeps when no commits come: a burst writes over them again instead of making the
/// file grow.
const IDLE_BYTES: u64 = 4 << 20;

/// Without a commit for this long, the WAL is cut back.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// How long a checkpoint waits for readers, each of which reads one page at most.
const READERS_PATIENCE: Duration = Duration::from_millis(500);

/// How long a checkpoint waits for the writer, and for readers of other processes.
const BUSY_TIMEOUT: Duration = Duration::from_millis(100);

/// The thread, and what wakes it.
#[derive(Debug)]
pub(in crate::es) struct Checkpointer {
    /// Taken when it is dropped, which ends the thread.
    due: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// About as many pages were committed since the last checkpoint.
    pages: usize,
}

impl Checkpointer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the thread cannot be started, or the connection refuses its settings.
    pub(in crate::es) fn start(
        connection: Connection,
        file: Arc<DatabaseFile>,
        upkeep: Arc<LogUpkeep>,
    ) -> Result<Self, Error> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let (due, signals) = sync_channel(1);
        let checkpoints = Checkpoints { connection, file, upkeep, restart_bytes: RESTART_BYTES };
        let thread = Builder::new()
            .name("checkpoint".into())
            .spawn(move || checkpoints.run(&signals))
            .map_err(|error| Error::Storage(format!("the checkpointing thread cannot start: {error}")))?;
        Ok(Self { due: Some(due), thread: Some(thread), pages: 0 })
    }

    /// Counts a commit of so many events. Waits for nothing.
    pub(in crate::es) fn committed(&mut self, events: usize) {
        self.pages += events + PAGES_OF_A_COMMIT;
        if self.pages >= PAGES
            && let Some(due) = &self.due
        {
            self.pages = 0;
            match due.try_send(()) {
                // Where a checkpoint is due already, one checkpoint serves both.
                Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
            }
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.due.take());
        // A panic of the thread was reported on stderr.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// What the thread works with.
struct Checkpoints {
    connection: Connection,
    file: Arc<DatabaseFile>,
    upkeep: Arc<LogUpkeep>,
    restart_bytes: u64,
}

/// How far a checkpoint goes, as SQLite names it.
#[derive(Clone, Copy)]
enum Mode {
    /// Copies what no reader needs, and waits for nothing.
    Passive,
    /// Copies everything, and lets the writer begin the WAL anew.
    Restart,
    /// The same, and cuts the file off.
    Truncate,
}

impl Checkpoints {
    fn run(&self, signals: &Receiver<()>) {
        loop {
            match signals.recv_timeout(IDLE_AFTER) {
                Ok(()) => self.copy(),
                Err(RecvTimeoutError::Timeout) => self.cut_back(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn copy(&self) {
        // The length of the file would not do: a WAL that was begun anew keeps its length, and every later
        // copy would make readers and the writer wait for nothing.
        if self.checkpoint(Mode::Passive) > self.restart_bytes {
            self.upkeep.readers.alone(READERS_PATIENCE, || self.checkpoint(Mode::Restart));
        }
    }

    /// Gives the space of a burst back once no commits come.
    fn cut_back(&self) {
        if self.file.bytes().write_ahead_log > IDLE_BYTES {
            self.upkeep.readers.alone(READERS_PATIENCE, || self.checkpoint(Mode::Truncate));
        }
    }

    /// Returns how many bytes of the WAL hold commits since it was last begun anew; 0 after a failure.
    fn checkpoint(&self, mode: Mode) -> u64 {
        let sql = match mode {
            Mode::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
            Mode::Restart => "PRAGMA wal_checkpoint(RESTART)",
            Mode::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
        };
        // The pragma's own word for "other connections were in the way" is a column, not an error; another
        // column has the number of frames.
        let frames = self.connection.query_row(sql, [], |row| row.get::<_, i64>(1));
        let ended = frames.as_ref().map(drop).or_else(|error| {
            let is_busy = matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
            );
            if is_busy { Ok(()) } else { Err(error.to_string()) }
        });
        self.upkeep.checkpointed(ended);
        frames.map_or(0, |frames| u64::try_from(frames).unwrap_or(0) * FRAME_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::es::tests::TempPath;
    use crate::es::{Database, SqliteDatabase};

    /// Readers that overlap, as `GET /events` of many clients: each leaves only after the next has entered.
    #[test]
    fn the_write_ahead_log_is_bounded_though_readers_overlap_without_a_gap() {
        let path = TempPath::new();
        let database = SqliteDatabase::open(&*path).unwrap();
        let writer = Connection::open(&*path).unwrap();
        writer.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        let file = Arc::new(DatabaseFile::existing(&path).unwrap());
        let upkeep = Arc::new(LogUpkeep::default());
        let connection = Connection::open(&*path).unwrap();
        let restart_bytes = 1 << 20;
        let checkpoints =
            Checkpoints { connection, file: Arc::clone(&file), upkeep: Arc::clone(&upkeep), restart_bytes };
        let stop = AtomicBool::new(false);
        let insert = "INSERT OR REPLACE INTO snapshots VALUES (?1, 1, '', ?2)";
        // Another text each time: SQLite does not write pages that stay the same.
        let write = |number: u8| {
            let text = char::from(b'a' + number % 26).to_string().repeat(64 << 10);
            writer.execute(insert, (number % 50, text)).unwrap();
        };
        let longest = std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut reader = database.reader().unwrap();
                    while !stop.load(Ordering::Relaxed) {
                        let pass = upkeep.readers.enter(Duration::from_secs(20)).unwrap();
                        reader.head().unwrap();
                        drop(pass);
                    }
                });
            }
            let mut longest = 0;
            for number in (0..200).cycle().take(400) {
                write(number);
                checkpoints.copy();
                longest = longest.max(file.bytes().write_ahead_log);
            }
            stop.store(true, Ordering::Relaxed);
            longest
        });
        // 26 MiB were written.
        assert!(longest < 4 * restart_bytes, "{longest} bytes");
        for number in 0..40 {
            write(number);
        }
        // The file keeps its length, but a commit after a restart makes no further restart due.
        assert!(checkpoints.checkpoint(Mode::Restart) > restart_bytes);
        writer.execute(insert, (0, "x")).unwrap();
        assert!(file.bytes().write_ahead_log > restart_bytes);
        assert!(checkpoints.checkpoint(Mode::Passive) < restart_bytes);
        checkpoints.cut_back();
        assert!(file.bytes().write_ahead_log <= IDLE_BYTES);
        assert_eq!((upkeep.failures(), upkeep.failure()), (0, None));
    }
}
