//! The engine: from the listener down to the bytes.
//!
//! Read next: `server.rs`.

mod blocking;
mod body;
mod connection;
mod encode;
mod head;
mod refuse;
mod server;
mod slot;
#[cfg(feature = "tiny_http")]
mod tiny;
mod wire;

pub use server::{ConnectionStats, Connections, Engine, Options, Server, serve};
