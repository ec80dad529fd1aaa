//! The read side as a process: see `read-service --help`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use tally::config::{Config, ReadConfig, ReadTask};
use tally::es::{ProjectionStatus, Scratch};
use tally::process::{StartError, announce, run};
use tally::read_side::{self, Patience};
use tally::services::{ReadService, database_at};
use tally::shutdown::Shutdown;

fn main() -> ExitCode {
    run(|config: ReadConfig, shutdown| match config.task {
        ReadTask::Serve | ReadTask::RebuildThenServe => serve(&config, &shutdown),
        ReadTask::Verify => verify(&config, shutdown),
    })
}

fn serve(config: &ReadConfig, shutdown: &Shutdown) -> Result<(), StartError> {
    let service = ReadService::start(config, |statuses| {
        show_progress(statuses);
        if shutdown.is_wished() { Patience::Ended } else { Patience::Lasts }
    })?;
    announce(ReadConfig::PROGRAM, service.address());
    let _stop = shutdown.wait();
    service.stop();
    Ok(())
}

/// Says on stdout how each read model compares with the log. A signal ends it at once.
fn verify(config: &ReadConfig, shutdown: Shutdown) -> Result<(), StartError> {
    database_at(&config.db)?;
    shutdown.end_at_once(Scratch::end_all)?;
    let verified = read_side::verify(&config.db, config.registries.clone(), config.write_side.clone());
    let verified = verified.map_err(|error| StartError::new(error.to_string()))?;
    for verified in &verified {
        writeln!(std::io::stdout(), "{verified}")?;
    }
    match verified.iter().find(|verified| verified.difference.is_some()) {
        None => Ok(()),
        Some(wrong) => Err(StartError::new(format!(
            "read model {} differs from the log; rebuild it with POST /projections/{0}/rebuild or --rebuild",
            wrong.projection
        ))),
    }
}

/// One line that is written over, on a terminal only.
fn show_progress(statuses: &[ProjectionStatus]) {
    let mut stderr = std::io::stderr();
    if !stderr.is_terminal() {
        return;
    }
    let parts = statuses.iter().map(|status| {
        let position = status.rebuild.map_or(status.position, |rebuild| rebuild.position);
        format!("{} {position} of {}", status.name, status.head)
    });
    // A terminal that is gone is no reason to stop.
    let _ = write!(stderr, "\r\x1b[Krebuilding: {}", parts.collect::<Vec<_>>().join(", "));
    if statuses.iter().all(|status| status.rebuild.is_none()) {
        let _ = writeln!(stderr);
    }
}
