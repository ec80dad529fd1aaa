//! A database that is open in this process, as one file and not as one name.
//!
//! Read next: `held.rs`, the descriptor and the lock behind a [`DatabaseFile`].

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, ffi};

use super::held::{Creation, FileLock, Handle, Identity, LOCK_PAUSE, LockRefused};
use super::path::{DatabasePath, PathError};
use crate::lock::lock;

/// Version number of the oldest SQLite without the WAL-reset bug, which can corrupt a database in WAL mode.
pub(in crate::es) const OLDEST_SQLITE: i32 = 3_051_003;

/// Seconds that a statement waits for a lock of another connection. Only a backup or a shell holds a lock
/// for longer than a commit, and neither for long.
pub(in crate::es) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a locked file without a write-ahead log beside it may be a writer that starts or stops: a writer
/// locks the file before it opens the write-ahead log, and removes the log before it unlocks the file. Both
/// take milliseconds, on a slow card some hundred.
const ANOTHER_NAME_PATIENCE: Duration = Duration::from_secs(2);

/// Suffixes of the files that SQLite keeps beside a database in WAL mode while a connection is open.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// How large the files of a database are, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBytes {
    /// The database.
    pub database: u64,
    /// Its write-ahead log.
    pub write_ahead_log: u64,
}

/// A database file that is open in this process, as one file and not as one name.
#[derive(Debug)]
pub struct DatabaseFile {
    path: DatabasePath,
    /// Identities of the write-ahead log and the shared-memory file, from [`DatabaseFile::watch`] on.
    beside: Mutex<[Option<Identity>; 2]>,
    handle: Handle,
}

/// Rights of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::es) enum Access {
    Read,
    Write,
}

impl DatabaseFile {
    /// Returns how large the database and its write-ahead log are; 0 for a missing file.
    pub fn bytes(&self) -> LogBytes {
        let length =
            |suffix| std::fs::metadata(self.path.beside(suffix)).map_or(0, |metadata| metadata.len());
        LogBytes { database: length(""), write_ahead_log: length(BESIDE[0]) }
    }

    /// Opens the file at `path`, which must exist.
    ///
    /// # Errors
    /// When the file does not exist, cannot be opened, or is open in another process under another name.
    pub fn existing(path: &Path) -> Result<Self, PathError> {
        Self::open(DatabasePath::resolve(path)?, Creation::Forbidden)
    }

    /// Opens the file at `path`, or creates an empty file.
    pub(in crate::es) fn existing_or_new(path: DatabasePath) -> Result<Self, PathError> {
        Self::open(path, Creation::Allowed)
    }

    /// Opens the file at `path` if the file exists.
    pub(in crate::es) fn if_there(path: &DatabasePath) -> Result<Option<Self>, PathError> {
        if path.exists()? { Self::open(path.clone(), Creation::Forbidden).map(Some) } else { Ok(None) }
    }

    fn open(path: DatabasePath, creation: Creation) -> Result<Self, PathError> {
        let handle = Handle::open(&path, creation)?;
        let file = Self { path, beside: Mutex::default(), handle };
        // Between the resolution of the path and the opening, another file may have taken the name.
        file.check().map_err(|displaced| PathError::Unusable(displaced.to_string()))?;
        file.refuse_another_name()?;
        Ok(file)
    }

    /// Refuses a file that another process writes to under another name. The write-ahead log lies beside the
    /// name under which that process opened the file. Here SQLite would miss the commits of that log, and
    /// begin a second log.
    fn refuse_another_name(&self) -> Result<(), PathError> {
        let deadline = Instant::now() + ANOTHER_NAME_PATIENCE;
        while self.handle.is_locked_elsewhere() && !self.path.beside(BESIDE[0]).exists() {
            if Instant::now() >= deadline {
                return Err(PathError::unusable(
                    &self.path,
                    "another process has it open under another name: use that name, or stop that process first",
                ));
            }
            std::thread::sleep(LOCK_PAUSE);
        }
        Ok(())
    }

    /// Returns the absolute path, without symbolic links.
    pub fn path(&self) -> &DatabasePath {
        &self.path
    }

    /// Checks that the path still names this file, and that the write-ahead log is the log in use.
    /// Costs three calls to the file system, some microseconds.
    ///
    /// # Errors
    /// The path names another file or no file; the text says what the operator can do.
    pub fn check(&self) -> Result<(), Displaced> {
        self.wal_bytes().map(drop)
    }

