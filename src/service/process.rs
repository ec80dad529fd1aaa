//! The frame of every binary: from the command line to the exit status.
//!
//! **Invariant:** stdout of a service carries one line with the listening address; stdout of a task
//! (`--help`, `--verify`, `--backup`) carries its report. `tally` adds commands to try to the lines of its
//! three services. A failure is one line on stderr with the remedy, and an exit status other than 0.
//!
//! Read next: `service/shutdown.rs`.

use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use super::config::{self, Config, EXIT_USAGE, ListenAddress, ServiceConfig};
use super::shutdown::{self, Shutdown};
use crate::http;

const EXIT_FAILURE: u8 = 1;

/// The reason why a service or a task fails: one line with the remedy, and the exit status.
#[derive(Debug)]
pub struct ExitError {
    message: String,
    status: u8,
}

impl ExitError {
    /// Returns an error with exit status 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: EXIT_FAILURE }
    }

    /// Returns an error about a value of the command line, with exit status 2.
    pub fn bad_value(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: EXIT_USAGE }
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ExitError {}

impl From<io::Error> for ExitError {
    fn from(error: io::Error) -> Self {
        Self::new(format!("the system refused a socket, a thread or a signal handler: {error}"))
    }
}

/// Runs a binary: reads the configuration, starts the logger, calls `serve`.
///
/// The exit status is 0 after success and after `--help`, 1 after a failure, 2 after a wrong command line. A
/// task that a signal ends exits with the status of the signal: see [`Shutdown::end_at_once`].
pub fn run<C: Config>(serve: impl FnOnce(C, Shutdown) -> Result<(), ExitError>) -> ExitCode {
    let config = match config::from_process::<C>() {
        Ok(config) => config,
        Err(code) => return code,
    };
    crate::service::logger::start(config.log());
    // Before any part starts, so that from here on a signal stops all parts in order.
    let ended = shutdown::on_signal().map_err(ExitError::from).and_then(|shutdown| serve(config, shutdown));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{}: {error}", C::PROGRAM);
            ExitCode::from(error.status)
        }
    }
}

/// Listens on the configured address.
///
/// # Errors
/// When the address is in use or of another machine, or its name is unknown.
pub fn listen(address: &ListenAddress) -> Result<TcpListener, ExitError> {
    address.bind().map_err(|error| {
        let remedy = if error.kind() == io::ErrorKind::AddrInUse {
            "stop the process that listens there, or choose another address"
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            "choose a port from 1024 on"
        } else {
            // The remaining causes: a foreign address, or a name that does not resolve.
            "choose an address of this machine"
        };
        ExitError::new(format!("cannot listen on {address}: {error}; {remedy}"))
    })
}

/// Returns the options of the HTTP engine.
pub fn http_options(service: &ServiceConfig) -> http::Options {
    http::Options { engine: service.engine, ..http::Options::default() }
}

/// Prints on stdout that a service is ready: scripts and tests wait for this line.
pub fn announce(program: &str, address: SocketAddr) {
    let mut stdout = io::stdout().lock();
    let printed = writeln!(stdout, "{program} listening on http://{address}").and_then(|()| stdout.flush());
    // A closed stdout does not stop a service.
    if let Err(error) = printed {
        log::warn!("{program} is ready on {address}, but cannot print its address on stdout: {error}");
    }
}
