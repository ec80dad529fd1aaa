//! The options of a server: the engine, the limits and the counters.
//!
//! **Invariant:** every resource that a client can make the server spend (connections, bytes, seconds)
//! has a limit here, with a reason.
//!
//! Read next: `server.rs`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::http::budget::Budget;

/// The implementation that carries the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Our own engine on `std::net`: a thread for each connection, from a bounded pool.
    #[default]
    Blocking,
    /// The crate tiny_http, for trusted networks only: `tests/spec/http_engine.rs` lists by name
    /// the promises that tiny_http cannot keep, with the reasons.
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
        // Searched by `Display`, so that each name stands in a single place.
        Self::ALL.iter().copied().find(|engine| engine.to_string() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(Self::to_string).collect();
            format!("expected an HTTP engine of this build ({}), got `{name}`", names.join(", "))
        })
    }
}

/// The limits of a server. The tiny_http engine keeps [`Options::max_body_bytes`] and
/// [`Options::stop_timeout`] and has no way to keep the other limits.
#[derive(Clone, Debug)]
pub struct Options {
    /// The implementation that carries the requests.
    pub engine: Engine,
    /// Maximum number of open connections, each with a thread. At the limit, the connection that has
    /// waited longest for its client is evicted; a new connection gets 503 while no connection has waited
    /// for a second. Default 1024: an idle thread costs about 16 KiB and a busy thread 48, hence 48 MiB at
    /// worst. The blocking engine also stays below the process's limit of open files: with the usual limit
    /// of 1024 files, 768 connections.
    pub max_connections: usize,
    /// Maximum bytes of a request line with its headers. Default 16 KiB: browsers and proxies stay below 8.
    pub max_head_bytes: usize,
    /// Maximum number of headers of a request, at most 128. Default 64: browsers send about 20.
    pub max_headers: usize,
    /// Maximum bytes of a request body. Default 64 KiB: the contract's limit.
    pub max_body_bytes: usize,
    /// Time from the first byte of a request head to the last. Default 10 s: longer than any network hiccup
    /// that TCP repairs, and not longer than [`Options::stop_timeout`].
    pub head_timeout: Duration,
    /// Time for the whole body after the request head. Default 10 s, as for the request head.
    pub body_timeout: Duration,
    /// Time without progress of a response. Default 10 s: longer than any network hiccup that
    /// TCP repairs. A client that makes progress gets the whole response, see `wire.rs`.
    pub write_timeout: Duration,
    /// The budget for the bytes of large answers in memory.
    pub answers: Arc<Budget>,
    /// Maximum silence between two requests of a connection. Default 75 s: longer than
    /// [`MAX_WAIT_SECONDS`](crate::http::MAX_WAIT_SECONDS) and than the pools of common clients and
    /// proxies keep a connection, hence the client closes first and no request crosses with our close.
    pub idle_timeout: Duration,
    /// Time that [`Server::stop`](crate::http::Server::stop) gives requests in flight. Default 10 s, as
    /// in the contract.
    pub stop_timeout: Duration,
    /// The counters of the connections; `/metrics` shows a clone.
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

/// Counters of a server's connections, shared by the engine and the metrics.
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
    /// Returns the counts now.
    pub fn stats(&self) -> ConnectionStats {
        // Relaxed: the counts are statistics and order no other memory.
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

/// The counts of [`Connections::stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// Connections open now; 0 with the tiny_http engine, which hides the number.
    pub open: usize,
    /// Threads that serve connections now, idle threads included.
    pub threads: usize,
    /// Connections accepted since the start; 0 with the tiny_http engine, which hides the number.
    pub accepted: u64,
    /// Connections answered with 503 at the limit.
    pub refused: u64,
    /// Connections closed after the longest wait, to make room.
    pub evicted: u64,
    /// Requests answered with 500 because their handler panicked.
    pub panics: u64,
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