    /// Checks as [`DatabaseFile::check`] does, and returns the length of the watched write-ahead log in
    /// bytes, 0 before [`DatabaseFile::watch`].
    ///
    /// # Errors
    /// See [`DatabaseFile::check`].
    pub(in crate::es) fn wal_bytes(&self) -> Result<u64, Displaced> {
        let length = look(&self.path, self.handle.identity(), Displaced::database)?;
        // Copied: no call to the file system runs under the lock.
        let beside = *lock(&self.beside);
        // A watched database has a schema, and so is never empty.
        if length == 0 && self.is_watched() {
            return Err(Displaced::emptied(&self.path));
        }
        let mut lengths = [0; BESIDE.len()];
        for ((suffix, identity), length) in BESIDE.into_iter().zip(beside).zip(&mut lengths) {
            if let Some(identity) = identity {
                *length = look(&self.path.beside(suffix), identity, Displaced::beside)?;
            }
        }
        Ok(lengths[0])
    }

    /// Watches the write-ahead log and the shared-memory file as well, from now on. SQLite keeps both
    /// while this process has a connection that has read.
    pub(in crate::es) fn watch(&self) {
        let identities = BESIDE.map(|suffix| Identity::at(&self.path.beside(suffix)).ok());
        *lock(&self.beside) = identities;
    }

    /// Ends [`DatabaseFile::watch`], before the writer's connections are closed.
    pub(in crate::es) fn unwatch(&self) {
        *lock(&self.beside) = [None; 2];
    }

    fn is_watched(&self) -> bool {
        lock(&self.beside).iter().any(Option::is_some)
    }

    /// Connects to this file, and never to another file that took the name.
    pub(in crate::es) fn connect(&self, access: Access) -> rusqlite::Result<Connection> {
        self.check()?;
        let access = match access {
            Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
            Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        // NO_MUTEX: the types of rusqlite keep a connection on one thread at a time.
        let connection = Connection::open_with_flags(&*self.path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        if self.is_watched() {
            // The first read makes SQLite open the write-ahead log, so the check below covers the log too.
            connection.pragma_query(None, "schema_version", |_| Ok(()))?;
        }
        // Between the first check and the opening, another file may have taken the name.
        self.check()?;
        Ok(connection)
    }

    /// Connects for reading, for queries on the read models.
    ///
    /// # Errors
    /// When SQLite refuses, or the path names another file now.
    pub fn reader(&self) -> rusqlite::Result<Connection> {
        self.connect(Access::Read)
    }

    /// Locks the file for this process, and waits for `patience` at most while another process has the
    /// lock.
    pub(in crate::es) fn lock(&self, patience: Duration) -> Result<FileLock, LockRefused> {
        FileLock::take(&self.handle, patience)
    }

    /// Returns whether no process writes to the file, and this process has opened the file once.
    pub(in crate::es) fn is_idle(&self) -> bool {
        self.handle.is_alone() && !self.handle.is_locked_elsewhere()
    }

    /// Fills `buffer` from the beginning of the file; returns false for a shorter file.
    pub(in crate::es) fn read_header(&self, buffer: &mut [u8]) -> io::Result<bool> {
        self.handle.read_header(buffer)
    }

    pub(in crate::es) fn length(&self) -> io::Result<u64> {
        self.handle.metadata().map(|metadata| metadata.len())
    }

    pub(in crate::es) fn permissions(&self) -> io::Result<std::fs::Permissions> {
        self.handle.metadata().map(|metadata| metadata.permissions())
    }
}

/// Returns the length of the file at `path`, which must have that identity.
fn look(path: &Path, identity: Identity, refuse: fn(&Path, &str) -> Displaced) -> Result<u64, Displaced> {
    match Identity::and_length_at(path) {
        Ok((found, length)) if found == identity => Ok(length),
        Ok(_) => Err(refuse(path, "is another file than the one that this process opened")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(refuse(path, "was removed or renamed while this process had it open"))
        }
        Err(error) => Err(refuse(path, &format!("cannot be found any more ({error})"))),
    }
}

/// The path of an open database names another file, or no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Displaced(String);

impl Displaced {
    fn database(path: &Path, what: &str) -> Self {
        Self(format!(
            "{} {what}: put the file back under its name; if the file is lost, stop the service and restore a \
             backup (a read database needs none, the next start fills a new one)",
            path.display()
        ))
    }

    fn emptied(path: &Path) -> Self {
        Self(format!(
            "{} was emptied while this process had it open: stop the service and restore a backup",
            path.display()
        ))
    }

    // The file is gone, but this process still has the content: an orderly stop saves it.
    fn beside(path: &Path, what: &str) -> Self {
        Self(format!(
            "{} {what}: stop the service with SIGTERM, so that it moves what it has into the database",
            path.display()
        ))
    }
}

impl fmt::Display for Displaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Displaced {}

/// SQLite reports a moved database with the same code, where SQLite notices.
impl From<Displaced> for rusqlite::Error {
    fn from(displaced: Displaced) -> Self {
        let code = ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED);
        Self::SqliteFailure(code, Some(displaced.0))
    }
}
