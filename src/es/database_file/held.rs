//! The descriptors of the databases that this process has open, and the lock on each.
//!
//! The lock is `flock` on the database file itself. The lock belongs to the file and not to a name, so a
//! second process finds the lock through a symbolic link, a hard link, a bind mount or a new name as well.
//! SQLite's own locks are POSIX locks and independent of `flock`: they last for a transaction, and let a
//! second writer in between two transactions.
//!
//! **Invariant:** a process has one descriptor of each database, shared by all uses, and closes the
//! descriptor after the last use. POSIX drops the locks of a process on a file when the process closes
//! *any* descriptor of the file, so an earlier close would drop SQLite's locks. A program that opens the
//! same file with a connection of its own must close that connection first.
//!
//! Read next: `file.rs`.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::path::{PathError, refuse_several_names};
use crate::lock::lock;

/// Whether `flock` is independent of SQLite's POSIX locks. On other systems both are one kind of lock and
/// would conflict; the lock on the name alone protects the log there.
const LOCKS_FILES: bool = cfg!(target_os = "linux");

/// Milliseconds between two attempts to lock. The system can wait for a lock, but not with a timeout.
pub(super) const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Which file a path or a descriptor means, under any name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(file: &Metadata) -> Self {
        Self { device: file.dev(), inode: file.ino() }
    }

    /// Returns the identity of the file at `path`. A symbolic link is not followed: a link that took the
    /// name of the database would leave the write-ahead log behind.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Self::and_length_at(path).map(|(identity, _)| identity)
    }

    pub(super) fn and_length_at(path: &Path) -> io::Result<(Self, u64)> {
        std::fs::symlink_metadata(path).map(|file| (Self::of(&file), file.len()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Creation {
    Allowed,
    Forbidden,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    /// Further descriptors of the same file: closed with `file`, and never before.
    strays: Vec<File>,
    users: usize,
    /// Whether a part of this process has the lock.
    is_locked: bool,
}

/// The open databases. The mutex is held while a descriptor is opened, used or closed.
static OPEN_FILES: Mutex<BTreeMap<Identity, OpenFile>> = Mutex::new(BTreeMap::new());

fn open_files() -> MutexGuard<'static, BTreeMap<Identity, OpenFile>> {
    lock(&OPEN_FILES)
}

/// A use of a database file. Dropping the last use closes the descriptor.
#[derive(Debug)]
pub(super) struct Handle {
    identity: Identity,
}

impl Handle {
    pub(super) fn open(path: &Path, creation: Creation) -> Result<Self, PathError> {
        let mut files = open_files();
        if let Ok(identity) = Identity::at(path)
            && let Some(entry) = files.get_mut(&identity)
        {
            entry.users += 1;
            return Ok(Self { identity });
        }
        let file = open(path, creation).map_err(|error| PathError::io(path, &error))?;
        let metadata = file.metadata().map_err(|error| PathError::io(path, &error))?;
        let identity = Identity::of(&metadata);
        // The path was renamed between the two looks, and now names a file that is open already. Closing
        // this descriptor would drop SQLite's locks on that file.
        if let Some(entry) = files.get_mut(&identity) {
            entry.strays.push(file);
            entry.users += 1;
            return Ok(Self { identity });
        }
        // On the opened file: since the path was resolved, another process may have added a hard link.
        refuse_several_names(path, &metadata)?;
        files.insert(identity, OpenFile { file, strays: Vec::new(), users: 1, is_locked: false });
        Ok(Self { identity })
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    fn with<T>(&self, act: impl FnOnce(&mut OpenFile) -> io::Result<T>) -> io::Result<T> {
        // The entry exists as long as this handle: the error is never returned.
        open_files().get_mut(&self.identity).map_or_else(|| Err(ErrorKind::NotFound.into()), act)
    }

    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.with(|entry| entry.file.metadata())
    }

    pub(super) fn read_header(&self, buffer: &mut [u8]) -> io::Result<bool> {
        match self.with(|entry| entry.file.read_exact_at(buffer, 0)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn is_alone(&self) -> bool {
        self.with(|entry| Ok(entry.users == 1)).unwrap_or(false)
    }

    /// Returns whether another process has locked the file.
    pub(super) fn is_locked_elsewhere(&self) -> bool {
        let look = |entry: &mut OpenFile| {
            // A shared lock, so that two processes that look do not see each other; released at once.
            match entry.file.try_lock_shared() {
                Ok(()) => entry.file.unlock().map(|()| false),
                Err(TryLockError::WouldBlock) => Ok(true),
                Err(TryLockError::Error(error)) => Err(error),
            }
        };
        // A file system without locks counts as not locked.
        LOCKS_FILES
            && self.with(|entry| if entry.is_locked { Ok(false) } else { look(entry) }).unwrap_or(false)
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        if let Some(entry) = open_files().get_mut(&self.identity) {
            entry.users += 1;
        }
        Self { identity: self.identity }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut files = open_files();
        if let Some(entry) = files.get_mut(&self.identity) {
            entry.users -= 1;
            if entry.users == 0 {
                // Closes the descriptors with the mutex held: another thread must not open the file before.
                files.remove(&self.identity);
            }
        }
    }
}

fn open(path: &Path, creation: Creation) -> io::Result<File> {
    let mut options = OpenOptions::new();
    match creation {
        Creation::Allowed => return options.read(true).write(true).create(true).truncate(false).open(path),
        Creation::Forbidden => {}
    }
    match options.read(true).write(true).open(path) {
        // Reading is enough for a backup, and for a service that reports why it does not start.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            OpenOptions::new().read(true).open(path)
        }
        opened => opened,
    }
}

/// The right to write to a database file, for one part of one process.
#[derive(Debug)]
pub(in crate::es) struct FileLock {
    handle: Handle,
}

/// Another process, or another part of this one, has the lock.
#[derive(Debug)]
pub(in crate::es) struct LockRefused {
    /// A process that has the lock, if the system reports one.
    pub(in crate::es) holder: Option<Holder>,
}

impl FileLock {
    /// Takes the lock, and waits for `patience` at most while another process has the lock.
    pub(super) fn take(handle: &Handle, patience: Duration) -> Result<Self, LockRefused> {
        let deadline = Instant::now() + patience;
        loop {
            match Self::try_take(handle) {
                Err(_) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
                settled => return settled,
            }
        }
    }

    fn try_take(handle: &Handle) -> Result<Self, LockRefused> {
        let taken = handle.with(|entry| {
            // `flock` admits a second lock through the same descriptor, so the flag refuses the second lock.
            if entry.is_locked {
                return Ok(Err(LockRefused { holder: None }));
            }
            // On a file system without locks, the lock on the name alone protects the log.
            if LOCKS_FILES && matches!(entry.file.try_lock(), Err(TryLockError::WouldBlock)) {
                return Ok(Err(LockRefused { holder: holder(&entry.file) }));
            }
            entry.is_locked = true;
            Ok(Ok(()))
        });
        taken.unwrap_or(Err(LockRefused { holder: None }))?;
        Ok(Self { handle: handle.clone() })
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        let unlocked = self.handle.with(|entry| {
            entry.is_locked = false;
            if LOCKS_FILES { entry.file.unlock() } else { Ok(()) }
        });
        // A failed unlock is harmless: closing the descriptor releases the lock as well.
        drop(unlocked);
    }
}

/// A process that has a file locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::es) struct Holder {
    /// The process id.
    pub(in crate::es) process: u32,
    /// Whether the lock is exclusive, like a writer's. Any program that may read the file can hold a
    /// shared lock.
    pub(in crate::es) is_writer: bool,
}

/// Returns the process that has the file locked; None across containers, where the system does not know.
pub(in crate::es) fn holder(file: &File) -> Option<Holder> {
    let identity = Identity::of(&file.metadata().ok()?);
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| holder_in(line, identity))
}

/// Reads a line such as `1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234 0 EOF`, with the device in hexadecimal;
/// see proc_locks(5).
fn holder_in(line: &str, identity: Identity) -> Option<Holder> {
    let mut words = line.split_whitespace().skip(1);
    let (kind, _, mode) = (words.next()?, words.next()?, words.next()?);
    let process = words.next()?.parse().ok()?;
    let inode = words.next()?.rsplit(':').next()?;
    // Compares the inode alone: some file systems show another device here than in a file's metadata.
    let is_it = kind == "FLOCK" && inode.parse() == Ok(identity.inode);
    is_it.then_some(Holder { process, is_writer: mode == "WRITE" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::es::fixtures::TempPath;

    #[test]
    fn one_part_of_a_process_has_the_lock_and_the_others_are_refused() {
        let path = TempPath::new();
        let first = Handle::open(&path, Creation::Allowed).unwrap();
        let second = Handle::open(&path, Creation::Forbidden).unwrap();
        assert_eq!(first.identity(), second.identity());
        let lock = FileLock::take(&first, Duration::ZERO).unwrap();
        assert!(FileLock::take(&second, Duration::ZERO).is_err());
        drop(first);
        assert!(FileLock::take(&second, Duration::ZERO).is_err(), "the lock outlives the handle");
        drop(lock);
        FileLock::take(&second, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_descriptor_is_closed_with_its_last_use() {
        let path = TempPath::new();
        let first = Handle::open(&path, Creation::Allowed).unwrap();
        let (identity, second) = (first.identity(), first.clone());
        drop(first);
        assert!(open_files().contains_key(&identity) && second.is_alone());
        drop(second);
        assert!(!open_files().contains_key(&identity));
    }

    #[test]
    fn the_holder_of_a_lock_is_named() {
        let identity = Identity { device: 1, inode: 1234 };
        let holder = |line| holder_in(line, identity).map(|holder| (holder.process, holder.is_writer));
        assert_eq!(holder("1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234 0 EOF"), Some((4711, true)));
        assert_eq!(holder("1: FLOCK  ADVISORY  READ 4711 fd:01:1234 0 EOF"), Some((4711, false)));
        assert_eq!(holder("1: -> FLOCK  ADVISORY  WRITE 4711 fd:01:1234 0 EOF"), None, "it waits");
        assert_eq!(holder("1: POSIX  ADVISORY  WRITE 4711 fd:01:1234 0 EOF"), None);
        assert_eq!(holder("1: FLOCK  ADVISORY  WRITE 4711 fd:01:12345 0 EOF"), None);
    }
}
