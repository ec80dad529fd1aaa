//! The commands that wait for the writer thread, and how each comes back to its caller.
//!
//! Commands of all kinds of aggregates wait in one queue, so a waiting command hides the type of its
//! refusals: the [`TypedCall`] keeps a refusal, and the writer learns only that there is one.
//!
//! Read next: `writer.rs`, which takes them out.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use uuid::Uuid;

use super::executor::{Context, Execution};
use super::work::Work;
use super::{Error, ExecuteError};

/// Most commands in one commit: bounds the memory of a transaction and how long its first command
/// waits for its last.
const MAX_BATCH: usize = 512;

/// How a command ended. `R` is the caller's word for a refusal by a rule.
pub(super) type Outcome<R> = Result<Execution, ExecuteError<R>>;

/// How a command ended, as far as the writer knows. The writer does not know the type of refusals.
pub(super) enum Ending {
    Executed(Execution),
    /// The [`Call`] keeps the reason.
    Refused,
    KeyReused(String),
    Failed(Error),
}

/// A command and its caller, without the type of the caller's refusals.
pub(super) trait Call: Send {
    /// Runs the command, and returns the stream that its receipt names.
    ///
    /// # Errors
    /// [`Ending::Failed`] when the storage failed under the command, else [`Ending::Refused`].
    fn run(&mut self, work: &mut Work<'_>) -> Result<Uuid, Ending>;

    /// Answers the caller.
    fn answer(self: Box<Self>, ending: Ending);
}

pub(super) struct TypedCall<R, F> {
    /// Taken when it runs.
    pub(super) run: Option<F>,
    pub(super) refusal: Option<ExecuteError<R>>,
    pub(super) answer: SyncSender<Outcome<R>>,
}

impl<R: Send, F> Call for TypedCall<R, F>
where
    F: FnOnce(&mut Work<'_>) -> Result<Uuid, ExecuteError<R>> + Send,
{
    fn run(&mut self, work: &mut Work<'_>) -> Result<Uuid, Ending> {
        let run = self.run.take().ok_or(Ending::Failed(Error::Panicked))?;
        run(work).map_err(|error| match error {
            ExecuteError::Failed(error @ Error::Storage(_)) => Ending::Failed(error),
            refusal @ (ExecuteError::Rejected(_)
            | ExecuteError::VersionMismatch { .. }
            | ExecuteError::KeyReused { .. }
            | ExecuteError::Failed(_)) => {
                self.refusal = Some(refusal);
                Ending::Refused
            }
        })
    }

    fn answer(self: Box<Self>, ending: Ending) {
        let outcome = match ending {
            Ending::Executed(execution) => Ok(execution),
            Ending::Refused => Err(self.refusal.unwrap_or(ExecuteError::Failed(Error::Panicked))),
            Ending::KeyReused(key) => Err(ExecuteError::KeyReused { key }),
            Ending::Failed(error) => Err(ExecuteError::Failed(error)),
        };
        // A caller that has given up waiting is no error.
        drop(self.answer.send(outcome));
    }
}

pub(super) struct Job {
    pub(super) call: Box<dyn Call>,
    pub(super) context: Context,
    pub(super) answer_by: Instant,
}

pub(super) struct Queue {
    pub(super) jobs: VecDeque<Job>,
    pub(super) writer: WriterState,
    /// The last batch's, until one is recorded again.
    pub(super) last_failure: Option<Error>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WriterState {
    Busy,
    Idle,
    Stopping,
}

pub(super) struct Shared {
    pub(super) queue: Mutex<Queue>,
    pub(super) work: Condvar,
}

impl Shared {
    /// No code of an aggregate runs under this lock, so a poisoned one is still consistent.
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn next_batch(shared: &Shared) -> Option<Vec<Job>> {
    let mut queue = shared.queue();
    while queue.jobs.is_empty() {
        if queue.writer == WriterState::Stopping {
            return None;
        }
        queue.writer = WriterState::Idle;
        queue = shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
    let count = queue.jobs.len().min(MAX_BATCH);
    Some(queue.jobs.drain(..count).collect())
}
