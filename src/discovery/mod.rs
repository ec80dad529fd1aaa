//! Discovery, the client's side of the service registry: say where one is, find where others are.
//!
//! Services start in any order and outlive their registry. So nothing here fails for good:
//! [`Registration`] goes on until a registry listens, [`Discovered`] keeps the last address it
//! knew while none does. Several registries make a set without consensus: a service registers
//! with every one, a look-up asks one after the other.
//!
//! **Invariant:** a registry that is away or slow costs its own thread time, and nobody else's: every
//! call has a deadline, every retry a pause that grows and differs from process to process.
//!
//! Read next: `discovery/registration.rs`, then `discovery/discovered.rs`.

mod backoff;
mod base_url;
mod client;
mod discovered;
mod log_tip;
mod ranking;
mod registration;

pub use backoff::{Backoff, jittered};
pub use base_url::{BaseUrl, InvalidUrl};
pub use client::{DiscoveryError, Instance, RegistryClient};
pub use discovered::Discovered;
pub use log_tip::{LogTip, log_tips};
pub use ranking::LOG_ID;
pub use registration::{Advertised, Candidate, Permission, Registration};
