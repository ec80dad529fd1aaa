//! A copy of a log that is in use: whole, verified, and under its name only when it is both.
//!
//! SQLite copies the file page by page from one read transaction, so the copy is the log as it was
//! at one moment between two commits. The writer is not held up; the write-ahead log grows by
//! what is written meanwhile, and is emptied again afterwards.
//!
//! **Invariant:** a file of the name that was asked for is a complete, synced, verified copy. An
//! interrupted backup leaves a `-partial` file, which the next one replaces. What exists under
//! the name is never overwritten.
//!
//! Restoring is copying the file to where the service looks for its database, while no service
//! runs and no `-wal`, `-shm` or `-lock` file of another database is beside it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::sqlite_file::{
    BUSY_TIMEOUT, FileKind, SCHEMA_VERSION, kind_of, unreadable, unusable, with_suffix,
};
use super::verify::{Report, verify};
use super::{Error, KnownKinds};

/// Pages copied in one step. Between steps a stop signal ends the process; nothing else happens.
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
    refuse_existing(to)?;
    let partial = Partial { path: with_suffix(to, "-partial") };
    partial.begin()?;
    copy(from, &partial.path)?;
    let report = verify(&partial.path, kinds)?;
    crash_point!("backup-copied-before-name");
    if report.is_sound() {
        partial.complete(to)?;
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

/// A copy that is not complete; removed when dropped.
struct Partial {
    path: PathBuf,
}

impl Partial {
    /// Makes way for it: what an interrupted backup has left is worth nothing.
    fn begin(&self) -> Result<(), Error> {
        self.remove();
        let made = OpenOptions::new().write(true).create_new(true).open(&self.path);
        made.map(drop).map_err(|error| unusable(&self.path, &error.to_string()))
    }

    /// Gives it its name, unless somebody has taken that meanwhile, and makes both durable.
    fn complete(self, to: &Path) -> Result<(), Error> {
        let taken = |error: io::Error| {
            if error.kind() == ErrorKind::AlreadyExists { exists(to) } else { failed(to, &error) }
        };
        File::open(&self.path)
            .and_then(|file| file.sync_all())
            .map_err(|error| failed(&self.path, &error))?;
        // A rename would replace a file that came into being meanwhile, so the name is taken first.
        OpenOptions::new().write(true).create_new(true).open(to).map_err(taken)?;
        std::fs::rename(&self.path, to).map_err(|error| {
            let _ = std::fs::remove_file(to);
            failed(to, &error)
        })?;
        let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty());
        let synced =
            File::open(directory.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all());
        synced.map_err(|error| failed(to, &error))
    }

    fn remove(&self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            // What cannot be removed is met again when the file is made.
            let _ = std::fs::remove_file(with_suffix(&self.path, suffix));
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.remove();
    }
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::Storage(format!("{}: {error}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let source = open_source(from)?;
    let mut target = Connection::open(to)?;
    // From one read transaction: otherwise every commit of the writer would begin the copy anew.
    source.execute_batch("BEGIN; SELECT count(*) FROM log")?;
    copy_pages(&source, &mut target)?;
    source.execute_batch("COMMIT")?;
    // One file, without a write-ahead log beside it: that is what people copy around.
    target.pragma_update(None, "journal_mode", "DELETE")?;
    target.close().map_err(|(_, error)| Error::from(error))
}

fn open_source(from: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let refuse = |error: rusqlite::Error| unreadable(from, &error);
    let source = Connection::open_with_flags(from, flags).map_err(refuse)?;
    source.busy_timeout(BUSY_TIMEOUT)?;
    match kind_of(&source).map_err(refuse)? {
        FileKind::Log { version: SCHEMA_VERSION } => Ok(source),
        FileKind::Log { .. } | FileKind::Empty | FileKind::Foreign => {
            Err(unusable(from, "it is no log of this version: check the path"))
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
