//! The thread that flushes the write-ahead log (WAL) beside the writer.
//!
//! Commits collect in the WAL; a flush copies their pages into the database and syncs the database. By
//! default SQLite flushes within the commit that makes the WAL long enough. The pages lie all over the
//! file, so all commands of that moment would wait for some ten milliseconds. This thread flushes on a
//! connection of its own, while the writer goes on.
//!
//! SQLite writes the WAL from the beginning again once all pages are copied and no connection reads the
//! WAL. The flusher therefore closes the readers' gate for the milliseconds of a flush ([`WalLimit`] has the
//! sizes).
//!
//! **Invariant:** no commit depends on a flush. Commits are durable in the WAL, so a failed flush loses no
//! event, and the next flush copies the same pages. But a failure is reported: without flushes the WAL
//! fills the disk.
//!
//! Read next: `writer.rs`, which wakes this thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::wal_thresholds::{FRAME_BYTES, WalLimit};
use crate::es::Error;
use crate::es::database_file::DatabaseFile;
use crate::es::log::upkeep::LogUpkeep;
use crate::watch::Watch;

/// Pages that a commit writes besides one index page per event: the end of the log, and its counter.
const PAGES_OF_A_COMMIT: u64 = 3;

/// Time between two looks for commits. The WAL is cut back when a look finds no commit since the look before.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Milliseconds that a flush waits for readers to leave. A reader reads one page of events at most.
const READERS_PATIENCE: Duration = Duration::from_millis(500);

/// Seconds that the writer waits for a restart of the WAL: longer than a flush waits for readers.
const WRITER_PATIENCE: Duration = Duration::from_secs(2);

/// Multiple of a vain wait for which the writer does not wait again: a reader that stays in the WAL costs
/// commits a tenth of their time at most.
const WRITER_PAUSE: u32 = 9;

/// Milliseconds that a flush waits for the writer, and for readers of other processes.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);

/// The writer's handle of the thread. Dropping the handle ends the thread and waits for the end.
#[derive(Debug)]
pub(super) struct WalFlusher {
    /// None while the handle is dropped: the closed channel ends the thread.
    due: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    limit: WalLimit,
    /// Estimated pages in the commits since the last flush.
    pages: u64,
    shared: Arc<Shared>,
    /// After a vain wait, the moment from which the writer may wait again.
    resume_at: Option<Instant>,
}

/// The state that the writer and the thread share: the writer's commits, and the restarts of the WAL that the
/// writer waits for, each with a number.
#[derive(Debug)]
struct Shared {
    commits: AtomicU64,
    requested: AtomicU64,
    /// The number of the last restart that was tried.
    tried: Watch,
    /// Whether a reader prevented that restart.
    is_prevented: AtomicBool,
}

impl Shared {
    fn start() -> Arc<Self> {
        let [commits, requested] = [(); 2].map(|()| AtomicU64::new(0));
        Arc::new(Self { commits, requested, tried: Watch::at(0), is_prevented: AtomicBool::new(false) })
    }
}

impl WalFlusher {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the thread cannot be started, or the connection refuses its settings.
    pub(super) fn start(
        connection: Connection,
        limit: WalLimit,
        file: Arc<DatabaseFile>,
        upkeep: Arc<LogUpkeep>,
    ) -> Result<Self, Error> {
        connection.busy_timeout(LOCK_PATIENCE)?;
        // Room for one signal: a signal during a flush makes the next flush due, and a second adds no work.
        let (due, signals) = sync_channel(1);
        let shared = Shared::start();
        let flushes = Flushes { connection, limit, file, upkeep, shared: Arc::clone(&shared) };
        let thread = Builder::new()
            .name("wal-flusher".into())
            .spawn(move || flushes.run(&signals))
            .map_err(|error| Error::Storage(format!("the WAL flusher's thread cannot start: {error}")))?;
        let (due, thread) = (Some(due), Some(thread));
        Ok(Self { due, thread, limit, pages: 0, shared, resume_at: None })
    }

    /// Counts a commit, after which the WAL file has `wal_bytes`. Waits for a flush only near the limit.
    pub(super) fn count_commit(&mut self, events: u64, wal_bytes: u64) {
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        self.pages += events + PAGES_OF_A_COMMIT;
        let is_urgent = wal_bytes > self.limit.urgent_bytes();
        if is_urgent && self.resume_at.is_none_or(|at| at <= Instant::now()) {
            self.restart();
        } else if self.pages >= self.limit.flush_pages() {
            self.make_due();
        }
    }

    /// Stops the writer until the WAL begins again. Between two commits of a busy writer, the flusher hardly
    /// ever gets the lock that a restart needs.
    fn restart(&mut self) {
        let begun = Instant::now();
        let number = self.shared.requested.fetch_add(1, Ordering::SeqCst) + 1;
        self.make_due();
        let is_tried = self.shared.tried.wait_for(number, WRITER_PATIENCE) >= number;
        let is_done = is_tried && !self.shared.is_prevented.load(Ordering::SeqCst);
        // The writer goes on beside a reader that stays, and the WAL grows.
        self.resume_at = (!is_done).then(|| Instant::now() + WRITER_PAUSE * begun.elapsed());
    }

