//! Connections that read: a small pool, since a query takes microseconds and a connection costs
//! memory and two files.
//!
//! While the projector does not commit, a connection keeps its transaction, and its snapshot, from one query
//! to the next. A commit ends the snapshot: an old snapshot must neither be shown nor keep SQLite from
//! reusing the write-ahead log.
//!
//! **Invariant:** a query sees every commit reported by [`ReadDatabase::follow_commit`] before the query
//! began; and an idle connection holds no snapshot older than the last report.
//!
//! Read next: `place.rs`, the file.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::place::Place;
use super::problems::{RETRY_AFTER, STORAGE_FAILED};
use crate::es::{CommitPhase, DatabaseFile, Displaced};
use crate::http::{Problem, problems};
use crate::lock::{lock, wait_while};

/// Concurrent queries for each core. Queries wait for the processor alone, so a few
/// more than there are cores keep all cores busy.
const READERS_PER_CORE: usize = 2;
/// Concurrent queries, at most, since each connection has files and memory.
const MAX_READERS: usize = 32;
/// How long a query waits for a connection, in which thousands of queries end.
const PATIENCE: Duration = Duration::from_secs(2);
/// Page cache of a connection, in KiB, allocated as needed: 100 000 accounts fit.
const CACHE_KIB: i64 = 16 << 10;
/// Compiled statements to keep: more than all queries use together.
const STATEMENTS: usize = 32;
/// Time after a commit from which on snapshots are kept again. In a steady stream of commits, a snapshot
/// would keep each commit from flushing the write-ahead log.
const IDLE_AFTER: Duration = Duration::from_millis(50);

/// The read database, for queries.
#[derive(Debug)]
pub(super) struct ReadDatabase {
    pool: Mutex<ReaderPool>,
    place: Place,
    returned: Condvar,
    /// The number of calls of [`ReadDatabase::follow_commit`].
    commits: AtomicU64,
    is_committing: AtomicBool,
    started: Instant,
    /// The time of the last commit, in microseconds after `started`.
    last_commit_micros: AtomicU64,
}

#[derive(Debug)]
struct ReaderPool {
    idle: Vec<Reader>,
    /// The number of further queries that may begin now.
    free: usize,
    /// The number of waiting queries.
    waiting: usize,
}

#[derive(Debug)]
struct Reader {
    db: Connection,
    /// While the transaction is open: the number of commits it contains, at least.
    snapshot: Option<u64>,
}

impl Reader {
    fn release(&mut self) -> rusqlite::Result<()> {
        match self.snapshot.take() {
            Some(_) => self.db.execute_batch("COMMIT"),
            None => Ok(()),
        }
    }
}

impl ReadDatabase {
    /// Makes a pool for the database in `file`, which a projector holds open.
    pub(super) fn new(file: Arc<DatabaseFile>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let free = (cores * READERS_PER_CORE).min(MAX_READERS);
        Self {
            place: Place::of(file),
            pool: Mutex::new(ReaderPool { idle: Vec::new(), free, waiting: 0 }),
            returned: Condvar::new(),
            commits: AtomicU64::new(0),
            is_committing: AtomicBool::new(false),
            started: Instant::now(),
            last_commit_micros: AtomicU64::new(0),
        }
    }

