//! The services as the binaries run them: started from a configuration, reachable at an address, stopped in
//! order.
//!
//! ```text
//! src/bin/*.rs ── process.rs ── config/          arguments, signals, exit codes
//!      │
//!      ▼
//! all.rs ──► registry.rs, write.rs, read.rs      one service each, from start to stop
//!                     │
//!                     ▼
//!                serve.rs ── about.rs, telemetry.rs ── metrics/   routes and figures of every service
//! ```
//!
//! Threads: `signals`, `stop-limit`, and `end-at-once` for a task (`shutdown.rs`); `file-watch`
//! (`file_watch.rs`). The other threads belong to the started parts: `heartbeat`, the HTTP engine, the writer,
//! the projector.
//!
//! **Invariant:** a service stops in the order of its promises. First the long polls end and requests in
//! flight are answered; then the service deregisters, so that clients look elsewhere; the databases close
//! last.
//!
//! Wiring: only this module and the binaries know every part.
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
mod process_metrics;
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
