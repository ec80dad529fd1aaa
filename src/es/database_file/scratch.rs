//! Files that exist for the length of one task: a copy until it is verified, a replay until it is
//! compared.
//!
//! They lie in a directory of their own beside the database, `NAME-scratch-UUID`, where there is room for a
//! file of that size if anywhere. The directory is made exclusively, under a name that no other file has,
//! and with mode 0700; what SQLite puts beside a database is in it, too. So removing it removes nothing that
//! this process has not made.
//!
//! A process that was killed leaves its directory behind. Nothing reads it again: when no backup and no
//! verification runs, an operator may delete every `*-scratch-*` directory.

use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::with_suffix;

/// How often a directory is emptied while another thread still makes files in it.
const REMOVALS: usize = 100;

/// The directories that are in use.
static IN_USE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn in_use() -> MutexGuard<'static, Vec<PathBuf>> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory for one task; removed with all that is in it when dropped.
#[derive(Debug)]
pub struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    /// Makes the directory, beside `path`.
    ///
    /// # Errors
    /// When the directory of `path` does not exist or may not be written.
    pub fn beside(path: &Path) -> io::Result<Self> {
        let directory = with_suffix(path, &format!("-scratch-{}", Uuid::now_v7()));
        let mut in_use = in_use();
        DirBuilder::new().mode(0o700).create(&directory)?;
        in_use.push(directory.clone());
        Ok(Self { directory })
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Removes the directories of all tasks of this process, and lets no task make another one: for a
    /// process that ends at once. A task that still runs fails, or waits for the end.
    pub fn end_all() {
        let mut in_use = in_use();
        in_use.drain(..).for_each(|directory| remove(&directory));
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

/// A file that was made after its directory was emptied is met when the directory is to go.
fn remove(directory: &Path) {
    for _ in 0..REMOVALS {
        match std::fs::remove_dir_all(directory) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            // What cannot be removed stays where its name tells what it is.
            Ok(()) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::es::tests::TempPath;

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
