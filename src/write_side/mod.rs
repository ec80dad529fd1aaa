//! The write side: commands in, receipts out, and the event feed.
//!
//! ```text
//! POST /accounts/{id}/deposit            GET /events
//!         |                                   |
//!     routes.rs                            feed.rs
//!      |      \                               |   \ Accept
//! headers.rs  commands.rs                     |   cloud_events.rs
//!      \      /   | closure                   |
//!       Headers  es::Executor             es::EventLog
//!                 | writer thread
//!            account::Account
//! ```
//!
//! Both work on the state in `service.rs`.
//!
//! This module is wiring: it joins HTTP, the account domain and the event store, and adds no rules.
//! `problems.rs` turns their errors into HTTP. `standing.rs` decides whether the service registers, and
//! `past_transfers.rs` runs once on a log of version 0.1.0.
//!
//! **Invariant:** the write side never imports the read side, nor the read side the write side. They meet
//! over HTTP and in the event format alone. This rule is CQRS.
//!
//! Threads: a request runs on the thread of the connection, up to `commands::execute`. The closure of a
//! command runs on the writer thread of [`Executor`](crate::es::Executor), while the connection's thread
//! waits. The registration thread calls `standing.rs`.
//!
//! Read next: `routes.rs`, `commands.rs`, `headers.rs`, `feed.rs`.

mod cloud_events;
mod commands;
mod feed;
mod headers;
mod past_transfers;
pub mod problems;
mod routes;
mod service;
mod standing;

pub use past_transfers::name_past_transfers;
pub use routes::ROUTES;
pub use service::WriteSide;
pub use standing::{Copies, Standing, Writer};