    /// Reads with one statement, on a connection from the pool.
    ///
    /// # Errors
    /// 503 when no connection becomes free in time, or the database fails.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Problem> {
        self.with_reader(|reader| {
            self.refresh(reader)?;
            read(&reader.db)
        })
    }

    /// Reads with several statements, which all see the same rows.
    ///
    /// # Errors
    /// As [`ReadDatabase::read`].
    pub(super) fn read_snapshot<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Problem> {
        self.with_reader(|reader| {
            self.refresh(reader)?;
            // The kept transaction shows the same rows to all statements already.
            if reader.snapshot.is_some() {
                return read(&reader.db);
            }
            let snapshot = reader.db.unchecked_transaction()?;
            read(&snapshot)
        })
    }

    /// Ends the snapshots of idle connections, and keeps no new ones during the commit. The projector calls
    /// this before and after each commit.
    pub(super) fn follow_commit(&self, phase: CommitPhase) {
        // A commit becomes visible long before its end, while SQLite flushes the write-ahead log. A query
        // that sees the new rows must not be followed by one on an older snapshot.
        self.is_committing.store(phase == CommitPhase::Begins, Ordering::SeqCst);
        self.last_commit_micros.store(self.micros(), Ordering::Relaxed);
        // Counted before the pool is locked: a reader that comes back later sees the commit then.
        self.commits.fetch_add(1, Ordering::SeqCst);
        // A connection whose transaction does not end is closed, and its snapshot with the connection.
        self.lock().idle.retain_mut(|reader| reader.release().is_ok());
    }

    /// Closes the idle connections.
    pub(super) fn close(&self) {
        self.lock().idle.clear();
    }

    /// Ends an old snapshot, and begins a new snapshot where the projector does not commit.
    fn refresh(&self, reader: &mut Reader) -> rusqlite::Result<()> {
        // Read before the snapshot begins, so the snapshot can only be newer than the number.
        let commits = self.commits.load(Ordering::SeqCst);
        if reader.snapshot == Some(commits) {
            return Ok(());
        }
        reader.release()?;
        // Relaxed: an outdated time begins a snapshot too early, and the next commit ends the snapshot.
        let last_commit = Duration::from_micros(self.last_commit_micros.load(Ordering::Relaxed));
        // Half of the work of SQLite for a small query is to begin and end the transaction: locks and a look
        // at the files, all of them system calls. With a kept snapshot a query takes 10 us instead of 18
        // (`query_rate` in `tests.rs`).
        let is_idle = self.started.elapsed().saturating_sub(last_commit) > IDLE_AFTER;
        if is_idle && !self.is_committing.load(Ordering::SeqCst) {
            reader.db.execute_batch("BEGIN")?;
            reader.snapshot = Some(commits);
        }
        Ok(())
    }

    fn with_reader<T>(&self, read: impl FnOnce(&mut Reader) -> rusqlite::Result<T>) -> Result<T, Problem> {
        // First of all: rows of a file without its name are rows that a restart would not find.
        self.place.check_now_and_then().map_err(|displaced| problem_of(&displaced))?;
        let mut seat = self.enter()?;
        let mut reader = match seat.reader.take() {
            Some(reader) => reader,
            None => self.open().map_err(|error| failed(&error))?,
        };
        let result = read(&mut reader).map_err(|error| failed(&error));
        // After an error the connection is not trusted again.
        seat.reader = result.is_ok().then_some(reader);
        result
    }

    /// Checks that the path of the database still names the file whose rows are shown.
    ///
    /// # Errors
    /// What was found instead, and what to do.
    pub(super) fn check(&self) -> Result<(), Displaced> {
        self.place.check()
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Waits for a seat among the readers; an earlier reader may have left a connection.
    fn enter(&self) -> Result<Seat<'_>, Problem> {
        let mut pool = self.lock();
        if pool.free == 0 {
            let is_full = |pool: &mut ReaderPool| pool.free == 0;
            pool.waiting += 1;
            pool = wait_while(&self.returned, pool, PATIENCE, is_full);
            pool.waiting -= 1;
        }
        if pool.free == 0 {
            let problem = Problem::new(&problems::OVERLOADED, "too many queries wait for the database");
            return Err(problem.with_header("Retry-After", RETRY_AFTER));
        }
        pool.free -= 1;
        Ok(Seat { database: self, reader: pool.idle.pop() })
    }

    fn open(&self) -> rusqlite::Result<Reader> {
        let db = self.place.file().reader()?;
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        // SQLite then plans a statement once, and not again for each bound value.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        db.pragma_update(None, "cache_size", -CACHE_KIB)?;
        Ok(Reader { db, snapshot: None })
    }

    /// The pool is a list and two numbers, which are consistent after any panic.
    fn lock(&self) -> MutexGuard<'_, ReaderPool> {
        lock(&self.pool)
    }
}

/// A seat among the readers, free again after a drop, after a panic too.
struct Seat<'a> {
    database: &'a ReadDatabase,
    reader: Option<Reader>,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut pool = self.database.lock();
        if let Some(mut reader) = self.reader.take() {
            // Under the lock: either this thread sees the commit, or the commit sees the reader in the pool.
            let is_current = reader.snapshot == Some(self.database.commits.load(Ordering::SeqCst));
            if is_current || reader.release().is_ok() {
                pool.idle.push(reader);
            }
        }
        pool.free += 1;
        let is_waited_for = pool.waiting > 0;
        drop(pool);
        // A notification would be a system call in each query, also without a waiting query.
        if is_waited_for {
            self.database.returned.notify_one();
        }
    }
}

