//! The write side: commands in, receipts out, and the event feed.
//!
//! This is wiring: it knows HTTP, the account domain and the event store, and ties them together.
//! It has no rules of its own.
//!
//! **Invariant:** it never imports the read side, nor the read side it. They meet over HTTP and in
//! the event format alone; that rule is CQRS.
//!
//! Read next: `write_side/command.rs`, then `write_side/routes.rs`.

mod cloud_events;
mod command;
mod context;
mod past_transfers;
mod precondition;
pub mod problems;
mod routes;
mod standing;

pub use past_transfers::name_past_transfers;
pub use routes::{ROUTES, WriteSide};
pub use standing::{Copies, Standing, Writer};
