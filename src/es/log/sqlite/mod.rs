//! The event store on SQLite, the embedded default.
//!
//! ```text
//! database.rs ──► file.rs ──► schema.rs, lock.rs, wal_witness.rs     opened with suspicion, once
//!     ├──► writer.rs ──► wal_flusher.rs ──► wal_thresholds.rs             one writer, and a thread beside it
//!     └──► reader.rs ──► row.rs                                      any number of readers
//! inspect.rs, copy.rs, transcript.rs                                 for audits, backups and exports
//! ```
//!
//! The writer and each reader have a connection of their own: in WAL mode readers never wait for the
//! writer, nor the writer for readers. `synchronous=FULL` makes a commit durable with one sync. The rules
//! of the log itself are in `schema.sql`, and hold for every client.
//!
//! Threads: the callers', and "wal-flusher", which copies the write-ahead log into the database. One per
//! writer; dropping the writer ends the thread.
//!
//! **Invariant:** one process writes. The writer holds a lock on the database file for its whole life;
//! SQLite alone would let a second writer in between two transactions. And no receipt is given for a
//! file that has lost its name: see [`DatabaseFile::check`](crate::es::DatabaseFile::check).
//!
//! Read next: `writer.rs`, where a sync happens; `file.rs`; `wal_flusher.rs`.

mod connection;
pub(in crate::es) mod copy;
mod database;
mod file;
pub(in crate::es) mod inspect;
mod lock;
mod reader;
mod refusal;
mod row;
mod schema;
pub(in crate::es) mod transcript;
mod wal_flusher;
mod wal_thresholds;
mod wal_witness;
mod writer;

pub use database::SqliteDatabase;
pub use schema::SCHEMA;
