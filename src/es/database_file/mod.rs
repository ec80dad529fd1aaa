//! What a database file *is*: every connection to SQLite, of the log and of the read models, is
//! opened here.
//!
//! SQLite opens a name and trusts that it goes on naming the same file. Operators rename, remove, copy and
//! link files under running services, and a receipt for a file without a name is a lost event. So a
//! [`DatabaseFile`] is more than a path:
//!
//! - its path is a path ([`DatabasePath`]): absolute, symbolic links resolved, a regular file with one
//!   name. SQLite never sees the text that the user gave, so it never takes a name for a URI or for memory;
//! - its identity (device and inode) is known, and locked by the one process that writes to it
//!   (`held.rs`), whatever name that process used;
//! - [`DatabaseFile::check`] compares the path with the identity: before and after each connection is
//!   opened, around each commit, and for each health report.
//!
//! Files that exist for the length of one task (copies, replays) live in a [`Scratch`] directory.
//!
//! **Invariant:** no other file of `src/` opens a database, nor closes a descriptor of one: POSIX drops all
//! locks that a process holds on a file when it closes *any* descriptor of that file, SQLite's too.
//!
//! Read next: `path.rs`, `held.rs`, `scratch.rs`.

mod held;
mod path;
mod scratch;

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::es::LogBytes;
use rusqlite::{Connection, OpenFlags, ffi};

use held::{Creation, Handle, Identity};
pub(super) use held::{FileLock, Holder, LockRefused, holder};
pub use path::{DatabasePath, PathError};
pub use scratch::Scratch;

/// What SQLite keeps beside a database in WAL mode, for as long as a connection is open.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// A database file that is open in this process, as one file and not as one name.
#[derive(Debug)]
pub struct DatabaseFile {
    path: DatabasePath,
    /// The write-ahead log and the shared-memory file, from [`DatabaseFile::watch`] on.
    beside: Mutex<[Option<Identity>; 2]>,
    handle: Handle,
}

/// What a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

impl DatabaseFile {
    /// How large the database and its write-ahead log are; 0 for a file that is not there.
    pub fn bytes(&self) -> LogBytes {
        let length = |suffix: &str| {
            let mut name = self.path().as_os_str().to_owned();
            name.push(suffix);
            std::fs::metadata(name).map_or(0, |metadata| metadata.len())
        };
        LogBytes { database: length(""), write_ahead_log: length("-wal") }
    }

    /// The file at `path`, which must exist.
    ///
    /// # Errors
    /// When it does not exist, cannot be opened, or another process has it open under another name.
    pub fn existing(path: &Path) -> Result<Self, PathError> {
        Self::open(DatabasePath::resolve(path)?, Creation::Forbidden)
    }

    /// The file at `path`, or a new and empty one.
    pub(super) fn existing_or_new(path: DatabasePath) -> Result<Self, PathError> {
        Self::open(path, Creation::Allowed)
    }

    /// The file at `path`, if there is one.
    pub(super) fn if_there(path: &DatabasePath) -> Result<Option<Self>, PathError> {
        if path.exists()? { Self::open(path.clone(), Creation::Forbidden).map(Some) } else { Ok(None) }
    }

    fn open(path: DatabasePath, creation: Creation) -> Result<Self, PathError> {
        let handle = Handle::open(&path, creation)?;
        let file = Self { path, beside: Mutex::default(), handle };
        file.check().map_err(|displaced| PathError::Unusable(displaced.to_string()))?;
        // The write-ahead log lies beside the name under which the file was opened first. Under another
        // name SQLite would miss its commits, and begin a second one.
        if file.handle.is_locked_elsewhere() && !file.path.beside(BESIDE[0]).exists() {
            return Err(PathError::unusable(
                &file.path,
                "another process has it open under another name: use that name, or stop that process first",
            ));
        }
        Ok(file)
    }

    /// The absolute path, without symbolic links.
    pub fn path(&self) -> &DatabasePath {
        &self.path
    }

