//! The three read models: for each, its tables, how an event changes them, and the queries on them.
//!
//! ```text
//!          an event                                a query
//!       /      |       \                       /      |       \        \
//! summary  accounts  statements          summary  accounts  statements  time_travel
//!       \      |  \     /  \                   \      |       /
//!     account_tail.rs  row_cache.rs            reading.rs
//! ```
//!
//! Each model is a projection of its own: it is rebuilt alone, and reads no other model's tables. `all.rs`
//! lists the three.
//!
//! **Invariant:** rows and the position that they stand for are read in one statement, or in one snapshot
//! (`Database::read_snapshot`), so the `Event-Position` of an answer is exact.
//!
//! Threads: the projector's thread applies events, with a connection that writes. A query runs on the thread
//! of its HTTP connection, with a connection that only reads. The two share the database file, and no memory.
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
