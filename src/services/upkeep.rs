//! What `write-service` does instead of serving: it checks its log, or copies it.
//!
//! Both work beside a running service. They print what they found on stdout, for people and for
//! `grep`; the exit status says whether it is good.

use std::io::Write;
use std::path::Path;

use crate::account;
use crate::es::{self, Report};
use crate::process::StartError;

/// Checks the log in that database and prints the report.
///
/// # Errors
/// When it is not sound, or there is none.
pub fn verify_log(db: &Path) -> Result<(), StartError> {
    let report =
        es::verify(db, &account::known_kinds()).map_err(|error| StartError::new(error.to_string()))?;
    print(&report)?;
    if report.is_sound() {
        return Ok(());
    }
    Err(StartError::new(format!("{} is not sound: keep the file, and restore a backup", db.display())))
}

/// Copies the log in that database to a new file, verifies the copy, and prints the report.
///
/// # Errors
/// When there is no copy now.
pub fn back_up_log(db: &Path, to: &Path) -> Result<(), StartError> {
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
