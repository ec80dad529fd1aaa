//! The write side as a process: see `write-service --help`.

use std::process::ExitCode;

use tally::config::{Config, WriteConfig, WriteTask};
use tally::process::{StartError, announce, run};
use tally::services::{WriteService, back_up_log, verify_log};
use tally::shutdown::Shutdown;

fn main() -> ExitCode {
    run(|config: WriteConfig, shutdown| match config.task {
        WriteTask::Serve => serve(&config, &shutdown),
        WriteTask::Verify => verify_log(&config.db, shutdown),
        WriteTask::Backup(to) => back_up_log(&config.db, &to, shutdown),
    })
}

fn serve(config: &WriteConfig, shutdown: &Shutdown) -> Result<(), StartError> {
    let service = WriteService::start(config)?;
    announce(WriteConfig::PROGRAM, service.address());
    let _stop = shutdown.wait();
    service.stop();
    Ok(())
}
