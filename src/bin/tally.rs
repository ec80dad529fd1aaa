//! All three services in one process, or with a command a client of them: see `tally --help`.
//!
//! Read next: `service/all.rs`; `cli/mod.rs`, the commands.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use tally::service::AllServices;
use tally::service::config::AllConfig;
use tally::service::process::{ExitError, run};
use tally::service::shutdown::Shutdown;
use uuid::Uuid;

fn main() -> ExitCode {
    // Without a command the process serves.
    tally::cli::run_command().unwrap_or_else(|| run(serve))
}

fn serve(config: AllConfig, shutdown: Shutdown) -> Result<(), ExitError> {
    let services = AllServices::start(config)?;
    services.announce();
    // A closed stdout has no reader left.
    let _ = std::io::stdout().write_all(examples(services.addresses()).as_bytes());
    let _stop = shutdown.wait();
    services.stop();
    Ok(())
}

/// Returns the address of the console, and three commands to try: open an account, pay in, read it.
fn examples([registry, write, read]: [SocketAddr; 3]) -> String {
    let id = Uuid::now_v7();
    let json = "-H 'Content-Type: application/json'";
    format!(
        "\nOpen http://{registry}/ in a browser, or try in another terminal:\n  \
         curl http://{write}/accounts {json} -d '{{\"account_id\":\"{id}\",\"owner\":\"Ada\"}}'\n  \
         curl http://{write}/accounts/{id}/deposit {json} -d '{{\"amount\":1250}}'\n  \
         curl http://{read}/accounts/{id}\n\
         Ctrl-C stops.\n"
    )
}
