//! The specification.

// The lint knows tests, but not the functions that tests share.
#![allow(clippy::unwrap_used)]

mod discovery;
mod registry;
mod registry_peer;
