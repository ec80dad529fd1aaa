//! The commands that wait for the writer thread, and the way of each answer back to its caller.
//!
//! Commands of all kinds of aggregates wait in one queue, so a queued command hides the type of its
//! rejections: the [`TypedCall`] keeps a rejection, and the writer learns only that the command was
//! refused.
//!
//! **Invariant:** at most [`QUEUE_CAPACITY`] commands wait.
//!
//! Read next: `batch_writer.rs`, which takes the commands out.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Instant;

use uuid::Uuid;

use super::context::Context;
use super::execution::{Execution, Timing};
use super::work::Work;
use crate::es::{Error, ExecuteError};
use crate::lock::{lock, wait};

/// Most commands that wait for the writer. A slow disk (one sync of 10 ms a batch) serves as many within
/// a second; more commands would only wait longer.
pub const QUEUE_CAPACITY: usize = 4096;

/// Most commands in one commit: bounds the memory of a transaction, and how long the first command of
/// a batch waits for the last.
const MAX_BATCH: usize = 512;

/// The end of a command, for the caller. `R` is the caller's rejection.
pub(in crate::es) type Outcome<R> = Result<(Execution, Timing), ExecuteError<R>>;

/// The end of a command, for the writer, which does not know the type of rejections.
pub(in crate::es) enum Ending {
    Executed(Execution),
    /// The [`Call`] keeps the reason.
    Refused,
    KeyReused(String),
    Failed(Error),
}

/// A command and its caller, without the type of the caller's rejections.
pub(in crate::es) trait Call: Send {
    /// Runs the command, and returns the stream that the receipt names.
    ///
    /// # Errors
    /// [`Ending::Failed`] when the storage failed under the command, else [`Ending::Refused`].
    fn run(&mut self, work: &mut Work<'_>) -> Result<Uuid, Ending>;

    /// Answers the caller.
    fn answer(self: Box<Self>, ending: Ending, timing: Timing);
}

pub(in crate::es) struct TypedCall<R, F> {
    /// Taken by the first run.
    run: Option<F>,
    refusal: Option<ExecuteError<R>>,
    answer: SyncSender<Outcome<R>>,
}

impl<R, F> TypedCall<R, F> {
    pub(in crate::es) fn new(run: F, answer: SyncSender<Outcome<R>>) -> Self {
        Self { run: Some(run), refusal: None, answer }
    }
}

impl<R: Send, F> Call for TypedCall<R, F>
where
    F: FnOnce(&mut Work<'_>) -> Result<Uuid, ExecuteError<R>> + Send,
{
    fn run(&mut self, work: &mut Work<'_>) -> Result<Uuid, Ending> {
        // A call runs once: after a failed commit, the caller decides about another attempt.
        let run = self.run.take().ok_or(Ending::Failed(Error::Panicked))?;
        run(work).map_err(|error| match error {
            // Of all errors, only a failing storage concerns the other commands of the batch.
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

    fn answer(self: Box<Self>, ending: Ending, timing: Timing) {
        let outcome = match ending {
            Ending::Executed(execution) => Ok((execution, timing)),
            Ending::Refused => Err(self.refusal.unwrap_or(ExecuteError::Failed(Error::Panicked))),
            Ending::KeyReused(key) => Err(ExecuteError::KeyReused { key }),
            Ending::Failed(error) => Err(ExecuteError::Failed(error)),
        };
        // Sending fails when the caller has given up waiting.
        drop(self.answer.send(outcome));
    }
}

/// A queued command.
pub(in crate::es) struct Job {
    pub(in crate::es) call: Box<dyn Call>,
    pub(in crate::es) context: Context,
    pub(in crate::es) submitted: Instant,
    /// When the caller gives up waiting.
    pub(in crate::es) answer_by: Instant,
}

/// The queue between the callers and the writer thread.
pub(in crate::es) struct CommandQueue {
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    writer: WriterState,
    /// Whether the last batch failed.
    has_failed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WriterState {
    Busy,
    Idle,
    Stopping,
}

impl CommandQueue {
    /// Returns an empty queue whose writer starts with [`CommandQueue::next_batch`].
    pub(in crate::es) fn for_a_busy_writer() -> Self {
        let state = State { jobs: VecDeque::new(), writer: WriterState::Busy, has_failed: false };
        Self { state: Mutex::new(state), work: Condvar::new() }
    }

    /// Queues a command, and wakes an idle writer.
    ///
    /// # Errors
    /// [`Error::Stopped`], or [`Error::Overloaded`] when the queue is full.
    pub(in crate::es) fn push(&self, job: Job) -> Result<(), Error> {
        let mut state = self.lock();
        match state.writer {
            WriterState::Stopping => return Err(Error::Stopped),
            _ if state.jobs.len() >= QUEUE_CAPACITY => return Err(Error::Overloaded),
            WriterState::Idle | WriterState::Busy => state.jobs.push_back(job),
        }
        let was = std::mem::replace(&mut state.writer, WriterState::Busy);
        // Woken under the lock, the writer would only wait for the lock.
        drop(state);
        if was == WriterState::Idle {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Waits for commands, and takes a batch of them. Returns `None` when the queue is stopped and empty.
    pub(in crate::es) fn next_batch(&self) -> Option<Vec<Job>> {
        let mut state = self.lock();
        while state.jobs.is_empty() {
            // Only when no command is left: queued commands are answered before the thread ends.
            if state.writer == WriterState::Stopping {
                return None;
            }
            state.writer = WriterState::Idle;
            state = wait(&self.work, state);
        }
        // The writer stays `Busy`: `push` wakes only an idle writer, which saves a system call a command.
        let count = state.jobs.len().min(MAX_BATCH);
        Some(state.jobs.drain(..count).collect())
    }

    /// Notes whether the writer's last batch failed.
    pub(in crate::es) fn note_batch<T>(&self, outcome: &Result<T, Error>) {
        self.lock().has_failed = outcome.is_err();
    }

    /// Returns whether the writer's last batch failed.
    pub(in crate::es) fn has_failed(&self) -> bool {
        self.lock().has_failed
    }

    /// Returns how many commands wait.
    pub(in crate::es) fn waiting(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Rejects further commands. The writer ends when the queue is empty.
    pub(in crate::es) fn stop(&self) {
        self.lock().writer = WriterState::Stopping;
        self.work.notify_one();
    }

    /// No code of an aggregate runs under this lock, so a poisoned state is still consistent.
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}
