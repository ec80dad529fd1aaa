//! The commands on the file of the event store: verify, back up, export, import. None of them needs a service.
//!
//! **Invariant:** an existing file is never overwritten, and no half file stays under the name that was asked
//! for.
//!
//! Read next: `es/audit/mod.rs`, which does the work.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::arguments::Arguments;
use super::failure::CommandFailure;
use super::terminal::remark;
use crate::account;
use crate::es::{self, Scratch};
use crate::service::shutdown;
use crate::service::{back_up_log, verify_log};

/// The name of the event store's file in a data directory.
const WRITE_DB: &str = "write_db.sqlite3";
/// The name that means stdin or stdout.
const STANDARD: &str = "-";

/// Returns the path of the event store's file.
fn database(given: &Arguments) -> Result<PathBuf, CommandFailure> {
    match (given.value("db"), given.value("data-dir")) {
        // Two names for one file could disagree.
        (Some(_), Some(_)) => Err(CommandFailure::usage("--db and --data-dir: choose one of the two")),
        (Some(path), None) | (None, Some(path)) if path.is_empty() => {
            Err(CommandFailure::usage("expected a path, got an empty value"))
        }
        (Some(db), None) => Ok(db.into()),
        (None, Some(directory)) => Ok(Path::new(directory).join(WRITE_DB)),
        (None, None) => Ok(WRITE_DB.into()),
    }
}

/// Checks the log and prints the report.
pub(super) fn verify(given: &Arguments) -> Result<(), CommandFailure> {
    let db = database(given)?;
    Ok(verify_log(&db, shutdown::on_signal().map_err(|error| refused(&error))?)?)
}

/// Copies the log to a new file and prints the report on the copy.
pub(super) fn backup(given: &Arguments) -> Result<(), CommandFailure> {
    let (db, to) = (database(given)?, given.operand(0).unwrap_or_default());
    Ok(back_up_log(&db, Path::new(to), shutdown::on_signal().map_err(|error| refused(&error))?)?)
}

fn refused(error: &io::Error) -> CommandFailure {
    CommandFailure::failed(format!("the system refused a signal handler: {error}"))
}

/// Writes the log as JSON lines to stdout or to a new file.
pub(super) fn export(given: &Arguments) -> Result<(), CommandFailure> {
    let db = database(given)?;
    let to = given.operand(0).unwrap_or(OsStr::new(STANDARD));
    let exported = if to == STANDARD {
        let mut out = Outlet { out: BufWriter::new(io::stdout().lock()), is_closed: false };
        let exported = es::export(&db, &mut out);
        // `head` has its lines; the error of the export is a consequence.
        if out.is_closed {
            return Err(CommandFailure::ClosedPipe);
        }
        exported?
    } else {
        export_to(&db, Path::new(to))?
    };
    // On stderr: stdout may carry the export itself.
    remark(&exported.to_string());
    Ok(())
}

/// Stdout, which remembers that its reader has gone.
struct Outlet<W> {
    out: W,
    is_closed: bool,
}

impl<W: Write> Write for Outlet<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).inspect_err(|error| self.is_closed |= error.kind() == ErrorKind::BrokenPipe)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush().inspect_err(|error| self.is_closed |= error.kind() == ErrorKind::BrokenPipe)
    }
}

fn export_to(db: &Path, to: &Path) -> Result<es::Exported, CommandFailure> {
    let failed = |error: io::Error| CommandFailure::failed(format!("{}: {error}", to.display()));
    // `create_new` refuses an existing file; the name is claimed before the work.
    let file = OpenOptions::new().write(true).create_new(true).open(to).map_err(|error| {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return failed(error);
        }
        let what = "exists, and an export overwrites nothing: choose another path";
        CommandFailure::failed(format!("{} {what}", to.display()))
    })?;
    let mut out = BufWriter::new(file);
    let exported = es::export(db, &mut out).map_err(CommandFailure::from);
    let exported = exported.and_then(|exported| {
        let synced = out.flush().and_then(|()| out.get_ref().sync_all());
        synced.map(|()| exported).map_err(failed)
    });
    // The half of an export would pass for a whole one at a glance. The removal cannot be repaired either.
    exported.inspect_err(|_| drop(std::fs::remove_file(to)))
}

/// Builds a new log from an export.
pub(super) fn import(given: &Arguments) -> Result<(), CommandFailure> {
    let db = database(given)?;
    let from = given.operand(0).unwrap_or_default();
    // A signal must not leave the scratch directory behind.
    let ended = shutdown::on_signal().and_then(|signal| signal.end_at_once(Scratch::end_all));
    ended.map_err(|error| refused(&error))?;
    let mut lines: Box<dyn BufRead> = if from == STANDARD {
        Box::new(io::stdin().lock())
    } else {
        let failed = |error| CommandFailure::failed(format!("{}: {error}", Path::new(from).display()));
        Box::new(BufReader::new(File::open(from).map_err(failed)?))
    };
    let report = es::import(&mut *lines, &db, &account::known_kinds())?;
    super::terminal::Terminal::of_process(false).print(&report.to_string())
}
