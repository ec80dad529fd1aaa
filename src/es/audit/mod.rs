//! What an operator runs: verify a log, verify read models, back up. Skip this room at first reading.
//!
//! ```text
//! log.rs         every event and its hash, every stream, every state     ◄── backup.rs verifies its copy
//! read_model.rs  the rows beside those that a replay of the log gives
//! ```
//!
//! Threads: none; each call returns when the work is done.
//!
//! Read next: `log.rs`.

mod backup;
mod log;
mod read_model;

pub use backup::backup;
pub use log::{MAX_FINDINGS, Report, verify};
pub use read_model::{Difference, Verified, VerifyError, verify_projection};
