//! Tally: CQRS, event sourcing and service discovery in Rust, without async.
//!
//! The modules, in reading order:

pub mod account;
pub mod es;
pub mod time;
pub mod watch;

#[cfg(feature = "services")]
pub mod about;
#[cfg(feature = "services")]
pub mod config;
#[cfg(feature = "services")]
pub mod discovery;
#[cfg(feature = "services")]
pub mod http;
#[cfg(feature = "services")]
pub mod logger;
#[cfg(feature = "services")]
pub mod metrics;
#[cfg(feature = "services")]
pub mod openapi;
#[cfg(feature = "services")]
pub mod process;
#[cfg(feature = "services")]
pub mod read_side;
#[cfg(feature = "services")]
pub mod registry;
#[cfg(feature = "services")]
pub mod services;
#[cfg(feature = "services")]
pub mod shutdown;
#[cfg(feature = "services")]
pub mod telemetry;
#[cfg(feature = "services")]
pub mod write_side;
