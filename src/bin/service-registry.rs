//! The service registry as a process: see `service-registry --help`.
//!
//! Read next: `service/registry.rs`.

use std::process::ExitCode;

use tally::service::RegistryService;
use tally::service::config::{Config, RegistryConfig};
use tally::service::process::{ExitError, announce, run};
use tally::service::shutdown::Shutdown;

fn main() -> ExitCode {
    run(serve)
}

fn serve(config: RegistryConfig, shutdown: Shutdown) -> Result<(), ExitError> {
    let service = RegistryService::start(&config)?;
    announce(RegistryConfig::PROGRAM, service.address());
    let _stop = shutdown.wait();
    service.stop();
    Ok(())
}
