//! Stub until wired.

use std::process::ExitCode;

use tally::config::{self, AllConfig};

fn main() -> ExitCode {
    match config::from_process::<AllConfig>() {
        Ok(_) => ExitCode::FAILURE,
        Err(code) => code,
    }
}
