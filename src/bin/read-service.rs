//! Stub until wired.

use std::process::ExitCode;

use tally::config::{self, ReadConfig};

fn main() -> ExitCode {
    match config::from_process::<ReadConfig>() {
        Ok(_) => ExitCode::FAILURE,
        Err(code) => code,
    }
}
