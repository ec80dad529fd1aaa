//! The personal data of `examples/forget_person.rs`: a SQLite file of its own, which has no history.
//!
//! **Invariant:** after [`People::erase`], no file of the database has the bytes of the row.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tally::es::Error;
use tally::es::rusqlite::{self, Connection, OptionalExtension};
use uuid::Uuid;

/// A row for each person whose name may be shown.
pub(crate) struct People(Mutex<Connection>);

/// How long an erasure waits for readers of the file.
const PATIENCE: Duration = Duration::from_secs(1);

impl People {
    /// Opens the names that belong to a log. Beside another log, such as an empty one after a loss, each person would
    /// look unknown, and the sweep would erase all names.
    pub(crate) fn open(path: &Path, log_id: Uuid) -> Result<Self, Error> {
        let opened = Self::open_file(path, log_id).map_err(|error| Error::Storage(error.to_string()))?;
        opened.ok_or_else(|| Error::Unusable("these names belong to another log: restore that log".into()))
    }

    fn open_file(path: &Path, log_id: Uuid) -> rusqlite::Result<Option<Self>> {
        let db = Connection::open(path)?;
        db.busy_timeout(PATIENCE)?;
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
             CREATE TABLE IF NOT EXISTS people (person TEXT PRIMARY KEY, name TEXT NOT NULL) STRICT;
             CREATE TABLE IF NOT EXISTS log (log_id TEXT NOT NULL) STRICT",
        )?;
        let log_id = log_id.to_string();
        db.execute("INSERT INTO log SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM log)", [&log_id])?;
        let known: String = db.query_row("SELECT log_id FROM log", [], |row| row.get(0))?;
        Ok((known == log_id).then(|| Self(Mutex::new(db))))
    }

    /// Keeps the name of a new person, and the first name when called twice.
    pub(crate) fn keep(&self, person: Uuid, name: &str) -> rusqlite::Result<()> {
        let insert = "INSERT INTO people VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        self.db().execute(insert, (person.to_string(), name)).map(drop)
    }

    /// Corrects a name. Returns false without a row: a correction must not bring back a forgotten person.
    pub(crate) fn correct(&self, person: Uuid, name: &str) -> rusqlite::Result<bool> {
        let update = "UPDATE people SET name = ?2 WHERE person = ?1";
        Ok(self.db().execute(update, (person.to_string(), name))? == 1)
    }

    pub(crate) fn name(&self, person: Uuid) -> rusqlite::Result<Option<String>> {
        let select = "SELECT name FROM people WHERE person = ?1";
        self.db().query_row(select, [person.to_string()], |row| row.get(0)).optional()
    }

    /// Deletes the row, and its bytes from the file and from the write-ahead log.
    pub(crate) fn erase(&self, person: Uuid) -> Result<(), Error> {
        let db = self.db();
        db.execute("DELETE FROM people WHERE person = ?1", [person.to_string()]).map_err(failed)?;
        // `secure_delete` zeroes the row, and VACUUM drops copies that earlier page splits left behind.
        db.execute_batch("VACUUM").map_err(failed)?;
        // The older pages are in the write-ahead log until its file is cut to zero bytes.
        let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
        if db.query_row(truncate, [], |row| row.get(0)).map_err(failed)? {
            return Err(Error::Storage("a reader keeps the old write-ahead log: forget once more".into()));
        }
        Ok(())
    }

    pub(crate) fn all(&self) -> rusqlite::Result<Vec<Uuid>> {
        let db = self.db();
        let mut select = db.prepare("SELECT person FROM people")?;
        let people = select.query_map([], |row| row.get::<_, String>(0))?;
        people.map(|person| Uuid::parse_str(&person?).map_err(unreadable)).collect()
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unreadable(error: uuid::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

pub(crate) fn failed(error: rusqlite::Error) -> Error {
    Error::Storage(error.to_string())
}
