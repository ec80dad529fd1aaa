//! The read side: follows the write side's feed into read models, and answers queries from them.
//!
//! ```text
//!  the write side's GET /events              GET /accounts/{id}
//!        |                                        |
//!    upstream.rs, page_size.rs                routes.rs, operations.rs
//!        | es::Feed                            |        \
//!    es::Projector                        freshness.rs   at.rs, cursor.rs
//!        | a page, a transaction               |
//!    models/ --------- SQLite file --------- database.rs, place.rs
//! ```
//!
//! `open.rs` opens the file, and `service.rs` starts and stops the parts. The module is wiring: HTTP, the account events and the projector
//! meet here.
//!
//! **Invariant:** the read side never imports the write side, nor the write side the read side. They meet
//! over HTTP and in the event format alone. This rule is CQRS.
//!
//! Threads: a query runs on the thread of the HTTP connection, and borrows a reading connection from
//! `database.rs`. The projector fetches pages on one thread and applies them on another, the only writer of
//! the file. `upstream.rs` looks up the write side on a separate thread.
//!
//! Read next: `models/mod.rs`, the read models; then `routes.rs`.

mod models;

mod at;
mod cursor;
mod freshness;
mod open;
mod operations;
pub mod problems;
mod routes;

mod database;
mod page_size;
mod place;
mod service;
mod upstream;
mod verify;

pub use models::projections;
pub use routes::routes;
pub use service::{ReadOptions, ReadSide, StartError};
pub use verify::{VerifyFailed, verify};

#[cfg(test)]
mod tests;
