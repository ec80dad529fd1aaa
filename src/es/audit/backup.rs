//! A backup of a log that is in use: whole, verified, and named only after both.
//!
//! **Invariant:** a file under the requested name is a complete, synced, verified copy. An existing file
//! is never overwritten: of two backups to one name, one is refused. The copy is made in a [`Scratch`]
//! directory, `NAME-scratch-UUID`; a killed backup leaves that directory, which an operator can delete.
//!
//! To restore a log, stop the service, copy the backup to the path of the database, and delete the `-wal`,
//! `-shm` and `-lock` files of the former database.
//!
//! Read next: `log/sqlite/copy.rs`, which copies the file.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::log::verify;
use super::report::Report;
use crate::es::database_file::{DatabaseFile, DatabasePath, Scratch};
use crate::es::log::sqlite::copy::copy;
use crate::es::{Error, KnownKinds};

/// Copies the log in the SQLite file at `from` to a new file `to`, and verifies the copy as
/// [`verify`] does.
///
/// A sound copy is kept; of an unsound log no copy is kept, and the report names the faults.
///
/// # Errors
/// [`Error::Unusable`] when `from` is not a log or `to` exists, [`Error::Storage`] when the copy
/// cannot be written.
pub fn backup(from: &Path, to: &Path, kinds: &KnownKinds) -> Result<Report, Error> {
    // Before the copy, which may take minutes.
    kinds.check()?;
    let source = DatabaseFile::existing(from)?;
    // Refused before the copy, which may take minutes, and again when the copy gets its name.
    refuse_existing(to)?;
    // A name that no database can have is refused for a copy as well.
    let to = &DatabasePath::resolve(to)?;
    let scratch = Scratch::beside(to).map_err(|error| Error::unusable(to, &error.to_string()))?;
    let partial = scratch.file("copy.sqlite3");
    copy(&source, &partial)?;
    let report = verify(&partial, kinds)?;
    crash_point!("backup-copied-before-name");
    if report.is_sound() {
        // The copy gets the permissions of the log.
        let permitted = source.permissions().and_then(|mode| std::fs::set_permissions(&partial, mode));
        permitted.map_err(|error| failed(to, &error))?;
        name_file(&partial, to)?;
    }
    Ok(report)
}

/// Refuses a path at which a file exists.
pub(super) fn refuse_existing(to: &Path) -> Result<(), Error> {
    match std::fs::symlink_metadata(to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::unusable(to, &error.to_string())),
        Ok(_) => Err(exists(to)),
    }
}

fn exists(to: &Path) -> Error {
    Error::unusable(to, "it exists, and this program overwrites nothing: choose another path")
}

/// Gives a complete file its name, unless another file has the name meanwhile, and makes both durable.
pub(super) fn name_file(file: &Path, to: &Path) -> Result<(), Error> {
    complete(file, to).map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists { exists(to) } else { failed(to, &error) }
    })
}

fn complete(copy: &Path, to: &Path) -> io::Result<()> {
    File::open(copy)?.sync_all()?;
    // A link never replaces an existing file; a rename would.
    match std::fs::hard_link(copy, to) {
        // A database has one name: the name in the scratch directory goes.
        Ok(()) => std::fs::remove_file(copy)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
        Err(_) => claim_and_rename(copy, to)?,
    }
    // The name is durable only after a sync of the directory.
    let directory = to.parent().unwrap_or(Path::new("/"));
    File::open(directory)?.sync_all()
}

/// Names the copy on a file system without hard links. A rename would replace another program's file, so an
/// empty file claims the name first.
fn claim_and_rename(copy: &Path, to: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(to)?;
    std::fs::rename(copy, to).inspect_err(|_| drop(std::fs::remove_file(to)))
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::Storage(format!("{}: {error}", path.display()))
}
