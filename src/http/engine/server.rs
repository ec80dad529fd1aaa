//! Where a service meets a socket: the options, the choice of engine, and the running server.
//!
//! **Invariant:** everything a client can make the server spend (connections, bytes, seconds) has
//! a limit here, with its reason.
//!
//! Read next: `blocking.rs`, the default engine.

use std::any::Any;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;

use super::blocking;
use crate::http::budget::{Budget, Share};
use crate::http::{Problem, Request, Response, problems};

/// Connections that the system opens before we come to accept them; Linux takes no more than
/// `net.core.somaxconn`, 4096 by default. Beyond, it drops a client's handshake, and the client repeats
/// that after 1, 3, 7, 15 seconds: with the 128 that std asks for, who came in a crowd waited so for
/// its 503. Here it waits for as long as we take to accept 4096, which is a fraction of a second.
const BACKLOG: i32 = 4096;

/// A service, as the engines hold it.
pub(super) type Service = dyn Fn(&Request) -> Response + Send + Sync;

/// What carries the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Our own engine on `std::net`: a thread for each connection, from a bounded set.
    #[default]
    Blocking,
    /// The crate tiny_http, for trusted networks only: `tests/spec/http_engine.rs` lists by name
    /// what it cannot do, with the reasons.
    #[cfg(feature = "tiny_http")]
    TinyHttp,
}

impl Engine {
    /// The engines of this build.
    pub const ALL: &[Self] = &[
        Self::Blocking,
        #[cfg(feature = "tiny_http")]
        Self::TinyHttp,
    ];
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocking => "blocking",
            #[cfg(feature = "tiny_http")]
            Self::TinyHttp => "tiny_http",
        })
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|engine| engine.to_string() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(Self::to_string).collect();
            format!("`{name}` is no HTTP engine of this build, which has: {}", names.join(", "))
        })
    }
}

/// The limits of a server. The tiny_http engine keeps [`Options::max_body_bytes`] and
/// [`Options::stop_timeout`] and has no way to keep the others.
#[derive(Clone, Debug)]
pub struct Options {
    /// What carries the requests.
    pub engine: Engine,
    /// Connections open at once, each with a thread. When all are taken, the one that has waited
    /// longest for its client gives way; when none has waited for a second, the newcomer gets 503.
    /// Default 1024: an idle thread costs about 16 KiB and a busy one 48, so 48 MiB at worst. The
    /// blocking engine also stays below the process's limit of open files: with the usual one, which
    /// is 1024 too, there are 768.
    pub max_connections: usize,
    /// Bytes of a request line with its headers. Default 16 KiB: browsers and proxies stay below 8.
    pub max_head_bytes: usize,
    /// Headers of a request, 128 at most. Default 64: browsers send about 20.
    pub max_headers: usize,
    /// Bytes of a request body. Default 64 KiB: the contract's limit.
    pub max_body_bytes: usize,
    /// From the first byte of a head to its last. Default 10 s: longer than any network hiccup
    /// that TCP repairs, and not longer than [`Options::stop_timeout`].
    pub head_timeout: Duration,
    /// For the whole body after its head. Default 10 s, as for the head.
    pub body_timeout: Duration,
    /// Without a byte of a response taken by the client. Default 10 s: longer than any network hiccup that
    /// TCP repairs. A client that takes something gets the whole response, see `wire.rs`.
    pub write_timeout: Duration,
    /// The bytes of large answers that are held at once.
    pub answers: Arc<Budget>,
    /// How long a connection may stay silent between requests. Default 75 s: longer than
    /// [`MAX_WAIT_SECONDS`](crate::http::MAX_WAIT_SECONDS) and than the pools of common clients and proxies keep theirs,
    /// so that it is the client who closes and no request crosses with our close.
    pub idle_timeout: Duration,
    /// How long [`Server::stop`] lets requests in flight finish. Default 10 s, as in the contract.
    pub stop_timeout: Duration,
    /// Counts what happens to connections; keep a clone of it to show it on `/metrics`.
    pub connections: Arc<Connections>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            engine: Engine::default(),
            max_connections: 1024,
            max_head_bytes: 16 * 1024,
            max_headers: 64,
            max_body_bytes: 64 * 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            answers: Arc::default(),
            idle_timeout: Duration::from_secs(75),
            stop_timeout: Duration::from_secs(10),
            connections: Arc::default(),
        }
    }
}

