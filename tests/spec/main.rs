//! The specification: what the services promise, held against the real binaries.

// Every failure here is to stop the test with its reason.
#![allow(clippy::unwrap_used)]

mod counter;
mod http_peer;
mod registry_peer;
mod support;

mod command_execution;
mod event_store;
mod http_engine;

mod discovery;
mod registry;

mod command_line;
mod operations;
mod registered_processes;
mod tidy;
