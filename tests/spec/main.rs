//! The specification: what the services promise, held against the real binaries.

// Every failure here is to stop the test with its reason.
#![allow(clippy::unwrap_used)]

mod support;

mod command_line;
mod tidy;
