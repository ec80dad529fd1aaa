//! The engine: from the listener down to the bytes. A first reader may skip this room.
//!
//! ```text
//!   server.rs    serve(listener, options, service) -> Server
//!      |  options.rs   the limits, the choice of engine, the counters
//!      |
//!      +-> blocking.rs   starts and stops the threads, accepts connections
//!      |      +-> pool.rs         gives each connection a thread, evicts, waits for the end
//!      |      |     slot.rs       a connection's phase, as other threads see the phase
//!      |      |     connection.rs receive a request, call the service, send the response
//!      |      |        wire.rs  request_head.rs  body.rs   socket and deadlines, request head, body
//!      |      |        service.rs  encode.rs          run the handler, response to bytes
//!      |      +-> refuse.rs       answers 503 to connections beyond the limit
//!      |
//!      +-> tiny.rs       the same service on tiny_http (feature `tiny_http`)
//! ```
//!
//! Threads: `http-accept` accepts; `http` (at most [`Options::max_connections`]) serves one connection
//! at a time; `http-refuse` answers refused connections; `tiny-http` serves requests of the second
//! engine. `thread.rs` has their common stack size. A thread of the pool takes two kinds of shared state:
//! the pool's lock, never held over I/O, and the atomic phase of a slot.
//!
//! Read next: `server.rs`, `blocking.rs`, `pool.rs`, `connection.rs`; then `request_head.rs`, which decides
//! what a request is.

mod blocking;
mod body;
mod connection;
mod encode;
mod options;
mod pool;
mod refuse;
mod request_head;
mod server;
mod service;
mod slot;
mod thread;
#[cfg(feature = "tiny_http")]
mod tiny;
mod wire;

pub use options::{ConnectionStats, Connections, Engine, Options};
pub use server::{Server, serve};