/// Returns the problem of a file without its name. The watching thread logs the problem, once.
fn problem_of(displaced: &Displaced) -> Problem {
    Problem::new(&STORAGE_FAILED, displaced.to_string()).with_header("Retry-After", RETRY_AFTER)
}

fn failed(error: &rusqlite::Error) -> Problem {
    log::error!("a query failed: {error}");
    Problem::new(&STORAGE_FAILED, "the read database cannot be read").with_header("Retry-After", RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::es::fixtures::TempPath;

    /// A database with one number, the connection that writes it, and readers.
    fn number() -> (TempPath, Connection, ReadDatabase) {
        let path = TempPath::new();
        let writer = Connection::open(&*path).unwrap();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        writer.execute_batch("CREATE TABLE number (n); INSERT INTO number VALUES (0)").unwrap();
        let mut database = ReadDatabase::new(Arc::new(DatabaseFile::existing(&path).unwrap()));
        // Long ago: it is quiet from the start.
        database.started = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        (path, writer, database)
    }

    fn write(writer: &Connection, database: &ReadDatabase, number: i64) {
        database.follow_commit(CommitPhase::Begins);
        writer.execute("UPDATE number SET n = ?1", [number]).unwrap();
        database.follow_commit(CommitPhase::Ended);
    }

    fn read(database: &ReadDatabase) -> i64 {
        database.read(|db| db.query_row("SELECT n FROM number", [], |row| row.get(0))).unwrap()
    }

    fn snapshots(database: &ReadDatabase) -> usize {
        database.lock().idle.iter().filter(|reader| reader.snapshot.is_some()).count()
    }

    #[test]
    fn a_snapshot_is_kept_while_nothing_is_written_and_never_shown_after_a_commit() {
        let (_path, writer, mut database) = number();
        for number in 1..5 {
            write(&writer, &database, number);
            assert_eq!((snapshots(&database), read(&database)), (0, number));
            assert_eq!(snapshots(&database), 0, "right after a commit none is kept");
            database.last_commit_micros = AtomicU64::new(0);
            assert_eq!((read(&database), snapshots(&database)), (number, 1));
            assert_eq!((read(&database), snapshots(&database)), (number, 1));
        }
    }

    #[test]
    fn a_reader_that_comes_back_after_a_commit_lets_go_of_its_snapshot() {
        let (_path, writer, database) = number();
        let seen = database.read(|_| {
            write(&writer, &database, 1);
            Ok(())
        });
        assert!(seen.is_ok());
        assert_eq!((snapshots(&database), read(&database)), (0, 1));
    }

    #[test]
    fn a_snapshot_of_the_time_before_a_commit_is_not_shown_while_the_commit_ends() {
        let (_path, writer, mut database) = number();
        assert_eq!((read(&database), snapshots(&database)), (0, 1));
        database.follow_commit(CommitPhase::Begins);
        // However long the commit takes.
        database.last_commit_micros = AtomicU64::new(0);
        assert_eq!((read(&database), snapshots(&database)), (0, 0));
        writer.execute("UPDATE number SET n = 1", []).unwrap();
        assert_eq!((read(&database), snapshots(&database)), (1, 0));
    }

    #[test]
    fn idle_readers_do_not_pin_the_write_ahead_log() {
        let (_path, writer, database) = number();
        read(&database);
        write(&writer, &database, 1);
        let busy: i64 = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
        assert_eq!(busy, 0);
    }

    #[test]
    fn several_statements_of_a_query_see_the_same() {
        let (_path, writer, database) = number();
        for _ in 0..2 {
            let [before, after] = database
                .read_snapshot(|db| {
                    let number = || db.query_row("SELECT n FROM number", [], |row| row.get::<_, i64>(0));
                    let before = number()?;
                    write(&writer, &database, before + 1);
                    Ok([before, number()?])
                })
                .unwrap();
            assert_eq!(before, after);
        }
    }

    #[test]
    fn a_reader_that_failed_is_replaced() {
        let (_path, _writer, database) = number();
        let failed = database.read(|db| db.execute_batch("SELECT nonsense"));
        assert_eq!(failed.unwrap_err().kind.status, 503);
        assert!(database.lock().idle.is_empty());
        assert_eq!(read(&database), 0);
    }
}
