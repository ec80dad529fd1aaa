//! The service registry: which instance of which service is alive, and at which address.
//!
//! ```text
//! POST /services           registration.rs ──┐
//! PUT  .../heartbeat ──► routes.rs ──► service.rs ──► leases.rs
//! GET  /services?index=&wait=           lock, clock,    the table: pure,
//!   filter.rs, targets.rs               long polls      time is an argument
//!                                           ▲                │
//! the registry's log ◄── journal.rs ────────┘           changes.rs: who came and went
//! ```
//!
//! A service registers, then renews its lease by heartbeats; without a heartbeat in the TTL the service
//! disappears from the answers at once. All state is soft: a restarted registry is empty, answers heartbeats
//! with 404, and is complete again when every service has registered anew. For the same reason two registries
//! form a pair without consensus: services register with both, and clients ask either.
//!
//! **Invariant:** the lease table is pure: time is an argument, so a test of an expiry waits for nothing.
//!
//! Threads: each request runs on its connection's thread; a long poll is a waiting thread. The service starts
//! one thread for `journal.rs`, which logs changes and notices an expiry when no request comes.
//!
//! Read next: `registry/leases.rs`, `registry/service.rs`, then [`crate::discovery`], the client.

mod changes;
mod filter;
mod instance;
mod journal;
mod leases;
mod registration;
mod routes;
mod service;
mod targets;

pub use changes::{Change, ChangeKind, Changes, Departure, MAX_DEPARTED, Unlogged};
pub use instance::{Instance, Registration};
pub use journal::{log_changes, log_rest};
pub use leases::{Full, Leases, Limits, NotRegistered};
pub use registration::{
    MAX_KEY_BYTES, MAX_METADATA_BYTES, MAX_METADATA_ENTRIES, MAX_NAME_LENGTH, MAX_VALUE_BYTES,
    is_service_name,
};
pub use routes::{INSTANCE_NOT_FOUND, PROBLEMS, ROUTES, router};
pub use service::{Gauges, LIMITS, Registry, RegistryOptions, TTL_SECONDS};