    fn make_due(&mut self) {
        self.pages = 0;
        match self.due.as_ref().map(|due| due.try_send(())) {
            // A full channel has a flush due already, which copies the last commit as well.
            None | Some(Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(()))) => {}
        }
    }
}

impl Drop for WalFlusher {
    fn drop(&mut self) {
        drop(self.due.take());
        // A panic of the thread was reported on stderr.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// The state of the thread.
struct Flushes {
    connection: Connection,
    limit: WalLimit,
    file: Arc<DatabaseFile>,
    upkeep: Arc<LogUpkeep>,
    shared: Arc<Shared>,
}

/// How far a flush goes, as SQLite names the modes.
#[derive(Clone, Copy)]
enum Mode {
    /// Copies the pages that no reader needs, and waits for no connection.
    Passive,
    /// Copies all pages, and lets the writer begin the WAL again.
    Restart,
    /// Like `Restart`, and cuts the file to zero bytes.
    Truncate,
}

/// The result of a flush.
struct Flushed {
    /// Bytes of the WAL that hold commits since the WAL last began; 0 after a failure.
    wal_bytes: u64,
    /// Whether no other connection prevented a part of the flush.
    has_ended: bool,
}

impl Flushes {
    fn run(&self, signals: &Receiver<()>) {
        let mut seen = 0;
        loop {
            match signals.recv_timeout(IDLE_AFTER) {
                Ok(()) => self.copy(),
                // Signals are rare at a low rate of commits: time without a signal does not mean idle.
                Err(RecvTimeoutError::Timeout) => {
                    let commits = self.shared.commits.load(Ordering::Relaxed);
                    if std::mem::replace(&mut seen, commits) == commits {
                        self.cut_back();
                    }
                }
                // The writer has stopped. SQLite flushes the rest when the last connection closes.
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn copy(&self) {
        // Read before the flush: a restart that is requested during the flush stays for the next flush.
        let requested = self.shared.requested.load(Ordering::SeqCst);
        // Most pages are copied before the gate closes, so readers wait for the rest alone. The length of the
        // file does not matter here: a WAL that began again keeps the length of the file.
        let copied = self.flush(Mode::Passive);
        if copied.wal_bytes > self.limit.restart_bytes() || requested > self.shared.tried.value() {
            // Overlapping readers would keep SQLite from a restart for ever. Readers of another process pass
            // no gate: the WAL grows while such a reader stays, and is cut back when the reader has left.
            let restarted = self.upkeep.readers.alone(READERS_PATIENCE, || self.flush(Mode::Restart));
            let is_prevented = restarted.is_none_or(|flushed| !flushed.has_ended);
            self.shared.is_prevented.store(is_prevented, Ordering::SeqCst);
        }
        // After `is_prevented`: the writer reads the flag once this number has come.
        self.shared.tried.raise(requested);
    }

    /// Returns the disk space of a burst after the burst.
    fn cut_back(&self) {
        if self.file.bytes().write_ahead_log > self.limit.idle_bytes() {
            // Truncation locks the writer out, so the copy of the pages comes before it.
            self.flush(Mode::Passive);
            self.upkeep.readers.alone(READERS_PATIENCE, || self.flush(Mode::Truncate));
        }
    }

    fn flush(&self, mode: Mode) -> Flushed {
        let sql = match mode {
            Mode::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
            Mode::Restart => "PRAGMA wal_checkpoint(RESTART)",
            Mode::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
        };
        // The pragma reports a conflict with another connection in a column, not as an error; the next column
        // has the number of frames, or -1.
        let flushed = self.connection.query_row(sql, [], |row| {
            let frames = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
            Ok(Flushed { wal_bytes: frames * FRAME_BYTES, has_ended: row.get::<_, i64>(0)? == 0 })
        });
        self.upkeep.record_flush(flushed.as_ref().map(drop).or_else(|error| {
            let is_busy = matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
            );
            // A conflict is not a failure: the next flush copies the same pages.
            if is_busy { Ok(()) } else { Err(error.to_string()) }
        }));
        flushed.unwrap_or(Flushed { wal_bytes: 0, has_ended: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::es::fixtures::TempPath;
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
        let limit = WalLimit::of(2 << 20).unwrap();
        let shared = Shared::start();
        let flushes =
            Flushes { connection, limit, file: Arc::clone(&file), upkeep: Arc::clone(&upkeep), shared };
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
                flushes.copy();
                longest = longest.max(file.bytes().write_ahead_log);
            }
            stop.store(true, Ordering::Relaxed);
            longest
        });
        // 26 MiB were written.
        assert!(longest < 2 * (2 << 20), "{longest} bytes");
        for number in 0..40 {
            write(number);
        }
        // The file keeps its length, but a commit after a restart makes no further restart due.
        assert!(flushes.flush(Mode::Restart).wal_bytes > limit.restart_bytes());
        writer.execute(insert, (0, "x")).unwrap();
        assert!(file.bytes().write_ahead_log > limit.restart_bytes());
        assert!(flushes.flush(Mode::Passive).wal_bytes < limit.restart_bytes());
        flushes.cut_back();
        assert!(file.bytes().write_ahead_log <= limit.idle_bytes());
        assert_eq!((upkeep.failures(), upkeep.failure()), (0, None));
    }
}
