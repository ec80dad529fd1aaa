//! The three read models: each file has a model's tables, the changes by events, and the queries.
//!
//! ```text
//!          an event                                a query
//!       /      |       \                       /      |       \        \
//! summary  accounts  statements          summary  accounts  statements  time_travel
//!       \      |  \     /  \                   \      |       /
//!     account_tail.rs  row_cache.rs            reading.rs
//! ```
//!
//! Each model is a separate projection, rebuilt alone, and never reads another model's tables. `all.rs` lists
//! the three.
//!
//! **Invariant:** a query reads rows and their position in the same statement, or in the same snapshot
//! (`ReadDatabase::read_snapshot`): the `Event-Position` of an answer is exact.
//!
//! Threads: the projector's thread applies events, with the writing connection. A query runs on the thread of
//! the HTTP connection, with a reading connection. The two share the database file, and no memory.
//!
//! Read next: `summary.rs`, the smallest; `accounts.rs`; then `statements.rs` and
//! `time_travel.rs`.

mod account_tail;
mod reading;
mod row_cache;

pub(super) mod accounts;
pub(super) mod statements;
pub(super) mod summary;
pub(super) mod time_travel;

mod all;

pub use all::projections;
pub(super) use all::{MODELS, position_of_all};
