//! Stub until wired.

use std::process::ExitCode;

use tally::config::{self, WriteConfig};

fn main() -> ExitCode {
    match config::from_process::<WriteConfig>() {
        Ok(_) => ExitCode::FAILURE,
        Err(code) => code,
    }
}
