//! The executor: hands commands to the writer thread, and waits for the answers.
//!
//! The writer runs all queued commands in one transaction, syncs once, and only then answers. The more
//! callers wait, the more commands share a sync (group commit); a single caller never waits for others.
//!
//! **Invariant:** every queued command is answered once, or its caller learns that the outcome is
//! unknown.
//!
//! Read next: `queue.rs`, the waiting commands, and `batch_writer.rs`, which runs them.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::batch_writer::{BatchWriter, write_batches};
use super::context::Context;
use super::execution::{Commit, Execution, Timing};
use super::queue::{CommandQueue, Job, TypedCall};
use super::work::Work;
use crate::es::{Aggregate, Error, EventLog, ExecuteError};
use crate::lock::lock;

/// How long a caller waits for an answer: 10 seconds. A disk that needs longer for a sync is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Executes commands on aggregates of any kinds. Share the executor in an [`Arc`]; callers block.
pub struct Executor {
    queue: Arc<CommandQueue>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Executor {
    /// Starts the writer thread of `log`. The writer calls `on_commit` after each commit.
    ///
    /// # Errors
    /// When the log has a writer already, or the storage fails.
    pub fn start(log: Arc<EventLog>, on_commit: impl Fn(&Commit) + Send + 'static) -> Result<Self, Error> {
        // First of all: a log with a writer refuses here, and no thread is left behind.
        let store = log.writer()?;
        let queue = Arc::new(CommandQueue::for_a_busy_writer());
        let writer = BatchWriter::new(store, log, Box::new(on_commit));
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn({
                let queue = Arc::clone(&queue);
                move || write_batches(&queue, writer)
            })
            .map_err(|error| Error::Storage(format!("the writer thread cannot start: {error}")))?;
        Ok(Self { queue, writer: Mutex::new(Some(thread)) })
    }

    /// Executes a command on one aggregate.
    ///
    /// # Errors
    /// See [`ExecuteError`].
    pub fn execute<A: Aggregate>(
        &self,
        stream_id: Uuid,
        command: A::Command,
        context: Context,
    ) -> Result<Execution, ExecuteError<A::Rejection>>
    where
        A::Command: Send + 'static,
        A::Rejection: Send + 'static,
    {
        self.transact(context, move |work| {
            work.decide::<A>(stream_id, &command)?;
            Ok(stream_id)
        })
    }

    /// Runs `run` on the writer thread: `run` loads streams of any kinds, has aggregates decide, and
    /// stages their events. All staged events are recorded, or none. `run` returns the stream that the
    /// receipt names. No other command runs meanwhile, so `run` must be quick and must not block. `run` goes to
    /// another thread: a closure is a `move` closure.
    ///
    /// `R` is the rejection of the transaction. [`ExecuteError::map_rejection`] turns the rejections of
    /// several kinds of aggregates into one `R`.
    ///
    /// # Errors
    /// See [`ExecuteError`].
    pub fn transact<R: Send + 'static>(
        &self,
        context: Context,
        run: impl FnOnce(&mut Work<'_>) -> Result<Uuid, ExecuteError<R>> + Send + 'static,
    ) -> Result<Execution, ExecuteError<R>> {
        self.transact_timed(context, run).map(|(execution, _)| execution)
    }

    /// Runs a transaction as [`Executor::transact`] does, and returns how long each step took.
    ///
    /// # Errors
    /// See [`ExecuteError`].
    pub fn transact_timed<R: Send + 'static>(
        &self,
        context: Context,
        run: impl FnOnce(&mut Work<'_>) -> Result<Uuid, ExecuteError<R>> + Send + 'static,
    ) -> Result<(Execution, Timing), ExecuteError<R>> {
        // Room for the answer: the writer never waits for a caller.
        let (answer, receiver) = sync_channel(1);
        let submitted = Instant::now();
        let (call, answer_by) = (Box::new(TypedCall::new(run, answer)), submitted + ANSWER_TIMEOUT);
        self.queue.push(Job { call, context, submitted, answer_by })?;
        match receiver.recv_timeout(ANSWER_TIMEOUT) {
            Ok(outcome) => outcome,
            // The writer may be in the middle of the sync, so the command may still be recorded.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(Error::OutcomeUnknown.into())
            }
        }
    }

    /// Returns how many commands wait for the writer now.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Checks that commands can be recorded. After a failed commit, the check tries the storage again with
    /// a write of its own: the result holds now, also when no command comes.
    ///
    /// # Errors
    /// Why commands cannot be recorded.
    pub fn check(&self) -> Result<(), Error> {
        if !self.queue.has_failed() {
            return Ok(());
        }
        // A batch without events: the writer recovers first, or the batch fails.
        match self.transact::<()>(Context::default(), |_| Ok(Uuid::nil())) {
            Err(ExecuteError::Failed(error)) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Rejects further commands, finishes the queued ones, and ends the writer thread.
    pub fn stop(&self) {
        self.queue.stop();
        // Taken out of the lock before the join: a second `stop` returns at once.
        let writer = lock(&self.writer).take();
        // The writer catches the panics of commands. A panic of the writer itself stands on stderr.
        drop(writer.map(JoinHandle::join));
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Executor")
    }
}
