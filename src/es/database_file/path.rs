//! The path of a database that exists or can be created.
//!
//! SQLite reads a name such as `file:log?mode=memory` as a URI, `:memory:` and the empty name as a
//! database without a file, and opens pipes and devices like files. A [`DatabasePath`] names a regular
//! file, or a file to create, in a directory that exists; any other path is refused before SQLite sees it.
//!
//! **Invariant:** the path is absolute, and no part of the path was a symbolic link when the path was
//! resolved. So the `-wal`, `-shm` and `-lock` files lie beside the database itself, under any link.
//!
//! Read next: `held.rs`.

use std::fmt;
use std::fs::{FileType, Metadata};
use std::io::{self, ErrorKind};
use std::ops::Deref;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The name that SQLite reads as a database in memory.
pub(in crate::es) const IN_MEMORY: &str = ":memory:";

/// Suffixes of the files beside a database; each must be a regular file too, if it exists.
const FILES_BESIDE: [&str; 4] = ["-wal", "-shm", "-lock", "-journal"];

/// The resolved path of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabasePath(PathBuf);

impl DatabasePath {
    /// Resolves `path`. The file need not exist; the directory must.
    ///
    /// # Errors
    /// [`PathError::NotADatabase`] for a path that no database can have, [`PathError::Unusable`] when
    /// the system denies access.
    pub fn resolve(path: &Path) -> Result<Self, PathError> {
        // Both names are valid for SQLite, and would lose the log at the end of the process.
        if path.as_os_str().is_empty() {
            return Err(PathError::NotADatabase("the path is empty: give the path of a file".into()));
        }
        if path.as_os_str() == IN_MEMORY {
            return Err(PathError::not_a_database(
                path,
                "it stands for a database without a file: give the path of a file",
            ));
        }
        let resolved = match std::fs::canonicalize(path) {
            Ok(real) => Self(real),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::of_new(path)?,
            Err(error) => return Err(PathError::unusable(path, &error.to_string())),
        };
        resolved.refuse_what_is_no_file(path)?;
        Ok(resolved)
    }

    /// Resolves the path of a file that does not exist.
    fn of_new(path: &Path) -> Result<Self, PathError> {
        // `canonicalize` found no file, but the name exists: SQLite would create the target of the link.
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(PathError::not_a_database(
                path,
                "it is a symbolic link to a file that does not exist: make that file, or remove the link",
            ));
        }
        // `Path` drops a final slash, with which the user names a directory.
        let names_directory = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        let Some(name) = path.file_name().filter(|_| !names_directory) else {
            return Err(PathError::not_a_database(path, "it names a directory: give the path of a file"));
        };
        // A missing file has no canonical path, but its directory has.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        // The parent of a bare file name is empty, which the system does not resolve.
        let real = std::fs::canonicalize(directory.unwrap_or(Path::new("."))).map_err(|error| {
            let what = format!("its directory cannot be used ({error}): make it first");
            PathError::unusable(path, &what)
        })?;
        Ok(Self(real.join(name)))
    }

    /// Refuses directories, pipes, devices and further hard links; `given` is the path as the user wrote it.
    fn refuse_what_is_no_file(&self, given: &Path) -> Result<(), PathError> {
        if let Some(file) = metadata(&self.0)? {
            if !file.is_file() {
                let what = format!("it is {}: give the path of a regular file", kind(file.file_type()));
                return Err(PathError::not_a_database(given, &what));
            }
            refuse_several_names(given, &file)?;
        }
        // SQLite would open a pipe or a device under these names as well, and block or fail later.
        for suffix in FILES_BESIDE {
            let beside = self.beside(suffix);
            if let Some(file) = metadata(&beside)?.filter(|file| !file.is_file()) {
                let what = format!(
                    "{} is {}, where SQLite keeps a file of its own: remove it, or choose another path",
                    beside.display(),
                    kind(file.file_type())
                );
                return Err(PathError::not_a_database(given, &what));
            }
        }
        Ok(())
    }

    /// Returns the path of the file with that suffix beside the database.
    pub(in crate::es) fn beside(&self, suffix: &str) -> PathBuf {
        with_suffix(&self.0, suffix)
    }

    pub(super) fn exists(&self) -> Result<bool, PathError> {
        metadata(&self.0).map(|file| file.is_some())
    }
}

impl Deref for DatabasePath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

/// Refuses a file with a second name: SQLite would keep a second write-ahead log beside that name.
pub(super) fn refuse_several_names(path: &Path, file: &Metadata) -> Result<(), PathError> {
    if file.nlink() <= 1 {
        return Ok(());
    }
    let what = format!(
        "the file has {} names (hard links), and SQLite keeps a write-ahead log for each: leave one name, or \
         copy the file",
        file.nlink()
    );
    Err(PathError::not_a_database(path, &what))
}

fn metadata(path: &Path) -> Result<Option<Metadata>, PathError> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PathError::unusable(path, &error.to_string())),
    }
}

fn kind(file: FileType) -> &'static str {
    if file.is_dir() {
        "a directory"
    } else if file.is_fifo() {
        "a named pipe"
    } else if file.is_socket() {
        "a socket"
    } else if file.is_symlink() {
        "a symbolic link"
    } else {
        "a device"
    }
}

/// Why a path cannot be used for a database. No file was opened or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathError {
    /// No database can have this path, now or later. Give another path.
    NotADatabase(String),
    /// The system refuses, or another process has the file. The text says what to do.
    Unusable(String),
}

impl PathError {
    fn not_a_database(path: &Path, what: &str) -> Self {
        Self::NotADatabase(Self::text(path, what))
    }

    pub(in crate::es) fn unusable(path: &Path, what: &str) -> Self {
        Self::Unusable(Self::text(path, what))
    }

    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        Self::unusable(
            path,
            &format!("{error}: check the path and the permissions of the file and its directory"),
        )
    }

    fn text(path: &Path, what: &str) -> String {
        format!("{} cannot be used: {what}", path.display())
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotADatabase(what) | Self::Unusable(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for PathError {}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::es::fixtures::TempPath;

    fn refusal(path: &Path) -> String {
        match DatabasePath::resolve(path) {
            Err(PathError::NotADatabase(what)) => what,
            other => panic!("{}: {other:?}", path.display()),
        }
    }

    #[test]
    fn a_name_that_stands_for_memory_or_for_no_file_is_refused() {
        for (name, why) in [("", "is empty"), (":memory:", "without a file"), ("/no-such-file/..", "names a")]
        {
            let what = refusal(Path::new(name));
            assert!(what.contains(why), "{name:?}: {what}");
        }
    }

    #[test]
    fn a_path_is_a_path_whatever_sqlite_would_make_of_it() {
        let here = std::fs::canonicalize(".").unwrap();
        for name in ["file:x.sqlite3", "file::memory:?cache=shared", "x?mode=memory", "a%20b"] {
            let resolved = DatabasePath::resolve(Path::new(name)).unwrap();
            assert_eq!(&*resolved, here.join(name));
        }
    }

    #[test]
    fn a_link_is_resolved_and_a_second_name_is_refused() {
        let (file, link) = (TempPath::new(), TempPath::new());
        std::os::unix::fs::symlink(&*file, &*link).unwrap();
        assert!(refusal(&link).contains("does not exist"), "a link that dangles");
        std::fs::write(&*file, "").unwrap();
        assert_eq!(DatabasePath::resolve(&link).unwrap(), DatabasePath::resolve(&file).unwrap());
        let second = TempPath::new();
        std::fs::hard_link(&*file, &*second).unwrap();
        assert!(refusal(&link).contains("2 names"));
    }
}
