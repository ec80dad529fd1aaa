//! The tasks of `write-service`: `--verify` checks the log, `--backup` copies the log.
//!
//! **Invariant:** a task runs beside a serving process, prints its report on stdout, for people and for
//! `grep`, and ends with exit status 0 only if the log is sound.
//!
//! Read next: `es/audit/mod.rs`.

use std::io::Write;
use std::path::Path;

use super::process::ExitError;
use super::serve::database_at;
use super::shutdown::Shutdown;
use crate::account;
use crate::es::{self, Report, Scratch};

/// Checks the log in the database `db` and prints the report. A signal ends the task at once.
///
/// # Errors
/// When the log is missing or not sound.
pub fn verify_log(db: &Path, shutdown: Shutdown) -> Result<(), ExitError> {
    database_at(db)?;
    // From here on a signal removes scratch files and ends the process.
    shutdown.end_at_once(Scratch::end_all)?;
    let report =
        es::verify(db, &account::known_kinds()).map_err(|error| ExitError::new(error.to_string()))?;
    print(&report)?;
    if report.is_sound() {
        return Ok(());
    }
    Err(ExitError::new(format!("{} is not sound: keep the file, and restore a backup", db.display())))
}

/// Copies the log in the database `db` to the new file `to`, verifies the copy, and prints the report. A
/// signal ends the task at once and removes the partial copy.
///
/// # Errors
/// When no sound copy was made.
pub fn back_up_log(db: &Path, to: &Path, shutdown: Shutdown) -> Result<(), ExitError> {
    database_at(db)?;
    // From here on a signal removes scratch files and ends the process.
    shutdown.end_at_once(Scratch::end_all)?;
    let report =
        es::backup(db, to, &account::known_kinds()).map_err(|error| ExitError::new(error.to_string()))?;
    print(&report)?;
    if report.is_sound() {
        return Ok(());
    }
    Err(ExitError::new(format!("{} is not sound, so no backup was made", db.display())))
}

fn print(report: &Report) -> Result<(), ExitError> {
    write!(std::io::stdout(), "{report}")
        .map_err(|error| ExitError::new(format!("the report cannot be printed: {error}")))
}
