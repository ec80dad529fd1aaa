//! A copy of a log that is in use: whole, verified, and under its name only when it is both.
//!
//! SQLite copies the file page by page from one read transaction, so the copy is the log as it was
//! at one moment between two commits. The writer is not held up; the write-ahead log grows by
//! what is written meanwhile, and is emptied again afterwards.
//!
//! **Invariant:** a file of the name that was asked for is a complete, synced, verified copy. What exists
//! under the name is never overwritten: of two backups to one name, one is refused. The copy is made in a
//! [`Scratch`] directory, `NAME-scratch-UUID`; a backup that was killed leaves that directory, which can be
//! deleted.
//!
//! Restoring is copying the file to where the service looks for its database, while no service
//! runs and no `-wal`, `-shm` or `-lock` file of another database is beside it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::es::audit::log::{Report, verify};
use crate::es::database_file::{Access, DatabaseFile, DatabasePath, Scratch};
use crate::es::log::sqlite::file::{BUSY_TIMEOUT, FileKind, SCHEMA_VERSION, kind_of};
use crate::es::log::sqlite::refusal::{unreadable, unusable};
use crate::es::{Error, KnownKinds};

/// Pages copied in one step.
const PAGES_PER_STEP: i32 = 1_024;

/// Copies the log in the SQLite file at `from` to a new file `to`, and verifies the copy as
/// [`verify`] does.
///
/// The copy is kept when its report is sound; otherwise there is none, and the report says why.
///
/// # Errors
/// [`Error::Unusable`] when `from` is no log or `to` exists, [`Error::Storage`] when the copy
/// cannot be written.
pub fn backup(from: &Path, to: &Path, kinds: &KnownKinds) -> Result<Report, Error> {
    let source = DatabaseFile::existing(from)?;
    refuse_existing(to)?;
    // What no database can be called is no name for a copy either.
    let to = &DatabasePath::resolve(to)?;
    let scratch = Scratch::beside(to).map_err(|error| unusable(to, &error.to_string()))?;
    let partial = scratch.file("copy.sqlite3");
    copy(&source, &partial)?;
    let report = verify(&partial, kinds)?;
    crash_point!("backup-copied-before-name");
    if report.is_sound() {
        complete(&source, &partial, to).map_err(|error| {
            if error.kind() == ErrorKind::AlreadyExists { exists(to) } else { failed(to, &error) }
        })?;
    }
    Ok(report)
}

fn refuse_existing(to: &Path) -> Result<(), Error> {
    match std::fs::symlink_metadata(to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unusable(to, &error.to_string())),
        Ok(_) => Err(exists(to)),
    }
}

fn exists(to: &Path) -> Error {
    unusable(to, "it exists, and a backup overwrites nothing: choose another path")
}

/// Gives the copy its name, unless another file has taken that meanwhile, and makes both durable. It may be
/// read by whoever may read the log.
fn complete(source: &DatabaseFile, copy: &Path, to: &Path) -> io::Result<()> {
    std::fs::set_permissions(copy, source.permissions()?)?;
    File::open(copy)?.sync_all()?;
    match std::fs::hard_link(copy, to) {
        // The second name must go: a database has one.
        Ok(()) => std::fs::remove_file(copy)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
        Err(_) => claim_and_rename(copy, to)?,
    }
    let directory = to.parent().unwrap_or(Path::new("/"));
    File::open(directory)?.sync_all()
}

/// Where the file system has no links: a rename would replace a file that came into being meanwhile, so
/// the name is taken first.
fn claim_and_rename(copy: &Path, to: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(to)?;
    std::fs::rename(copy, to).inspect_err(|_| drop(std::fs::remove_file(to)))
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::Storage(format!("{}: {error}", path.display()))
}

fn copy(from: &DatabaseFile, to: &Path) -> Result<(), Error> {
    let source = open_source(from)?;
    let file = DatabaseFile::existing_or_new(DatabasePath::resolve(to)?)?;
    let mut target = file.connect(Access::Write)?;
    // From one read transaction: otherwise every commit of the writer would begin the copy anew.
    source.execute_batch("BEGIN; SELECT count(*) FROM log")?;
    copy_pages(&source, &mut target)?;
    source.execute_batch("COMMIT")?;
    // One file, without a write-ahead log beside it: that is what people copy around.
    target.pragma_update(None, "journal_mode", "DELETE")?;
    target.close().map_err(|(_, error)| Error::from(error))?;
    // The source was one file until the end of the copy.
    Ok(from.check()?)
}

fn open_source(from: &DatabaseFile) -> Result<Connection, Error> {
    let path = from.path();
    let refuse = |error: rusqlite::Error| unreadable(path, &error);
    let source = from.connect(Access::Read).map_err(refuse)?;
    source.busy_timeout(BUSY_TIMEOUT)?;
    match kind_of(&source).map_err(refuse)? {
        FileKind::Log { version: SCHEMA_VERSION } => Ok(source),
        FileKind::Log { .. } | FileKind::Empty | FileKind::Foreign => {
            Err(unusable(path, "it is no log of this version: check the path"))
        }
    }
}

fn copy_pages(source: &Connection, target: &mut Connection) -> Result<(), Error> {
    let backup = Backup::new(source, target)?;
    let mut step = StepResult::More;
    while step == StepResult::More {
        step = backup.step(PAGES_PER_STEP)?;
    }
    // Nobody else knows the target, and readers of the source wait for nobody.
    if step == StepResult::Done {
        Ok(())
    } else {
        Err(Error::Storage(format!("the copy cannot go on: {step:?}")))
    }
}
