//! The specification.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod discovery;
mod http_engine;
mod http_peer;
mod registry;
mod registry_peer;
