//! The two jobs of `write-service` besides serving: verify the log, and back up the log.
//!
//! Both work beside a running service. Each prints its report on stdout, for people and for `grep`; the exit
//! status says whether the log is sound.
//!
//! Read next: `es/audit/log.rs`, which makes the report.

use std::io::Write;
use std::path::Path;

use super::serve::database_at;
use crate::account;
use crate::es::{self, Report, Scratch};
use crate::service::process::ExitError;
use crate::service::shutdown::Shutdown;

/// Verifies the log in the database and prints the report. A signal ends the process at once.
///
/// # Errors
/// When the log is not sound or does not exist.
pub fn verify_log(db: &Path, shutdown: Shutdown) -> Result<(), ExitError> {
    // First, for the exit status: 2 for a path that no database can have, 1 for a failed task.
    database_at(db)?;
    shutdown.end_at_once(Scratch::end_all)?;
    let report =
        es::verify(db, &account::known_kinds()).map_err(|error| ExitError::new(error.to_string()))?;
    conclude(db, &report, ": keep the file, and restore a backup")
}

/// Copies the log in the database to a new file, verifies the copy, and prints the report. A signal removes
/// the copy and ends the process at once.
///
/// # Errors
/// When the copy was not made.
pub fn back_up_log(db: &Path, to: &Path, shutdown: Shutdown) -> Result<(), ExitError> {
    database_at(db)?;
    // The copy of a large log takes minutes: a signal ends the task and removes the partial copy.
    shutdown.end_at_once(Scratch::end_all)?;
    let report =
        es::backup(db, to, &account::known_kinds()).map_err(|error| ExitError::new(error.to_string()))?;
    conclude(db, &report, ", so there is no backup of it")
}

/// Prints the report. An unsound log is a failure, with `consequence` for the operator.
fn conclude(db: &Path, report: &Report, consequence: &str) -> Result<(), ExitError> {
    // Not `println!`, which panics on a closed stdout.
    write!(std::io::stdout(), "{report}")
        .map_err(|error| ExitError::new(format!("the report cannot be printed: {error}")))?;
    if report.is_sound() {
        return Ok(());
    }
    Err(ExitError::new(format!("{} is not sound{consequence}", db.display())))
}
