//! Commands: from a caller's thread to the event on disk.
//!
//! ```text
//! caller's thread ── executor.rs ── queue.rs ──► the thread "es-writer" ── writer.rs
//!       ▲                                           │  work.rs   loads a state, decides, stages events
//!       └────────────── receipt ◄───────────────────┘  cache.rs  states by kind (kind.rs)
//! ```
//!
//! Threads: the callers', which wait for their receipt, and one writer for each log. The writer takes
//! what is queued as one batch, and one sync makes all of it durable.
//!
//! Read next: `executor.rs`, what a caller sees; `work.rs`, one command; `writer.rs`, one batch.

pub(in crate::es) mod cache;
pub(in crate::es) mod executor;
pub(in crate::es) mod kind;
pub(in crate::es) mod queue;
pub(in crate::es) mod work;
pub(in crate::es) mod writer;

pub use executor::{Commit, Context, Execution, Executor, IdempotencyKey, Metadata, QUEUE_CAPACITY};
pub use work::Work;
