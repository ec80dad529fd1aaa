//! A running server: a service meets a listener.
//!
//! **Invariant:** a [`Server`] that is dropped has stopped: the listener is closed and no thread
//! accepts connections.
//!
//! Read next: `options.rs` for the limits; `blocking.rs`, the default engine.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use socket2::SockRef;

use super::blocking;
use super::options::{ConnectionStats, Connections, Engine, Options};
use super::service::Service;
use crate::http::{Request, Response};

/// Number of connections that the system opens before the engine accepts them: the default of Linux for
/// `net.core.somaxconn`, which caps the number. Beyond the backlog, Linux drops a client's handshake, and
/// the client retries after 1, 3, 7, 15 seconds. With std's backlog of 128, clients in a burst waited
/// through TCP retries before their 503; the engine accepts 4096 connections in a fraction of a second.
const BACKLOG: i32 = 4096;

/// A running server. Dropping a server stops it like [`Server::stop`].
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    connections: Arc<Connections>,
    running: RunningEngine,
}

/// The engine behind a [`Server`]. Dropping the engine stops the threads; no field is ever read, hence
/// the compiler counts the fields as dead.
#[derive(Debug)]
enum RunningEngine {
    Blocking(#[allow(dead_code)] blocking::BlockingEngine),
    #[cfg(feature = "tiny_http")]
    TinyHttp(#[allow(dead_code)] super::tiny::TinyEngine),
}

/// Serves `service` on `listener` until the returned server is stopped or dropped.
///
/// # Errors
/// When the listener has no address, cannot listen, or no thread can be started: report the error to the
/// operator and exit.
pub fn serve(
    listener: TcpListener,
    options: Options,
    service: impl Fn(&Request) -> Response + Send + Sync + 'static,
) -> io::Result<Server> {
    let address = listener.local_addr()?;
    // The listener listens already; a second call changes the backlog alone.
    SockRef::from(&listener).listen(BACKLOG)?;
    let connections = Arc::clone(&options.connections);
    let service: Arc<Service> = Arc::new(service);
    let running = match options.engine {
        Engine::Blocking => RunningEngine::Blocking(blocking::start(listener, options, service)?),
        #[cfg(feature = "tiny_http")]
        Engine::TinyHttp => RunningEngine::TinyHttp(super::tiny::start(listener, options, service)?),
    };
    Ok(Server { address, connections, running })
}

impl Server {
    /// Returns the address of the listener.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the counts of the connections now.
    pub fn connections(&self) -> ConnectionStats {
        self.connections.stats()
    }

    /// Stops accepting, closes idle connections at once and lets requests in flight finish within
    /// [`Options::stop_timeout`]. Afterwards all threads are gone, except handlers that did not return in
    /// time. End long polls first (see [`crate::watch::Watch::close`]).
    pub fn stop(self) {
        drop(self.running);
    }
}
