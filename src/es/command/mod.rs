//! Commands: from a caller's thread to the event on disk.
//!
//! ```text
//! a caller's thread                    the thread "writer" of the log
//!
//! executor.rs ──── queue.rs ────────►  batch_writer.rs   a batch: one transaction and sync
//!     ▲            context.rs             │
//!     │            execution.rs        work.rs           a command loads, decides, stages events
//!     │                                   │
//!     │                                cached_states.rs  the states in memory, by kind of aggregate
//!     │                                stream_state.rs   a state from its snapshot and its events
//!     └──── Execution ◄───────────────────┘
//! ```
//!
//! Threads: callers block until the answer to their command. The writer takes all queued commands as a
//! batch, makes the batch durable with a single sync, and answers afterwards.
//!
//! Read next: `executor.rs`, the interface for callers; `work.rs`, a running command; `batch_writer.rs`, a batch.

pub(in crate::es) mod batch_writer;
pub(in crate::es) mod cached_states;
pub(in crate::es) mod context;
pub(in crate::es) mod execution;
pub(in crate::es) mod executor;
pub(in crate::es) mod queue;
pub(in crate::es) mod stream_state;
pub(in crate::es) mod work;

pub use context::{Context, IdempotencyKey, Metadata};
pub use execution::{Commit, Execution, Timing};
pub use executor::Executor;
pub use queue::QUEUE_CAPACITY;
pub use work::Work;
