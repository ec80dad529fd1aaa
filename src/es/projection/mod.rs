//! Projections: from a page of the feed to rows that answer queries.
//!
//! Read next: `definition.rs`, `projector.rs`, `follower.rs`.

pub(in crate::es) mod checked_page;
pub(in crate::es) mod definition;
pub(in crate::es) mod event;
pub(in crate::es) mod feed;
pub(in crate::es) mod follower;
pub(in crate::es) mod pace;
pub(in crate::es) mod projector;
pub(in crate::es) mod read_db;
pub(in crate::es) mod status;
pub(in crate::es) mod table_set;

pub use definition::{Definition, Names, Projection, ProjectionError};
pub use event::{CatchUpError, Notice};
pub use feed::{Feed, FeedError, MAX_PAGE};
pub use follower::RunningProjector;
pub use projector::Projector;
pub use read_db::{OpenError, log_id as followed_log};
pub use status::{ProjectionState, ProjectionStatus, RebuildProgress, RebuildRefused};
