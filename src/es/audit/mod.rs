//! The operator's checks: verify a log, verify read models, back up, export and import. Skip this folder at
//! first reading.
//!
//! ```text
//! backup.rs ──► log.rs ──► report.rs     every event and its hash, every stream, every state
//! export.rs, import.rs ──► transcript.rs     a log as JSON lines, and the way back
//! read_model.rs                          the rows of a projection, beside the rows of a replay
//! ```
//!
//! Threads: the callers'; each function returns when its work is done.
//!
//! Read next: `log.rs`.

mod backup;
mod export;
mod import;
mod log;
mod read_model;
mod report;
mod transcript;

pub use backup::backup;
pub use export::{Exported, export};
pub use import::import;
pub use log::verify;
pub use read_model::{Difference, Verified, VerifyError, verify_projection};
pub use report::{MAX_FINDINGS, Report};
