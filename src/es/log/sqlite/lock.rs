//! The right to write to a log: for one process, and for one file under any name.
//!
//! Two locks make up the right. The lock on the database file belongs to the file, under any name (see
//! `database_file/held.rs`). The lock on the file `NAME-lock` belongs to the name: the lock refuses a second
//! process that finds another file there while the first process is still at work.
//!
//! The lock file names the log that was written last. So a database that is empty or missing beside a lock
//! file is known as lost: after a crash always, after an orderly stop if the lock file is kept.
//!
//! **Invariant:** only the owner can read the lock file (mode 0600). Any process that could open the file
//! could hold a shared lock on the file, and keep the service from starting.
//!
//! Read next: `file.rs`, which reads the lock file before opening a log.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::es::Error;
use crate::es::database_file::{DatabaseFile, DatabasePath, FileLock, Holder, LockRefused, holder};

pub(super) const LOCK_SUFFIX: &str = "-lock";

const MODE: u32 = 0o600;

/// Milliseconds that a writer waits for a lock. A backup or a verification holds the lock for the moment of a
/// look; a writer holds the lock for its life, and the wait ends with a refusal.
const PATIENCE: Duration = Duration::from_millis(500);

/// Milliseconds between two attempts within [`PATIENCE`]: the system cannot wait for a lock with a timeout.
const PAUSE: Duration = Duration::from_millis(20);

/// What becomes of the lock file when the writer is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockFile {
    Kept,
    Removed,
}

/// The right to write to a log, as long as the value lives.
#[derive(Debug)]
pub(super) struct WriterLock {
    // Dropped in this order: a writer that waits for the lock on the database then finds no lock file.
    name: NameLock,
    _file: FileLock,
}

impl WriterLock {
    pub(super) fn take(file: &DatabaseFile, log_id: Uuid, after: LockFile) -> Result<Self, Error> {
        let path = file.path();
        let refused = |LockRefused { holder }| in_use(path, holder);
        // The file first: a second process under another name is refused before a lock file exists there.
        let identity = file.lock(PATIENCE).map_err(refused)?;
        let lock_path = path.beside(LOCK_SUFFIX);
        let refuse = |error: io::Error| Error::unusable(&lock_path, &error.to_string());
        let mut name = NameLock { file: open_locked(&lock_path, path)?, path: lock_path.clone(), after };
        // Written only when the name changes: a write needs a sync.
        if named(&mut name.file).map_err(refuse)? != Some(log_id) {
            write(&mut name.file, log_id).map_err(refuse)?;
        }
        Ok(Self { name, _file: identity })
    }

    /// Keeps the lock file when the lock is dropped.
    pub(super) fn keep_file(&mut self) {
        self.name.after = LockFile::Kept;
    }
}

/// The lock on the lock file.
#[derive(Debug)]
struct NameLock {
    file: File,
    path: PathBuf,
    after: LockFile,
}

impl Drop for NameLock {
    fn drop(&mut self) {
        // A renamed directory may have another database's lock file under this path now.
        if self.after == LockFile::Removed && is_at(&self.file, &self.path) {
            // A lock file that cannot be removed does no harm: the next writer takes the file over.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Attempts to lock a file that other processes remove: each removal is the end of one writer.
const MAX_REMOVALS: usize = 16;

/// Opens and locks the lock file at `path`.
fn open_locked(path: &Path, database: &Path) -> Result<File, Error> {
    let refuse = |error: io::Error| Error::unusable(path, &error.to_string());
    for _ in 0..MAX_REMOVALS {
        let file = open(path).map_err(refuse)?;
        lock(&file, database)?;
        // The writer before may have removed the file between the two calls: a lock on a removed file
        // excludes no process.
        if is_at(&file, path) {
            return Ok(file);
        }
    }
    Err(Error::unusable(path, "expected a file, found a symbolic link or a file that is replaced: remove it"))
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(file), Ok(found)) => (file.dev(), file.ino()) == (found.dev(), found.ino()),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(MODE);
    let file = options.open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        // A file system without modes refuses. Other processes can then hold a shared lock, as before.
        drop(file.set_permissions(Permissions::from_mode(MODE)));
    }
    Ok(file)
}

fn lock(file: &File, path: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Err(in_use(path, holder(file))),
            Err(TryLockError::Error(error)) => return Err(Error::unusable(path, &error.to_string())),
        }
    }
}

/// Refuses a database that another process has locked.
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
    Error::unusable(path, &what)
}

/// What the lock file beside a database says. Looking changes nothing.
pub(super) enum LogName {
    /// A process writes under this name; the error refuses a second writer.
    InUse(Error),
    /// No process writes under this name, and the log with this identity was written here last. None without
    /// a readable lock file; the writer reports the error.
    Free(Option<Uuid>),
}

impl LogName {
    pub(super) fn look(path: &DatabasePath) -> Self {
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
    // Without the sync, a crash could leave an empty lock file, and a lost database would pass as a new one.
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::es::fixtures::TempPath;

    #[test]
    fn of_writers_that_remove_the_lock_file_one_is_at_work_at_a_time() {
        let path = TempPath::new();
        let at_work = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Ok(file) = open_locked(&path, &path) else { continue };
                        let name = NameLock { file, path: path.to_path_buf(), after: LockFile::Removed };
                        assert!(!at_work.swap(true, Ordering::SeqCst), "two writers");
                        std::thread::yield_now();
                        at_work.store(false, Ordering::SeqCst);
                        drop(name);
                    }
                });
            }
        });
        assert!(!path.exists());
    }
}
