//! The event store on SQLite, the embedded default.
//!
//! ```text
//! database.rs ──► file.rs ──► lock.rs, wal_witness.rs     opened with suspicion, once
//!     ├──► writer.rs ──► wal_flusher.rs                   one writer, and the thread beside it
//!     └──► reader.rs ──► row.rs                           any number of readers
//! ```
//!
//! One writer, any number of readers, each on a connection of its own: in WAL mode readers never
//! wait for the writer nor the writer for them. `synchronous=FULL` makes a commit durable with one
//! sync. The rules of the log itself are in `schema.sql`, where every client meets them.
//!
//! Threads: the caller's, and "es-checkpoint", which moves the write-ahead log into the database.
//!
//! **Invariant:** one process writes. The writer holds a lock on the database file for as long as it
//! lives; SQLite alone would let a second one in between two transactions. And no receipt is given for a
//! file that has lost its name: see [`DatabaseFile::check`](crate::es::DatabaseFile::check).
//!
//! Read next: `writer.rs`, where a sync happens; `file.rs`; `wal_flusher.rs`.

mod database;
pub(in crate::es) mod file;
mod lock;
mod reader;
pub(in crate::es) mod refusal;
pub(in crate::es) mod row;
mod wal_flusher;
mod wal_witness;
mod writer;

pub use database::SqliteDatabase;
pub use file::SCHEMA;
