//! What `write-service` does instead of serving: it checks its log, or copies it.
//!
//! Both work beside a running service. They print what they found on stdout, for people and for
//! `grep`; the exit status says whether it is good.

use std::io::Write;
use std::path::Path;

use super::serve::database_at;
use crate::account;
use crate::es::{self, Report, Scratch};
use crate::service::process::ExitError as StartError;
use crate::service::shutdown::Shutdown;

/// Checks the log in that database and prints the report. A signal ends it at once.
///
/// # Errors
/// When it is not sound, or there is none.
pub fn verify_log(db: &Path, shutdown: Shutdown) -> Result<(), StartError> {
    database_at(db)?;
    shutdown.end_at_once(Scratch::end_all)?;
    let report =
        es::verify(db, &account::known_kinds()).map_err(|error| StartError::new(error.to_string()))?;
    print(&report)?;
    if report.is_sound() {
        return Ok(());
    }
    Err(StartError::new(format!("{} is not sound: keep the file, and restore a backup", db.display())))
}

/// Copies the log in that database to a new file, verifies the copy, and prints the report. A signal ends it
/// at once; what was copied is removed then.
///
/// # Errors
/// When there is no copy now.
pub fn back_up_log(db: &Path, to: &Path, shutdown: Shutdown) -> Result<(), StartError> {
    database_at(db)?;
    shutdown.end_at_once(Scratch::end_all)?;
    let report =
        es::backup(db, to, &account::known_kinds()).map_err(|error| StartError::new(error.to_string()))?;
    print(&report)?;
    if report.is_sound() {
        return Ok(());
    }
    Err(StartError::new(format!("{} is not sound, so there is no backup of it", db.display())))
}

fn print(report: &Report) -> Result<(), StartError> {
    write!(std::io::stdout(), "{report}")
        .map_err(|error| StartError::new(format!("the report cannot be printed: {error}")))
}
