//! The specification.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod http_attacks;
mod http_engine;
mod http_peer;
