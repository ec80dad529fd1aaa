//! A copy of a log's file, made while the log is in use.
//!
//! SQLite copies the file page by page within one read transaction: the copy is the log between two commits.
//! The writer does not wait; the write-ahead log grows by the commits of the meantime, and is flushed
//! afterwards.
//!
//! Read next: `audit/backup.rs`, which verifies the copy and names it.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::inspect::connect;
use super::schema::{FileKind, SCHEMA_VERSION};
use crate::es::Error;
use crate::es::database_file::{Access, DatabaseFile, DatabasePath};

/// Pages copied in one step: 4 MiB.
const PAGES_PER_STEP: i32 = 1_024;

/// Copies the log in `from` to the new file `to`.
///
/// # Errors
/// [`Error::Unusable`] when `from` is not a log, [`Error::Storage`] when the copy cannot be written.
pub(in crate::es) fn copy(from: &DatabaseFile, to: &Path) -> Result<(), Error> {
    let (source, kind) = connect(from)?;
    match kind {
        FileKind::Log { version: SCHEMA_VERSION } => {}
        FileKind::Log { .. } | FileKind::Empty | FileKind::Foreign => {
            let what = "it is no log of this version: check the path";
            return Err(Error::unusable(from.path(), what));
        }
    }
    let file = DatabaseFile::existing_or_new(DatabasePath::resolve(to)?)?;
    let mut target = file.connect(Access::Write)?;
    // Within one read transaction: otherwise SQLite would restart the copy at every commit of the writer.
    source.execute_batch("BEGIN; SELECT count(*) FROM log")?;
    copy_pages(&source, &mut target)?;
    source.execute_batch("COMMIT")?;
    // One file, without a write-ahead log beside it: operators copy a backup with plain tools.
    target.pragma_update(None, "journal_mode", "DELETE")?;
    target.close().map_err(|(_, error)| Error::from(error))?;
    // The source kept its name until the end of the copy.
    Ok(from.check()?)
}

fn copy_pages(source: &Connection, target: &mut Connection) -> Result<(), Error> {
    let backup = Backup::new(source, target)?;
    let mut step = StepResult::More;
    while step == StepResult::More {
        step = backup.step(PAGES_PER_STEP)?;
    }
    // Busy and locked cannot happen: no other process knows the target, and readers of the source never wait.
    if step == StepResult::Done {
        Ok(())
    } else {
        Err(Error::Storage(format!("the copy cannot go on: {step:?}")))
    }
}