    /// Whether the path still names this file, and the write-ahead log is the one that is in use.
    /// Costs three looks at the file system, some microseconds.
    ///
    /// # Errors
    /// What was found instead, and what the operator can do.
    pub fn check(&self) -> Result<(), Displaced> {
        let length = look(&self.path, self.handle.identity(), Displaced::database)?;
        let beside = *self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        // What is watched has been written to.
        if length == 0 && self.is_watched() {
            return Err(Displaced::emptied(&self.path));
        }
        for (suffix, identity) in BESIDE.into_iter().zip(beside) {
            if let Some(identity) = identity {
                look(&self.path.beside(suffix), identity, Displaced::beside)?;
            }
        }
        Ok(())
    }

    /// Watches the write-ahead log and the shared-memory file as well, from now on: SQLite keeps both as
    /// long as this process has a connection, and it has read from one.
    pub(super) fn watch(&self) {
        let identities = BESIDE.map(|suffix| Identity::at(&self.path.beside(suffix)).ok());
        *self.beside.lock().unwrap_or_else(PoisonError::into_inner) = identities;
    }

    fn is_watched(&self) -> bool {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner).iter().any(Option::is_some)
    }

    /// A connection to this file, and to no other that took its name.
    pub(super) fn connect(&self, access: Access) -> rusqlite::Result<Connection> {
        self.check()?;
        let access = match access {
            Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
            Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        let connection = Connection::open_with_flags(&*self.path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        if self.is_watched() {
            // With the first read SQLite opens the write-ahead log: that must be the right one, too.
            connection.pragma_query(None, "schema_version", |_| Ok(()))?;
        }
        self.check()?;
        Ok(connection)
    }

    /// A connection that only reads, for queries on the read models.
    ///
    /// # Errors
    /// When SQLite refuses, or the path names another file now.
    pub fn reader(&self) -> rusqlite::Result<Connection> {
        self.connect(Access::Read)
    }

    /// Locks the file for this process, and waits for `patience` at most while another one has it.
    pub(super) fn lock(&self, patience: Duration) -> Result<FileLock, LockRefused> {
        FileLock::take(&self.handle, patience)
    }

    /// Whether no process writes to it, and this one has opened it once.
    pub(super) fn is_idle(&self) -> bool {
        self.handle.is_alone() && !self.handle.is_locked_elsewhere()
    }

    /// Fills `buffer` from the beginning of the file; false when the file is shorter.
    pub(super) fn read_header(&self, buffer: &mut [u8]) -> io::Result<bool> {
        self.handle.read_header(buffer)
    }

    pub(super) fn length(&self) -> io::Result<u64> {
        self.handle.metadata().map(|metadata| metadata.len())
    }

    pub(super) fn permissions(&self) -> io::Result<std::fs::Permissions> {
        self.handle.metadata().map(|metadata| metadata.permissions())
    }
}

/// The length of the file at that path, when it is the one of that identity.
fn look(path: &Path, identity: Identity, say: fn(&Path, &str) -> Displaced) -> Result<u64, Displaced> {
    match Identity::and_length_at(path) {
        Ok((found, length)) if found == identity => Ok(length),
        Ok(_) => Err(say(path, "is another file than the one that this process opened")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(say(path, "was removed or renamed while this process had it open"))
        }
        Err(error) => Err(say(path, &format!("cannot be found any more ({error})"))),
    }
}

/// The path of an open database names another file, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Displaced(String);

impl Displaced {
    fn database(path: &Path, what: &str) -> Self {
        Self(format!(
            "{} {what}: put the file back under its name, or restart the service to use what is there",
            path.display()
        ))
    }

    fn emptied(path: &Path) -> Self {
        Self(format!(
            "{} was emptied while this process had it open: stop the service and restore a backup",
            path.display()
        ))
    }

    /// The file is gone, but this process still has its content.
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

/// SQLite has a code for it, which it uses itself where it notices.
impl From<Displaced> for rusqlite::Error {
    fn from(displaced: Displaced) -> Self {
        let code = ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED);
        Self::SqliteFailure(code, Some(displaced.0))
    }
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
