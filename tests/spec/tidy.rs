//! The rules of the source text, held by reading it.
//!
//! ```text
//! source.rs      a file as the rules read it: code without comments, comments without code
//! modules.rs     the tree of modules: which module an import names
//! imports.rs     which module may use which; no circles inside a folder
//! rooms.rs       faces of folders, sizes of files and functions, names and constants that stand once
//! habits.rs      unwraps, discarded results, unbounded queues, sleeps
//! prose.rs       the words of comments and documents
//! documents.rs   the files, tests and functions that documents name
//! ```
//!
//! Read next: `imports.rs`, where the architecture is.

mod documents;
mod habits;
mod imports;
mod modules;
mod prose;
mod rooms;
mod source;
