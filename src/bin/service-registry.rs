//! Stub until wired.

use std::process::ExitCode;

use tally::config::{self, RegistryConfig};

fn main() -> ExitCode {
    match config::from_process::<RegistryConfig>() {
        Ok(_) => ExitCode::FAILURE,
        Err(code) => code,
    }
}
