//! The read models: each file has a model's tables, the changes by events, and the queries.
//!
//! ```text
//!          an event                                a query
//!       /      |       \                       /      |       \        \
//! summary  accounts  statements          summary  accounts  statements  time_travel
//!       \      |  \     /  \                   \      |       /
//!     account_tail.rs  row_cache.rs            reading.rs
//! ```
//!
//! Each model is a separate projection, rebuilt alone, and never reads another model's tables. [`read_models`] is the
//! only list of them: the projector, `/position`, `/projections` and the route table are made from the list.
//!
//! **Invariant:** a query reads rows and their position in the same statement, or in the same snapshot
//! (`ReadDatabase::read_snapshot`): the `Event-Position` of an answer is exact.
//!
//! Threads: the projector's thread applies events, with the writing connection. A query runs on the thread of
//! the HTTP connection, with a reading connection. The two share the database file, and no memory.
//!
//! Read next: `plain_accounts.rs`, a projection in plain SQL, which the tests alone run. The models of the service
//! keep memory beside their tables, and say what that is worth: `summary.rs`, the smallest; `accounts.rs` with
//! `row_cache.rs`; then `statements.rs` and `time_travel.rs`. `docs/how-to/add-a-projection.md` adds a plain one.

use accounts::Accounts;
use read_model::ReadModel;
use statements::Transactions;

#[cfg(test)]
mod plain_accounts;

mod account_tail;
mod all;
mod read_model;
mod reading;
mod row_cache;

pub(super) mod accounts;
pub(super) mod statements;
mod summary;
pub(super) mod time_travel;

pub use all::projections;
pub(super) use all::{NAMES, position_of_all};

/// Returns all read models. A new model is declared above, and added here.
pub(super) fn read_models() -> Vec<ReadModel> {
    vec![
        // Their routes are in `routes.rs`, since `/accounts/{id}` is answered from both.
        ReadModel::of::<Accounts>(),
        ReadModel::of::<Transactions>(),
        summary::model(),
    ]
}

#[cfg(test)]
mod tests;
