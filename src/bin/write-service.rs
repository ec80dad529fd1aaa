//! The write side as a process: see `write-service --help`.
//!
//! Read next: `service/write.rs`.

use std::process::ExitCode;

use tally::service::config::{Config, WriteConfig, WriteTask};
use tally::service::process::{ExitError, announce, run};
use tally::service::shutdown::Shutdown;
use tally::service::{WriteService, back_up_log, verify_log};

fn main() -> ExitCode {
    run(|config: WriteConfig, shutdown| match config.task {
        WriteTask::Serve => serve(&config, &shutdown),
        WriteTask::Verify => verify_log(&config.db, shutdown),
        WriteTask::Backup(to) => back_up_log(&config.db, &to, shutdown),
    })
}

fn serve(config: &WriteConfig, shutdown: &Shutdown) -> Result<(), ExitError> {
    let service = WriteService::start(config)?;
    announce(WriteConfig::PROGRAM, service.address());
    let _stop = shutdown.wait();
    service.stop();
    Ok(())
}