/// Counters of a server's connections, shared between its engine and who reports them.
#[derive(Debug, Default)]
pub struct Connections {
    pub(super) open: AtomicUsize,
    pub(super) threads: AtomicUsize,
    pub(super) accepted: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) panics: AtomicU64,
}

impl Connections {
    /// The counts now.
    pub fn stats(&self) -> ConnectionStats {
        ConnectionStats {
            open: self.open.load(Ordering::Relaxed),
            threads: self.threads.load(Ordering::Relaxed),
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
            panics: self.panics.load(Ordering::Relaxed),
        }
    }
}

/// What [`Connections::stats`] counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// Connections open now. The tiny_http engine cannot tell and says 0.
    pub open: usize,
    /// Threads that serve connections now, idle ones included.
    pub threads: usize,
    /// Connections accepted since the start. The tiny_http engine cannot tell and says 0.
    pub accepted: u64,
    /// Connections answered with 503 because all were taken.
    pub refused: u64,
    /// Connections closed because they had waited longest when room was needed.
    pub evicted: u64,
    /// Requests answered with 500 because their handler panicked.
    pub panics: u64,
}

/// A running server. Dropping it stops it like [`Server::stop`].
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    connections: Arc<Connections>,
    running: Running,
}

/// The engine behind a [`Server`]; each stops when it is dropped, and nothing else is asked of it, which
/// is why the compiler takes its fields for dead.
#[derive(Debug)]
enum Running {
    Blocking(#[allow(dead_code)] blocking::Running),
    #[cfg(feature = "tiny_http")]
    TinyHttp(#[allow(dead_code)] super::tiny::Running),
}

/// Serves `service` on `listener` until the returned server is stopped or dropped.
///
/// # Errors
/// When the listener has no address, cannot listen, or no thread can be started: tell the operator
/// and exit.
pub fn serve(
    listener: TcpListener,
    options: Options,
    service: impl Fn(&Request) -> Response + Send + Sync + 'static,
) -> io::Result<Server> {
    let address = listener.local_addr()?;
    SockRef::from(&listener).listen(BACKLOG)?;
    let connections = Arc::clone(&options.connections);
    let service: Arc<Service> = Arc::new(service);
    let running = match options.engine {
        Engine::Blocking => Running::Blocking(blocking::start(listener, options, service)?),
        #[cfg(feature = "tiny_http")]
        Engine::TinyHttp => Running::TinyHttp(super::tiny::start(listener, options, service)?),
    };
    Ok(Server { address, connections, running })
}

impl Server {
    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What its connections do now.
    pub fn connections(&self) -> ConnectionStats {
        self.connections.stats()
    }

    /// Stops: no new connections, idle ones are closed at once, requests in flight get their
    /// answer within [`Options::stop_timeout`]; then all threads are gone, but for handlers that
    /// did not return in time. End long polls first (see [`crate::watch::Watch::close`]).
    pub fn stop(self) {
        drop(self.running);
    }
}

/// Runs the handler. Its panic costs this one request: what it shares with others is behind
/// locks, which it leaves consistent or poisoned.
pub(super) fn call(service: &Service, request: &Request, connections: &Connections) -> Response {
    let called = catch_unwind(AssertUnwindSafe(|| service(request)));
    called.unwrap_or_else(|panic| {
        connections.panics.fetch_add(1, Ordering::Relaxed);
        let (method, path) = (request.method.as_str(), request.path());
        log::error!("{method} {path}: the handler panicked: {}", panic_text(&*panic));
        Problem::new(&problems::INTERNAL_ERROR, "the handler failed; see the log").into()
    })
}

/// The response with its share of the budget for answers. When that is spent, a refusal takes the
/// response's place, which is small.
pub(super) fn within_budget(response: Response, answers: &Budget) -> (Response, Option<Share<'_>>) {
    match answers.take(response.body.len()) {
        Some(share) => (response, Some(share)),
        None => {
            drop(response);
            let detail = "too many large answers are on their way to clients; ask for less, or later";
            let problem = Problem::new(&problems::OVERLOADED, detail).with_header("Retry-After", "1");
            (problem.into(), None)
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_named_as_on_the_command_line() {
        for engine in Engine::ALL {
            assert_eq!(engine.to_string().parse(), Ok(*engine));
        }
        assert!("nginx".parse::<Engine>().unwrap_err().contains("blocking"));
    }
}
