//! Projections: from a page of the feed to rows that answer queries.
//!
//! ```text
//!   feed ──next_page──▶ fetching threads ──CheckedPage──▶ applying thread ──▶ read database
//!   feed.rs             checked_page.rs                   projector.rs        read_db.rs
//!                            ▲                              │ continuity.rs: the same history?
//!                            └────── PageRequest (the next) ────┤ table_set.rs: apply, flush
//!   queries ◀──status, watch── status.rs ◀──────publish─────┤ rebuild.rs: begin, swap, give up
//!   log     ◀──ProjectorEvent── projector_event.rs ◀────────┘ reserve.rs: disk space
//! ```
//!
//! Threads: `feed` and `replay` fetch, `projector` applies (`follower.rs`).
//!
//! Read next: `definition.rs`, then `projector.rs`.

pub(in crate::es) mod definition;
mod feed;
pub(in crate::es) mod projector_event;

mod checked_page;
mod continuity;
mod definition_check;
mod demand;
mod open_error;
pub(in crate::es) mod read_db;
mod refusal;
mod status;
mod table_set;

mod next_request;
mod pause;
mod projector;
mod rebuild;
mod reserve;

mod catch_up;
mod follower;
mod running_projector;

pub use definition::{Definition, Names, Projection, ProjectionError};
pub use feed::{Feed, FeedError, MAX_PAGE};
pub use open_error::OpenError;
pub use projector::Projector;
pub use projector_event::{CatchUpError, CommitPhase, ProjectorEvent};
pub use read_db::log_id as followed_log;
pub use refusal::{PauseError, RebuildError, RebuildRefused};
pub use running_projector::RunningProjector;
pub use status::{ProjectionState, ProjectionStatus, RebuildProgress};

#[cfg(test)]
pub(in crate::es) mod tests;
