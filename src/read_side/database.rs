//! Connections that read: a small pool, since a query takes microseconds and a connection costs
//! memory and two files.
//!
//! **Invariant:** a connection is in the hands of one query at a time and never across a wait: a
//! read that goes on pins SQLite's write-ahead log, which then grows.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::problems::{RETRY_AFTER, STORAGE_FAILED};
use crate::http::{Problem, problems};

/// Queries at once. They wait for the processor, not for anything else, so a few more than there
/// are cores keep all cores busy.
const MOST_READERS: usize = 8;
/// How long a query waits for its turn. Thousands of queries fit into that.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pages that a connection keeps, in KiB.
const CACHE_KIB: i64 = 4096;
/// Statements that stay compiled: more than there are.
const STATEMENTS: usize = 32;

/// The read database, for queries.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Debug)]
struct Pool {
    idle: Vec<Connection>,
    /// How many more queries may read now.
    places: usize,
}

impl Database {
    /// The database at `path`, which a projector holds open.
    pub(super) fn new(path: &Path) -> Self {
        let pool = Pool { idle: Vec::new(), places: MOST_READERS };
        Self { path: path.to_owned(), pool: Mutex::new(pool), returned: Condvar::new() }
    }

    /// Reads with a connection from the pool.
    ///
    /// # Errors
    /// 503 when no connection comes free in time, or the database fails.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Problem> {
        let mut place = self.enter()?;
        let connection = match place.connection.take() {
            Some(connection) => connection,
            None => self.open().map_err(|error| failed(&error))?,
        };
        let result = read(&connection).map_err(|error| failed(&error));
        // After an error the connection is not trusted again.
        place.connection = result.is_ok().then_some(connection);
        result
    }

    /// Takes a place among the readers, with the connection of an earlier one if there is any.
    fn enter(&self) -> Result<Place<'_>, Problem> {
        let mut pool = self.lock();
        if pool.places == 0 {
            let full = |pool: &mut Pool| pool.places == 0;
            pool = self
                .returned
                .wait_timeout_while(pool, PATIENCE, full)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        if pool.places == 0 {
            let problem = Problem::new(&problems::OVERLOADED, "too many queries wait for the database");
            return Err(problem.with_header("Retry-After", RETRY_AFTER));
        }
        pool.places -= 1;
        Ok(Place { database: self, connection: pool.idle.pop() })
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&self.path, flags)?;
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        // A statement is planned once, not again for each value that is bound to it.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        db.pragma_update(None, "cache_size", -CACHE_KIB)?;
        Ok(db)
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the readers; it is given back when dropped, after a panic too.
struct Place<'a> {
    database: &'a Database,
    connection: Option<Connection>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut pool = self.database.lock();
        pool.idle.extend(self.connection.take());
        pool.places += 1;
        drop(pool);
        self.database.returned.notify_one();
    }
}

fn failed(error: &rusqlite::Error) -> Problem {
    log::error!("a query failed: {error}");
    Problem::new(&STORAGE_FAILED, "the read database cannot be read").with_header("Retry-After", RETRY_AFTER)
}
