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

use crate::es::command::executor::{Context, Execution};
use crate::es::command::work::Work;
use crate::es::{Error, ExecuteError};

/// Most commands in one commit: bounds the memory of a transaction and how long its first command
/// waits for its last.
const MAX_BATCH: usize = 512;

/// How a command ended. `R` is the caller's word for a refusal by a rule.
pub(in crate::es) type Outcome<R> = Result<Execution, ExecuteError<R>>;

/// How a command ended, as far as the writer knows. The writer does not know the type of refusals.
pub(in crate::es) enum Ending {
    Executed(Execution),
    /// The [`Call`] keeps the reason.
    Refused,
    KeyReused(String),
    Failed(Error),
}

/// A command and its caller, without the type of the caller's refusals.
pub(in crate::es) trait Call: Send {
    /// Runs the command, and returns the stream that its receipt names.
    ///
    /// # Errors
    /// [`Ending::Failed`] when the storage failed under the command, else [`Ending::Refused`].
    fn run(&mut self, work: &mut Work<'_>) -> Result<Uuid, Ending>;

    /// Answers the caller.
    fn answer(self: Box<Self>, ending: Ending);
}

pub(in crate::es) struct TypedCall<R, F> {
    /// Taken when it runs.
    pub(in crate::es) run: Option<F>,
    pub(in crate::es) refusal: Option<ExecuteError<R>>,
    pub(in crate::es) answer: SyncSender<Outcome<R>>,
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

pub(in crate::es) struct Job {
    pub(in crate::es) call: Box<dyn Call>,
    pub(in crate::es) context: Context,
    pub(in crate::es) answer_by: Instant,
}

pub(in crate::es) struct Queue {
    pub(in crate::es) jobs: VecDeque<Job>,
    pub(in crate::es) writer: WriterState,
    /// The last batch's, until one is recorded again.
    pub(in crate::es) last_failure: Option<Error>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::es) enum WriterState {
    Busy,
    Idle,
    Stopping,
}

pub(in crate::es) struct Shared {
    pub(in crate::es) queue: Mutex<Queue>,
    pub(in crate::es) work: Condvar,
}

impl Shared {
    /// No code of an aggregate runs under this lock, so a poisoned one is still consistent.
    pub(in crate::es) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(in crate::es) fn next_batch(shared: &Shared) -> Option<Vec<Job>> {
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
