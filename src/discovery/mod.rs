//! Discovery, the client's side of the service registry: services announce themselves and find each other.
//!
//! ```text
//! heartbeat.rs ────────────┐                 locator.rs ── ranking.rs ── log_tip.rs
//! one thread per registry  │                 the caller's thread         one thread per instance
//!         │                ▼                     │                            │
//!     backoff.rs       client.rs ◄───────────────┘                        base_url.rs
//!                          └── agent.rs   timeouts of every HTTP client
//! ```
//!
//! Services start in any order and outlive their registry. So no failure is final: [`Heartbeats`] retries
//! until a registry answers, and [`Locator`] keeps the last known address while no registry answers.
//! Several registries form a set without consensus: a service registers with each of them, and a look-up
//! asks one after the other.
//!
//! **Invariant:** an unreachable or slow registry delays its own thread only: every call has a deadline,
//! and every retry backs off with jitter.
//!
//! Threads: `heartbeat`, one for each registry; short-lived ones in [`log_tips`]. [`Locator::refresh`] runs
//! on the caller's thread, `discovery` in the read side.
//!
//! Read next: `discovery/heartbeat.rs`, then `discovery/locator.rs`.

mod agent;
mod backoff;
mod base_url;
mod client;
mod heartbeat;
mod locator;
mod log_tip;
mod outage;
mod ranking;
mod registry_contact;

pub use agent::http_agent;
pub use base_url::{BaseUrl, InvalidUrl};
pub use client::{Advertised, DiscoveryError, LiveInstance, RegistryClient};
pub use heartbeat::{Candidate, Heartbeats, Permission};
pub use locator::Locator;
pub use log_tip::{LogTip, log_tips};
pub use ranking::LOG_ID;
pub use registry_contact::RegistryContact;
