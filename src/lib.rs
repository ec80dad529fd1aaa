//! Tally: CQRS, event sourcing and service discovery in Rust, without async.
//!
//! The modules, in reading order:

pub mod account;
pub mod es;
pub mod watch;

#[cfg(feature = "services")]
pub mod discovery;
#[cfg(feature = "services")]
pub mod http;
#[cfg(feature = "services")]
pub mod registry;
