//! The right to write to a log: for one process, and for one file, whatever it is called.
//!
//! Two locks make it up. The one on the database file belongs to the file, under any name (see
//! `database_file/held.rs`). The other is on a file beside it, `NAME-lock`, and belongs to the name: it
//! refuses a second process that finds another file there while the first is still at work. That file
//! stays, and names the log that was written last, so that an empty or missing database is known for what
//! it is: a loss.
//!
//! **Invariant:** only the owner can read the lock file (mode 0600). Whoever could open it could hold a
//! shared lock on it, and keep the service from starting.
//!
//! Read next: `file.rs`, which looks at it before it opens a log.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::refusal::unusable;
use crate::es::Error;
use crate::es::database_file::{DatabaseFile, DatabasePath, FileLock, Holder, LockRefused, holder};

pub(in crate::es) const LOCK_SUFFIX: &str = "-lock";

const MODE: u32 = 0o600;

/// How long a writer waits for a lock. A backup or a verification has it for the moment of a look; a
/// writer keeps it, and then the wait is in vain.
const PATIENCE: Duration = Duration::from_millis(500);

/// Pause between two tries within [`PATIENCE`].
const PAUSE: Duration = Duration::from_millis(20);

/// The right to write to a log, as long as the value lives.
#[derive(Debug)]
pub(in crate::es) struct WriterLock {
    _name: File,
    _file: FileLock,
}

impl WriterLock {
    pub(in crate::es) fn take(file: &DatabaseFile, log_id: Uuid) -> Result<Self, Error> {
        let path = file.path();
        let refused = |LockRefused { holder }| in_use(path, holder);
        let identity = file.lock(PATIENCE).map_err(refused)?;
        let lock_path = path.beside(LOCK_SUFFIX);
        let refuse = |error: io::Error| unusable(&lock_path, &error.to_string());
        let mut name = open(&lock_path).map_err(refuse)?;
        lock(&name, path)?;
        if named(&mut name).map_err(refuse)? != Some(log_id) {
            write(&mut name, log_id).map_err(refuse)?;
        }
        Ok(Self { _name: name, _file: identity })
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(MODE);
    let file = options.open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        // Some file systems know no modes, and refuse: there the lock is what it was before.
        drop(file.set_permissions(Permissions::from_mode(MODE)));
    }
    Ok(file)
}

fn lock(file: &File, path: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            // The system can wait for a lock, but not for a limited time.
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Err(in_use(path, holder(file))),
            Err(TryLockError::Error(error)) => return Err(unusable(path, &error.to_string())),
        }
    }
}

/// The refusal of a database that another process has locked.
fn in_use(path: &Path, holder: Option<Holder>) -> Error {
    let what = match holder {
        None => "another process writes to it: stop that one first".to_owned(),
        Some(Holder { process, is_writer: true }) => {
            format!("another process writes to it (process {process}): stop that one first")
        }
        Some(Holder { process, is_writer: false }) => format!(
            "process {process} keeps it locked without writing to it, as a shared lock: stop that process first"
        ),
    };
    unusable(path, &what)
}

/// What the lock file beside a database tells, without writing anything.
pub(in crate::es) enum LogName {
    /// A process writes under this name: the refusal of whoever cannot do with that.
    InUse(Error),
    /// None does, and this log was written here last. `None` too where the lock file cannot be read: the
    /// writer says why.
    Free(Option<Uuid>),
}

impl LogName {
    pub(in crate::es) fn look(path: &DatabasePath) -> Self {
        let Ok(mut file) = File::open(path.beside(LOCK_SUFFIX)) else {
            return Self::Free(None);
        };
        // A shared lock, so that two processes that look do not see each other.
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Self::InUse(in_use(path, holder(&file))),
            Ok(()) | Err(TryLockError::Error(_)) => Self::Free(named(&mut file).ok().flatten()),
        }
    }
}

fn named(file: &mut File) -> io::Result<Option<Uuid>> {
    let mut text = [0; 36];
    file.seek(SeekFrom::Start(0))?;
    match file.read_exact(&mut text) {
        Ok(()) => Ok(Uuid::try_parse_ascii(&text).ok()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(file: &mut File, log_id: Uuid) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{log_id}")?;
    file.sync_all()
}
