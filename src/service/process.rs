//! What the binaries have in common: from the command line to the exit status.
//!
//! **Invariant:** stdout of a service carries the line that says where the service listens, and
//! nothing else; stdout of a task (`--help`, `--verify`, `--backup`) carries its report. `tally` adds
//! commands to try to the lines of its three services. A failure is one line on stderr that says what to
//! do, and an exit status that is not 0.

use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use crate::http;
use crate::service::config::{self, Config, EXIT_USAGE, ListenAddress, ServiceConfig};
use crate::service::shutdown::{self, Shutdown};

const EXIT_FAILURE: u8 = 1;

/// Why a service cannot start: one line, with what the operator can do about it.
#[derive(Debug)]
pub struct StartError {
    message: String,
    status: u8,
}

impl StartError {
    /// The error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: EXIT_FAILURE }
    }

    /// The error that a value on the command line cannot be meant: the exit status is that of a wrong
    /// command line.
    pub fn bad_value(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: EXIT_USAGE }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::new(format!("the system refuses what a service needs (sockets, threads, signals): {error}"))
    }
}

/// Runs a binary: reads its configuration, starts the logger, and lets `serve` do the rest.
///
/// The exit status is 0 when `serve` ends well or there was nothing to serve (`--help`), 1 when it
/// fails, 2 when the command line is wrong. A task that a signal ends has that of the signal: see
/// [`Shutdown::end_at_once`].
pub fn run<C: Config>(serve: impl FnOnce(C, Shutdown) -> Result<(), StartError>) -> ExitCode {
    let config = match config::from_process::<C>() {
        Ok(config) => config,
        Err(code) => return code,
    };
    crate::service::logger::start(config.log());
    // Before anything is started, so that a signal from now on ends it in order.
    let ended = shutdown::on_signal().map_err(StartError::from).and_then(|shutdown| serve(config, shutdown));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{}: {error}", C::PROGRAM);
            ExitCode::from(error.status)
        }
    }
}

/// Listens where the configuration says.
///
/// # Errors
/// When the address is taken, is not of this machine, or its name is unknown.
pub fn listen(address: &ListenAddress) -> Result<TcpListener, StartError> {
    address.bind().map_err(|error| {
        let remedy = if error.kind() == io::ErrorKind::AddrInUse {
            "stop what listens there, or choose another address"
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            "choose a port from 1024 on"
        } else {
            "choose an address of this machine"
        };
        StartError::new(format!("cannot listen on {address}: {error}; {remedy}"))
    })
}

/// The HTTP engine's options for that configuration.
pub fn http_options(service: &ServiceConfig) -> http::Options {
    http::Options { engine: service.engine, ..http::Options::default() }
}

/// Says on stdout that a service is ready, in the one line that scripts and tests wait for.
pub fn announce(program: &str, address: SocketAddr) {
    let mut stdout = io::stdout().lock();
    let told = writeln!(stdout, "{program} listening on http://{address}").and_then(|()| stdout.flush());
    if let Err(error) = told {
        log::warn!("cannot say on stdout that {program} is ready on {address}: {error}");
    }
}
