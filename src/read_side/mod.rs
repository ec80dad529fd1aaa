//! The read side: follows the write side's feed into read models, and answers queries from them.
//!
//! This is wiring: it knows HTTP, the account events and the projector, and ties them together.
//!
//! **Invariant:** it never imports the write side, nor the write side it. They meet over HTTP and in
//! the event format alone; that rule is CQRS.
//!
//! Read next: `accounts.rs` and `transactions.rs`, the projections; then `routes.rs`.

mod accounts;
mod summary;
mod transactions;

mod memory;
mod page_size;
mod step;

mod cursor;
mod database;
mod history;
mod queries;
mod views;

mod place;
mod preconditions;
pub mod problems;
mod routes;
mod service;
mod upstream;
mod verify;

pub use routes::ROUTES;
pub use service::{Options, ReadSide, StartError};
pub use verify::{VerifyFailed, verify};

use crate::es::Definition;

/// The projections of the read side.
pub fn projections() -> [Definition; 3] {
    [
        Definition::of::<accounts::Accounts>(),
        Definition::of::<transactions::Transactions>(),
        Definition::of::<summary::Summary>(),
    ]
}

#[cfg(test)]
mod tests;
