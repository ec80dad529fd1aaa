//! Scratch directories, for files that exist for the length of one task: a copy until the copy is verified,
//! a replay until the replay is compared.
//!
//! The directory lies beside the database, `NAME-scratch-UUID`, on the file system that is most likely to
//! have room for a second database, and also holds the files that SQLite puts beside a database.
//!
//! A killed process leaves its directory behind, and no process reads the directory again: while no backup
//! and no verification runs, an operator may delete every `*-scratch-*` directory.
//!
//! Read next: `audit/backup.rs`, which copies a log into a scratch directory.

use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use uuid::Uuid;

use super::path::with_suffix;
use crate::lock::lock;

/// Attempts to remove a directory while another thread still creates files in it.
const REMOVALS: usize = 100;

/// The scratch directories of the running tasks.
static IN_USE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn in_use() -> MutexGuard<'static, Vec<PathBuf>> {
    lock(&IN_USE)
}

/// A directory for one task. Dropping the value removes the directory with its files.
#[derive(Debug)]
pub struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    /// Creates the directory, beside `path`.
    ///
    /// # Errors
    /// When the directory of `path` does not exist or may not be written.
    pub fn beside(path: &Path) -> io::Result<Self> {
        let directory = with_suffix(path, &format!("-scratch-{}", Uuid::now_v7()));
        let mut in_use = in_use();
        // `create` refuses an existing name, so removing the directory removes files of this process alone.
        // The mode keeps the copy from other users, whatever the umask.
        DirBuilder::new().mode(0o700).create(&directory)?;
        in_use.push(directory.clone());
        Ok(Self { directory })
    }

    /// Returns the path of a file in the directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Removes the directories of all tasks of this process, and lets no task create another: for a
    /// process that ends at once. A running task fails, or blocks until the process ends.
    pub fn end_all() {
        let mut in_use = in_use();
        in_use.drain(..).for_each(|directory| remove(&directory));
        // The lock stays taken for ever, on purpose: `beside` blocks until the process has ended.
        std::mem::forget(in_use);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut in_use = in_use();
        in_use.retain(|directory| *directory != self.directory);
        remove(&self.directory);
    }
}

fn remove(directory: &Path) {
    for _ in 0..REMOVALS {
        match std::fs::remove_dir_all(directory) {
            // Another thread created a file after the directory was emptied: remove that file as well.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            // A directory that cannot be removed stays; the name tells the operator why it exists.
            Ok(()) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::es::fixtures::TempPath;

    #[test]
    fn a_scratch_directory_is_private_and_goes_with_its_task() {
        let path = TempPath::new();
        let scratch = Scratch::beside(&path).unwrap();
        std::fs::write(scratch.file("copy"), "half of a file").unwrap();
        let mode = std::fs::metadata(&scratch.directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let directory = scratch.directory.clone();
        drop(scratch);
        assert!(!directory.exists());
    }
}
