//! The read side as a process: see `read-service --help`.
//!
//! Read next: `service/read.rs`.

use std::io::Write;
use std::process::ExitCode;

use tally::es::Scratch;
use tally::read_side;
use tally::service::config::{Config, ReadConfig, ReadTask};
use tally::service::process::{ExitError, announce, run};
use tally::service::shutdown::Shutdown;
use tally::service::{ReadService, database_at};

fn main() -> ExitCode {
    run(|config: ReadConfig, shutdown| match config.task {
        ReadTask::Serve | ReadTask::RebuildThenServe => serve(&config, &shutdown),
        ReadTask::Verify => verify(&config, shutdown),
    })
}

fn serve(config: &ReadConfig, shutdown: &Shutdown) -> Result<(), ExitError> {
    let service = ReadService::start(config)?;
    announce(ReadConfig::PROGRAM, service.address());
    let _stop = shutdown.wait();
    service.stop();
    Ok(())
}

/// Prints on stdout how each read model compares with the log. A signal ends the task at once.
fn verify(config: &ReadConfig, shutdown: Shutdown) -> Result<(), ExitError> {
    database_at(&config.db)?;
    shutdown.end_at_once(Scratch::end_all)?;
    let verified =
        read_side::verify(&config.db, config.side.registries.clone(), config.side.write_side.clone());
    let verified = verified.map_err(|error| ExitError::new(error.to_string()))?;
    for verified in &verified {
        writeln!(std::io::stdout(), "{verified}")?;
    }
    match verified.iter().find(|verified| verified.difference.is_some()) {
        None => Ok(()),
        Some(wrong) => Err(ExitError::new(format!(
            "read model {} differs from the log; rebuild it with POST /projections/{0}/rebuild or --rebuild",
            wrong.projection
        ))),
    }
}
