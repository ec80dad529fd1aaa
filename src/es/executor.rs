//! Command execution: one writer thread, many commands in each commit.
//!
//! A caller hands its command over and waits. The writer takes all commands that are waiting, runs
//! them one after another in one transaction, syncs once, and only then answers. The more callers
//! there are, the more of them share a sync (group commit); a single caller waits for nobody.
//!
//! **Invariants:** no answer leaves before the sync, not even a refusal: it was decided on a state
//! that the sync makes true. A command sees all earlier ones of its batch. When the commit
//! fails, nobody's command counts, and everything in memory is forgotten.
//!
//! Read next: `log.rs`, where the events come out again.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::kind::Kinds;
use super::store::{EventStore, Fingerprint, Head, Receipt};
use super::work::{Staged, Work};
use crate::time::Timestamp;

use super::{Aggregate, Error, EventLog, ExecuteError, RecordedEvent, chain};

/// Most commands that wait for the writer. At the slowest (one sync of 10 ms a batch) they are
/// served within a second; more would only wait longer.
pub const QUEUE_CAPACITY: usize = 4096;

/// Most commands in one commit: bounds the memory of a transaction and how long its first command
/// waits for its last.
const MAX_BATCH: usize = 512;

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

/// How a command ended. `R` is the caller's word for a refusal by a rule.
type Outcome<R> = Result<Execution, ExecuteError<R>>;

/// How a command ended, as far as the writer knows. The writer does not know the type of refusals.
enum Ending {
    Executed(Execution),
    /// The [`Call`] keeps the reason.
    Refused,
    KeyReused(String),
    Failed(Error),
}

/// A command and its caller, without the type of the caller's refusals.
trait Call: Send {
    /// Runs the command, and returns the stream that its receipt names.
    ///
    /// # Errors
    /// [`Ending::Failed`] when the storage failed under the command, else [`Ending::Refused`].
    fn run(&mut self, work: &mut Work<'_>) -> Result<Uuid, Ending>;

    /// Answers the caller.
    fn answer(self: Box<Self>, ending: Ending);
}

struct TypedCall<R, F> {
    /// Taken when it runs.
    run: Option<F>,
    refusal: Option<ExecuteError<R>>,
    answer: SyncSender<Outcome<R>>,
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
        let _ = self.answer.send(outcome);
    }
}

struct Job {
    call: Box<dyn Call>,
    context: Context,
    answer_by: Instant,
}

