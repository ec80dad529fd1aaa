//! Command execution: one writer thread, many commands in each commit.
//!
//! A caller hands its command over and waits. The writer takes all commands that are waiting, runs
//! them one after another in one transaction, syncs once, and only then answers. The more callers
//! there are, the more of them share a sync (group commit); a single caller waits for nobody.
//!
//! Read next: `queue.rs`, where commands wait, and `writer.rs`, which carries them out.

use std::collections::VecDeque;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::es::command::queue::{Job, Queue, Shared, TypedCall, WriterState};
use crate::es::command::work::Work;
use crate::es::command::writer::{Writer, write};
use crate::es::log::store::{Fingerprint, Receipt};
use crate::es::{Aggregate, Error, EventLog, ExecuteError};

/// Most commands that wait for the writer. At the slowest (one sync of 10 ms a batch) they are
/// served within a second; more would only wait longer.
pub const QUEUE_CAPACITY: usize = 4096;

/// How long a caller waits for its answer. A disk that takes longer is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What accompanies a command.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// With a key, the same command is carried out once, however often it is sent. A command may have
    /// several names, such as the client's key and an id of its own: the first name that is known decides.
    pub keys: Vec<IdempotencyKey>,
    /// Kept with every event of the command.
    pub metadata: Metadata,
}

/// An idempotency key and the command that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The caller's key.
    pub key: String,
    /// SHA-256 of the command in a canonical form.
    pub command: Fingerprint,
}

impl IdempotencyKey {
    /// The key for that command, which is recognised by the JSON that serde writes for it.
    ///
    /// # Errors
    /// When the command cannot be written as JSON.
    pub fn of(key: impl Into<String>, command: &impl Serialize) -> serde_json::Result<Self> {
        let canonical = serde_json::to_vec(command)?;
        Ok(Self { key: key.into(), command: Sha256::digest(canonical).into() })
    }
}

/// Where an event comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// The conversation that the command belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// What caused the event: the command's own identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// The W3C trace context in which the command came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// A command was carried out: now, or before under the same idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// Its events were recorded now.
    Recorded(Receipt),
    /// It had been carried out before; this is the first receipt again.
    Replayed(Receipt),
}

impl Execution {
    /// The receipt, whenever it was given.
    pub fn receipt(&self) -> &Receipt {
        match self {
            Self::Recorded(receipt) | Self::Replayed(receipt) => receipt,
        }
    }
}

/// One commit, for those who count them.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// Commands that were answered with it, refused ones included.
    pub commands: usize,
    /// Events that it made durable.
    pub events: u64,
    /// How long the storage took to make them durable.
    pub sync: Duration,
}

/// Executes commands on aggregates of any kinds. Share it in an [`Arc`]; callers block.
pub struct Executor {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Executor {
    /// Starts the writer thread of `log`; `on_commit` is told of each commit.
    ///
    /// # Errors
    /// When the log has a writer already, or the storage fails.
    pub fn start(log: Arc<EventLog>, on_commit: impl Fn(&Commit) + Send + 'static) -> Result<Self, Error> {
        let store = log.writer()?;
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { jobs: VecDeque::new(), writer: WriterState::Busy, last_failure: None }),
            work: Condvar::new(),
        });
        let writer = Writer::new(store, log, Box::new(on_commit));
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || write(&shared, writer)
            })
            .map_err(|error| Error::Storage(format!("the writer thread cannot start: {error}")))?;
        Ok(Self { shared, writer: Mutex::new(Some(thread)) })
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
            work.execute::<A>(stream_id, &command)?;
            Ok(stream_id)
        })
    }

    /// Runs `run` on the writer thread: it loads streams, has them decide and stages what they decided,
    /// on as many streams of as many kinds as it needs; all of it is recorded, or nothing. It returns
    /// the stream that the receipt is to name. It runs alone, so it must be quick and must not block.
    ///
    /// `R` is the transaction's own word for a refusal. [`ExecuteError::map_rejection`] turns the
    /// rejections of several kinds of aggregates into one `R`.
    ///
    /// # Errors
    /// See [`ExecuteError`].
    pub fn transact<R: Send + 'static>(
        &self,
        context: Context,
        run: impl FnOnce(&mut Work<'_>) -> Result<Uuid, ExecuteError<R>> + Send + 'static,
    ) -> Result<Execution, ExecuteError<R>> {
        let (answer, receiver) = sync_channel(1);
        let answer_by = Instant::now() + ANSWER_TIMEOUT;
        let call = Box::new(TypedCall { run: Some(run), refusal: None, answer });
        self.hand_over(Job { call, context, answer_by })?;
        match receiver.recv_timeout(ANSWER_TIMEOUT) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(Error::OutcomeUnknown.into())
            }
        }
    }

    fn hand_over(&self, job: Job) -> Result<(), Error> {
        let mut queue = self.shared.queue();
        match queue.writer {
            WriterState::Stopping => return Err(Error::Stopped),
            _ if queue.jobs.len() >= QUEUE_CAPACITY => return Err(Error::Overloaded),
            WriterState::Idle | WriterState::Busy => queue.jobs.push_back(job),
        }
        let was = std::mem::replace(&mut queue.writer, WriterState::Busy);
        // Woken with the lock still held, it would only wait for that.
        drop(queue);
        if was == WriterState::Idle {
            self.shared.work.notify_one();
        }
        Ok(())
    }

    /// Commands that wait for the writer now.
    pub fn waiting(&self) -> usize {
        self.shared.queue().jobs.len()
    }

    /// Whether commands can be recorded. Where the last commit failed, the storage is tried again,
    /// with a write of its own; so the answer is true now, also when no command comes.
    ///
    /// # Errors
    /// Why they cannot.
    pub fn check(&self) -> Result<(), Error> {
        if self.shared.queue().last_failure.is_none() {
            return Ok(());
        }
        // A batch without events: the writer recovers first, or it fails.
        match self.transact::<()>(Context::default(), |_| Ok(Uuid::nil())) {
            Err(ExecuteError::Failed(error)) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Takes no more commands, finishes those that wait, and ends the writer thread.
    pub fn stop(&self) {
        self.shared.queue().writer = WriterState::Stopping;
        self.shared.work.notify_one();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It catches the panics of commands; one of its own has been reported on stderr.
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
