//! Connections that read: a small pool, since a query takes microseconds and a connection costs
//! memory and two files.
//!
//! **Invariant:** an idle connection has no open transaction: it shows no old rows, and does not keep
//! SQLite from reusing the write-ahead log.
//!
//! Read next: `place.rs`, the file.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::place::Place;
use super::problems::{RETRY_AFTER, STORAGE_FAILED};
use crate::es::{DatabaseFile, Displaced};
use crate::http::{Problem, problems};

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

/// The read database, for queries.
#[derive(Debug)]
pub(super) struct Database {
    pool: Mutex<Pool>,
    place: Place,
    returned: Condvar,
}

#[derive(Debug)]
struct Pool {
    idle: Vec<Connection>,
    /// The number of further queries that may begin now.
    free: usize,
    /// The number of queries that wait.
    waiting: usize,
}

impl Database {
    /// Makes a pool for the database in `file`, which a projector holds open.
    pub(super) fn new(file: Arc<DatabaseFile>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let free = (cores * READERS_PER_CORE).min(MAX_READERS);
        let pool = Mutex::new(Pool { idle: Vec::new(), free, waiting: 0 });
        Self { pool, place: Place::of(file), returned: Condvar::new() }
    }

    /// Reads with one statement, on a connection from the pool.
    ///
    /// # Errors
    /// 503 when no connection becomes free in time, or the database fails.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Problem> {
        self.place.check_now_and_then().map_err(|displaced| problem_of(&displaced))?;
        let mut seat = self.enter()?;
        let db = match seat.db.take() {
            Some(db) => db,
            None => self.open().map_err(|error| failed(&error))?,
        };
        let result = read(&db).map_err(|error| failed(&error));
        // After an error the connection is not trusted again.
        seat.db = result.is_ok().then_some(db);
        result
    }

    /// Reads with several statements, which all see the same rows.
    ///
    /// # Errors
    /// As [`Database::read`].
    pub(super) fn read_snapshot<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Problem> {
        self.read(|db| {
            let snapshot = db.unchecked_transaction()?;
            read(&snapshot)
        })
    }

    /// Closes the idle connections.
    pub(super) fn close(&self) {
        self.lock().idle.clear();
    }

    /// Checks that the path of the database still names the file whose rows are shown.
    ///
    /// # Errors
    /// What was found instead, and what to do.
    pub(super) fn check(&self) -> Result<(), Displaced> {
        self.place.check()
    }

    /// Waits for a seat among the readers; an earlier reader may have left its connection.
    fn enter(&self) -> Result<Seat<'_>, Problem> {
        let mut pool = self.lock();
        if pool.free == 0 {
            let is_full = |pool: &mut Pool| pool.free == 0;
            pool.waiting += 1;
            let waited = self.returned.wait_timeout_while(pool, PATIENCE, is_full);
            pool = waited.unwrap_or_else(PoisonError::into_inner).0;
            pool.waiting -= 1;
        }
        if pool.free == 0 {
            let problem = Problem::new(&problems::OVERLOADED, "too many queries wait for the database");
            return Err(problem.with_header("Retry-After", RETRY_AFTER));
        }
        pool.free -= 1;
        Ok(Seat { database: self, db: pool.idle.pop() })
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let db = self.place.file().reader()?;
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        // SQLite then plans a statement once, and not again for each value that is bound.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        db.pragma_update(None, "cache_size", -CACHE_KIB)?;
        Ok(db)
    }

    /// The pool is a list and two numbers, which are consistent after any panic.
    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A seat among the readers. Its drop frees the seat, after a panic too.
struct Seat<'a> {
    database: &'a Database,
    db: Option<Connection>,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut pool = self.database.lock();
        pool.idle.extend(self.db.take());
        pool.free += 1;
        let is_waited_for = pool.waiting > 0;
        drop(pool);
        // A notification is a system call in each query, also without a waiting query.
        if is_waited_for {
            self.database.returned.notify_one();
        }
    }
}

/// Returns the problem of a file that has lost its name, which the thread that watches the file logs once.
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
    use crate::es::tests::TempPath;

    /// A database with one number, the connection that writes it, and readers.
    fn number() -> (TempPath, Connection, Database) {
        let path = TempPath::new();
        let writer = Connection::open(&*path).unwrap();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        writer.execute_batch("CREATE TABLE number (n); INSERT INTO number VALUES (0)").unwrap();
        let database = Database::new(Arc::new(DatabaseFile::existing(&path).unwrap()));
        (path, writer, database)
    }

    fn write(writer: &Connection, number: i64) {
        writer.execute("UPDATE number SET n = ?1", [number]).unwrap();
    }

    fn read(database: &Database) -> i64 {
        database.read(|db| db.query_row("SELECT n FROM number", [], |row| row.get(0))).unwrap()
    }

    #[test]
    fn a_query_sees_the_last_commit() {
        let (_path, writer, database) = number();
        for number in 1..5 {
            write(&writer, number);
            assert_eq!(read(&database), number);
        }
    }

    #[test]
    fn idle_readers_do_not_pin_the_write_ahead_log() {
        let (_path, writer, database) = number();
        read(&database);
        write(&writer, 1);
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
                    write(&writer, before + 1);
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
