//! The services as the binaries run them: each is started from its configuration, has an address,
//! and is stopped in order.
//!
//! ```text
//! src/bin/*.rs ── process.rs ── config/          arguments, signals, exit codes
//!      │
//!      ▼
//! all.rs ──► registry.rs, write.rs, read.rs      one service each, from start to stop
//!                     │
//!                     ▼
//!                serve.rs ── about.rs, telemetry.rs ── metrics/   routes and figures that all have
//! ```
//!
//! Threads: those of the parts that are started; here, one that waits for a signal (`shutdown.rs`).
//!
//! **Invariant:** a service is stopped in the order of its promises. It takes no more work first: waits end,
//! and requests in flight are finished. Then it deregisters, so that clients look elsewhere. What requests
//! need is closed last.
//!
//! Wiring: the only module, besides the binaries, that knows every part.
//!
//! Read next: `write.rs`, `read.rs`, `registry.rs`; `config/mod.rs`.

pub mod about;
pub mod config;
pub mod logger;
pub mod metrics;
pub mod openapi;
pub mod process;
pub mod shutdown;
pub mod telemetry;

mod all;
mod file_watch;
mod maintenance;
mod read;
mod registry;
mod serve;
mod write;

pub use all::AllServices;
pub use maintenance::{back_up_log, verify_log};
pub use read::ReadService;
pub use registry::RegistryService;
pub use serve::database_at;
pub use write::WriteService;
