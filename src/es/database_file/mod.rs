//! Database files: every connection to SQLite, of the log and of the read models, is opened in this folder.
//!
//! ```text
//! file.rs ──► held.rs ──► path.rs     a path, and the identity of the file that was opened under it
//! scratch.rs ───────────────┘         files that exist for the length of one task
//! ```
//!
//! SQLite opens a name and trusts that the name keeps naming the same file. Operators rename, remove, copy
//! and link files under running services, and a receipt for a file without a name is a lost event.
//! So a [`DatabaseFile`] is more than a path:
//!
//! - The path is a [`DatabasePath`]: absolute, symbolic links resolved, a regular file with one name. SQLite
//!   never sees the text that the user gave, and never mistakes a name for a URI or for a database in memory.
//! - The identity (device and inode) is known, and locked by the one process that writes to the file
//!   (`held.rs`), under any name.
//! - [`DatabaseFile::check`] compares the path with the identity: before and after a connection is opened,
//!   around each commit, and for each health report.
//!
//! Copies and replays live in a [`Scratch`] directory until their task ends.
//!
//! **Invariant:** no other file of `src/` opens a database, nor closes a descriptor of a database: POSIX
//! drops all locks of a process on a file, SQLite's too, when the process closes *any* descriptor of the
//! file.
//!
//! Threads: the callers'.
//!
//! Read next: `path.rs`, `held.rs`, `file.rs`.

mod file;
mod held;
mod path;
mod scratch;

pub(super) use file::{Access, BUSY_TIMEOUT, OLDEST_SQLITE};
pub use file::{DatabaseFile, Displaced, LogBytes};
pub(super) use held::{FileLock, Holder, LockRefused, holder};
pub(super) use path::IN_MEMORY;
pub use path::{DatabasePath, PathError};
pub use scratch::Scratch;
