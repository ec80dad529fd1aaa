//! The service registry: which instance of which service is alive, and where.
//!
//! A service registers, then renews its lease by heartbeats; whoever misses its time to live is
//! gone from the answers at once. All of it is soft state: a registry that is restarted knows
//! nothing, answers heartbeats with 404, and is full again when every service has registered anew.
//! For the same reason two registries make a pair without any consensus between them: services
//! register with both, and look-ups ask either.
//!
//! **Invariant:** the lease table is pure: the time is an argument, so that every expiry can be
//! tested without waiting for it.
//!
//! Read next: `registry/leases.rs`, `registry/service.rs`, then [`crate::discovery`], the client.

mod leases;
mod registration;
mod routes;
mod service;

pub use leases::{Full, Instance, Leases, Limits, NotRegistered, Registration};
pub use registration::{
    MAX_KEY_BYTES, MAX_METADATA_BYTES, MAX_METADATA_ENTRIES, MAX_NAME_LENGTH, MAX_VALUE_BYTES,
    is_service_name,
};
pub use routes::{INSTANCE_NOT_FOUND, PROBLEMS, ROUTES, router};
pub use service::{Gauges, LIMITS, Options, Registry, TTL_SECONDS};
