//! The descriptors of the databases that this process has open, and the lock on each.
//!
//! The lock is `flock` on the database file itself. It belongs to the file and not to a name, so a second
//! process finds it through a symbolic link, a hard link, a bind mount or a new name as well. It is
//! independent of SQLite's own locks, which are POSIX locks: those last for a transaction, and let a second
//! writer in between two.
//!
//! **Invariant:** a process has one descriptor of each database, shared by all that use it, and closes it
//! after the last of them. POSIX drops the locks of a process on a file when it closes *any* descriptor
//! of that file; SQLite would lose its locks with the first one that is closed here. A program that opens
//! the same file with a connection of its own must close that connection first.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::path::{PathError, refuse_several_names};

/// Elsewhere `flock` and SQLite's own locks are of one kind, and would stand in each other's way. The
/// lock on the name has to do there.
const LOCKS_FILES: bool = cfg!(target_os = "linux");

/// Pause between two tries for a lock that another process has. The system can wait for a lock, but not
/// for a limited time.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(file: &Metadata) -> Self {
        Self { device: file.dev(), inode: file.ino() }
    }

    /// The identity of what that path names. A symbolic link is not followed: a link that took the name of
    /// the database would leave the write-ahead log behind.
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
struct Entry {
    file: File,
    /// Descriptors that were opened although there was one: closed with it, and not before.
    strays: Vec<File>,
    users: usize,
    /// A part of this process has the lock.
    is_locked: bool,
}

/// Locked while a descriptor is opened, used or closed.
static OPEN_FILES: Mutex<BTreeMap<Identity, Entry>> = Mutex::new(BTreeMap::new());

fn open_files() -> MutexGuard<'static, BTreeMap<Identity, Entry>> {
    OPEN_FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A use of a database file. The descriptor is closed with the last use.
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
        if let Some(entry) = files.get_mut(&identity) {
            entry.strays.push(file);
            entry.users += 1;
            return Ok(Self { identity });
        }
        refuse_several_names(path, &metadata)?;
        files.insert(identity, Entry { file, strays: Vec::new(), users: 1, is_locked: false });
        Ok(Self { identity })
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// The entry is there as long as this value.
    fn with<T>(&self, act: impl FnOnce(&mut Entry) -> io::Result<T>) -> io::Result<T> {
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

    /// Whether another process has locked the file.
    pub(super) fn is_locked_elsewhere(&self) -> bool {
        let look = |entry: &mut Entry| {
            // A shared lock, so that two processes that look do not see each other; given back at once.
            match entry.file.try_lock_shared() {
                Ok(()) => entry.file.unlock().map(|()| false),
                Err(TryLockError::WouldBlock) => Ok(true),
                Err(TryLockError::Error(error)) => Err(error),
            }
        };
        // Where the file system knows no locks, there is none.
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
                // The descriptors are closed before another thread can open the file again.
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
        // It can be looked at all the same: by a backup, or by a service that says why it does not start.
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
    /// A process that has it, where the system says which.
    pub(in crate::es) holder: Option<Holder>,
}

impl FileLock {
    /// Takes the lock, and waits for `patience` at most while another process has it.
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
            if entry.is_locked {
                return Ok(Err(LockRefused { holder: None }));
            }
            // Where the file system knows no locks, the lock on the name has to do.
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
        // The lock goes with the descriptor at the latest.
        drop(unlocked);
    }
}

/// A process that has a file locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::es) struct Holder {
    /// Its id.
    pub(in crate::es) process: u32,
    /// Whether the lock is exclusive, as a writer's is. Any program that may read the file can hold a
    /// shared one.
    pub(in crate::es) is_writer: bool,
}

/// The process that has the file locked, where the system tells: not across containers.
pub(in crate::es) fn holder(file: &File) -> Option<Holder> {
    let identity = Identity::of(&file.metadata().ok()?);
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| holder_in(line, identity))
}

/// `1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234 0 EOF`, with the device in hexadecimal. See proc_locks(5).
fn holder_in(line: &str, identity: Identity) -> Option<Holder> {
    let mut words = line.split_whitespace().skip(1);
    let (kind, _, mode) = (words.next()?, words.next()?, words.next()?);
    let process = words.next()?.parse().ok()?;
    let inode = words.next()?.rsplit(':').next()?;
    // The inode alone: some file systems show another device here than in a file's metadata.
    let is_it = kind == "FLOCK" && inode.parse() == Ok(identity.inode);
    is_it.then_some(Holder { process, is_writer: mode == "WRITE" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::es::tests::TempPath;

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