struct Queue {
    jobs: VecDeque<Job>,
    writer: WriterState,
    /// The last batch's, until one is recorded again.
    last_failure: Option<Error>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WriterState {
    Busy,
    Idle,
    Stopping,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
}

impl Shared {
    /// No code of an aggregate runs under this lock, so a poisoned one is still consistent.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let writer = Writer {
            store,
            log,
            cached_at: 0,
            kinds: Kinds::default(),
            connection: Connection::Trusted,
            on_commit: Box::new(on_commit),
        };
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
        if let Some(writer) = writer {
            // It catches the panics of commands; one of its own has been reported on stderr.
            let _ = writer.join();
        }
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

// ---------------------------------------------------------------------- on the writer thread

struct Writer {
    store: Box<dyn EventStore>,
    log: Arc<EventLog>,
    /// The position of the log for which the cached states are true.
    cached_at: u64,
    kinds: Kinds,
    connection: Connection,
    on_commit: Box<dyn Fn(&Commit) + Send>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Connection {
    Trusted,
    Failed,
}

/// The writer thread: batch after batch, until it is stopped and nothing waits any more.
fn write(shared: &Shared, mut writer: Writer) {
    while let Some(mut jobs) = next_batch(shared) {
        let outcomes = writer.commit_all(&mut jobs);
        shared.queue().last_failure = outcomes.as_ref().err().cloned();
        match outcomes {
            Ok(outcomes) => {
                jobs.into_iter().zip(outcomes).for_each(|(job, outcome)| job.call.answer(outcome));
            }
            Err(error) => {
                jobs.into_iter().for_each(|job| job.call.answer(Ending::Failed(error.clone())));
            }
        }
    }
}

fn next_batch(shared: &Shared) -> Option<Vec<Job>> {
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

impl Writer {
    /// Runs a batch in one transaction and makes it durable.
    fn commit_all(&mut self, jobs: &mut [Job]) -> Result<Vec<Ending>, Error> {
        let outcomes = self.recover_if_failed().and_then(|()| self.transaction(jobs));
        if outcomes.is_err() {
            self.kinds.clear();
            self.connection = Connection::Failed;
        }
        outcomes
    }

    fn recover_if_failed(&mut self) -> Result<(), Error> {
        if self.connection == Connection::Failed {
            self.store.recover()?;
            self.connection = Connection::Trusted;
        }
        Ok(())
    }

    fn transaction(&mut self, jobs: &mut [Job]) -> Result<Vec<Ending>, Error> {
        let mut head = self.store.begin()?;
        if head.position != self.cached_at {
            // Somebody else has written: another tool, or another writer of a shared store.
            self.kinds.clear();
        }
        let before = head.position;
        let outcomes = jobs
            .iter_mut()
            .map(|job| {
                if Instant::now() >= job.answer_by {
                    // Its caller has gone; what nobody waits for is not begun.
                    return Ok(Ending::Failed(Error::Overloaded));
                }
                self.run(&mut *job.call, &job.context, &mut head)
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let begun = Instant::now();
        crash_point!("before-sync");
        self.store.commit()?;
        crash_point!("after-sync-before-receipt");
        self.log.head().raise(head.position);
        (self.on_commit)(&Commit {
            commands: outcomes.len(),
            events: head.position - before,
            sync: begun.elapsed(),
        });
        self.cached_at = head.position;
        Ok(outcomes)
    }

    /// Runs one command. An error ends the whole batch; an [`Ending`] is its caller's alone.
    fn run(&mut self, call: &mut dyn Call, context: &Context, head: &mut Head) -> Result<Ending, Error> {
        for IdempotencyKey { key, command } in &context.keys {
            if let Some((first_command, receipt)) = self.store.receipt(key)? {
                return Ok(if first_command == *command {
                    Ending::Executed(Execution::Replayed(receipt))
                } else {
                    Ending::KeyReused(key.clone())
                });
            }
        }
        let mut work = Work::new(&mut *self.store, &mut self.kinds);
        let ran = catch_unwind(AssertUnwindSafe(|| call.run(&mut work)));
        let (staged, named) = work.into_parts();
        match ran {
            Ok(Ok(stream_id)) => {
                for (IdempotencyKey { key, command }, receipt) in &named {
                    self.store.keep_receipt(key, command, receipt)?;
                }
                let receipt = self.record(stream_id, &staged, context, head)?;
                Ok(Ending::Executed(Execution::Recorded(receipt)))
            }
            // The storage failed under this command, so it fails under its neighbours too; a history
            // that cannot be understood is one stream's own trouble.
            Ok(Err(Ending::Failed(error))) => Err(error),
            Ok(Err(refused)) => {
                // Without staged events, the states are as they were loaded.
                if staged.is_empty() {
                    self.kinds.put_back();
                } else {
                    self.kinds.discard();
                }
                Ok(refused)
            }
            Err(_panic) => {
                // What the command had loaded may be half changed: it is not put back into the cache.
                self.kinds.discard();
                Ok(Ending::Failed(Error::Panicked))
            }
        }
    }

    fn record(
        &mut self,
        stream_id: Uuid,
        staged: &[Staged],
        context: &Context,
        head: &mut Head,
    ) -> Result<Receipt, Error> {
        self.append(staged, context, head)?;
        crash_point!("between-events-and-key");
        let version = self.kinds.touched_version(stream_id);
        let receipt = Receipt { stream_id, version, position: head.position };
        for IdempotencyKey { key, command } in &context.keys {
            self.store.keep_receipt(key, command, &receipt)?;
        }
        self.kinds.keep(&mut *self.store)?;
        Ok(receipt)
    }

    fn append(&mut self, staged: &[Staged], context: &Context, head: &mut Head) -> Result<(), Error> {
        let metadata = serde_json::to_string(&context.metadata)
            .map_err(|error| Error::Corrupt(format!("metadata cannot be written as JSON: {error}")))?;
        // A clock that was set back must not take the log back with it.
        let now = Timestamp::now().to_string();
        if now > head.recorded_at {
            head.recorded_at = now;
        }
        for Staged { stream_id, stream_type, version, event_type, schema_version, data } in staged {
            let mut recorded = RecordedEvent {
                position: head.position + 1,
                event_id: Uuid::now_v7(),
                stream_id: *stream_id,
                stream_type,
                version: *version,
                event_type,
                schema_version: *schema_version,
                data,
                metadata: &metadata,
                recorded_at: &head.recorded_at,
                hash: head.hash,
            };
            recorded.hash = chain(&head.hash, &recorded);
            self.store.append(&recorded)?;
            self.kinds.evict_from_others(*stream_id, stream_type);
            head.position = recorded.position;
            head.hash = recorded.hash;
            crash_point!("between-two-events");
        }
        Ok(())
    }
}
