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
use uuid::Uuid;

use super::aggregate::{Event, schema_version};
use super::cache::{Cache, Loaded};
use super::store::{EventStore, Fingerprint, Head, Receipt, Snapshot};
use super::work::{Staged, Touched, Work, shape_of};
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

/// States kept in memory, in each of the cache's two generations.
const CACHE_GENERATION: usize = 16_384;

/// A stream gets a new snapshot after this many events: the most that a command ever replays, about
/// as long as a hundredth of a sync.
const SNAPSHOT_INTERVAL: u64 = 32;

/// What accompanies a command.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// With a key, the same command is carried out once, however often it is sent.
    pub idempotency: Option<IdempotencyKey>,
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

type Outcome<A> = Result<Execution, ExecuteError<<A as Aggregate>::Rejection>>;
type Run<A> =
    Box<dyn FnOnce(&mut Work<'_, A>) -> Result<Uuid, ExecuteError<<A as Aggregate>::Rejection>> + Send>;

struct Job<A: Aggregate> {
    run: Run<A>,
    context: Context,
    answer_by: Instant,
    answer: SyncSender<Outcome<A>>,
}

struct Queue<A: Aggregate> {
    jobs: VecDeque<Job<A>>,
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

struct Shared<A: Aggregate> {
    queue: Mutex<Queue<A>>,
    work: Condvar,
}

impl<A: Aggregate> Shared<A> {
    /// No code of an aggregate runs under this lock, so a poisoned one is still consistent.
    fn queue(&self) -> MutexGuard<'_, Queue<A>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Executes commands on aggregates of one kind. Share it in an [`Arc`]; callers block.
pub struct Executor<A: Aggregate> {
    shared: Arc<Shared<A>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl<A: Aggregate> Executor<A>
where
    A::Rejection: Send,
{
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
            cache: Cache::with_generations_of(CACHE_GENERATION),
            shape: shape_of::<A>(),
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
    pub fn execute(&self, stream_id: Uuid, command: A::Command, context: Context) -> Outcome<A>
    where
        A::Command: Send + 'static,
    {
        self.transact(context, move |work| {
            work.execute(stream_id, &command)?;
            Ok(stream_id)
        })
    }

    /// Runs `run` on the writer thread: it loads streams, has them decide and stages what they decided,
    /// on as many streams as it needs; all of it is recorded, or nothing. It returns the stream that
    /// the receipt is to name. It runs alone, so it must be quick and must not block.
    ///
    /// # Errors
    /// See [`ExecuteError`].
    pub fn transact(
        &self,
        context: Context,
        run: impl FnOnce(&mut Work<'_, A>) -> Result<Uuid, ExecuteError<A::Rejection>> + Send + 'static,
    ) -> Outcome<A> {
        let (answer, receiver) = sync_channel(1);
        let answer_by = Instant::now() + ANSWER_TIMEOUT;
        self.hand_over(Job { run: Box::new(run), context, answer_by, answer })?;
        match receiver.recv_timeout(ANSWER_TIMEOUT) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(Error::OutcomeUnknown.into())
            }
        }
    }

    fn hand_over(&self, job: Job<A>) -> Result<(), Error> {
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
        match self.transact(Context::default(), |_| Ok(Uuid::nil())) {
            Err(ExecuteError::Failed(error)) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl<A: Aggregate> Executor<A> {
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

impl<A: Aggregate> Drop for Executor<A> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<A: Aggregate> std::fmt::Debug for Executor<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Executor")
    }
}

// ---------------------------------------------------------------------- on the writer thread

struct Writer<A: Aggregate> {
    store: Box<dyn EventStore>,
    log: Arc<EventLog>,
    /// The position of the log for which the cache is true.
    cached_at: u64,
    cache: Cache<A>,
    shape: String,
    connection: Connection,
    on_commit: Box<dyn Fn(&Commit) + Send>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Connection {
    Trusted,
    Failed,
}

/// The writer thread: batch after batch, until it is stopped and nothing waits any more.
fn write<A: Aggregate>(shared: &Shared<A>, mut writer: Writer<A>) {
    while let Some(jobs) = next_batch(shared) {
        let (runs, answers): (Vec<_>, Vec<_>) =
            jobs.into_iter().map(|job| ((job.run, job.context, job.answer_by), job.answer)).unzip();
        let outcomes = writer.commit_all(runs);
        shared.queue().last_failure = outcomes.as_ref().err().cloned();
        match outcomes {
            // A caller that has given up waiting is no error.
            Ok(outcomes) => answers.iter().zip(outcomes).for_each(|(answer, outcome)| {
                let _ = answer.send(outcome);
            }),
            Err(error) => answers.iter().for_each(|answer| {
                let _ = answer.send(Err(ExecuteError::Failed(error.clone())));
            }),
        }
    }
}

fn next_batch<A: Aggregate>(shared: &Shared<A>) -> Option<Vec<Job<A>>> {
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

impl<A: Aggregate> Writer<A> {
    /// Runs a batch in one transaction and makes it durable.
    fn commit_all(&mut self, runs: Vec<(Run<A>, Context, Instant)>) -> Result<Vec<Outcome<A>>, Error> {
        let outcomes = self.recover_if_failed().and_then(|()| self.transaction(runs));
        if outcomes.is_err() {
            self.cache.clear();
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

    fn transaction(&mut self, runs: Vec<(Run<A>, Context, Instant)>) -> Result<Vec<Outcome<A>>, Error> {
        let mut head = self.store.begin()?;
        if head.position != self.cached_at {
            // Somebody else has written: another tool, or another writer of a shared store.
            self.cache.clear();
        }
        let before = head.position;
        let outcomes = runs
            .into_iter()
            .map(|(run, context, answer_by)| {
                if Instant::now() >= answer_by {
                    // Its caller has gone; what nobody waits for is not begun.
                    return Ok(Err(Error::Overloaded.into()));
                }
                self.run(run, &context, &mut head)
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

    /// Runs one command. The outer error ends the whole batch, the inner one is its caller's alone.
    fn run(&mut self, run: Run<A>, context: &Context, head: &mut Head) -> Result<Outcome<A>, Error> {
        if let Some(IdempotencyKey { key, command }) = &context.idempotency
            && let Some((first_command, receipt)) = self.store.receipt(key)?
        {
            let same = first_command == *command;
            return Ok(if same { Ok(Execution::Replayed(receipt)) } else { Err(ExecuteError::KeyReused) });
        }
        let mut work = Work::new(&mut *self.store, &mut self.cache, &self.shape);
        let Ok(ran) = catch_unwind(AssertUnwindSafe(|| run(&mut work))) else {
            // What it had loaded may be half changed: it is dropped, not put back into the cache.
            return Ok(Err(Error::Panicked.into()));
        };
        let (touched, staged) = work.into_parts();
        match ran {
            Ok(stream_id) => {
                let receipt = self.record(stream_id, touched, staged, context, head)?;
                Ok(Ok(Execution::Recorded(receipt)))
            }
            // The storage failed under this command, so it fails under its neighbours too; a history
            // that cannot be understood is one stream's own trouble.
            Err(ExecuteError::Failed(error @ Error::Storage(_))) => Err(error),
            Err(refusal) => {
                // Without staged events, the states are as they were loaded.
                if staged.is_empty() {
                    touched.into_iter().for_each(|(stream_id, loaded)| self.cache.put(stream_id, loaded));
                }
                Ok(Err(refusal))
            }
        }
    }

    fn record(
        &mut self,
        stream_id: Uuid,
        touched: Touched<A>,
        staged: Vec<Staged<A::Event>>,
        context: &Context,
        head: &mut Head,
    ) -> Result<Receipt, Error> {
        self.append(&staged, context, head)?;
        crash_point!("between-events-and-key");
        let version = touched.iter().find(|(id, _)| *id == stream_id).map_or(0, |(_, loaded)| loaded.version);
        let receipt = Receipt { stream_id, version, position: head.position };
        if let Some(IdempotencyKey { key, command }) = &context.idempotency {
            self.store.keep_receipt(key, command, &receipt)?;
        }
        for (stream_id, loaded) in touched {
            let loaded = self.snapshot_if_due(stream_id, loaded)?;
            self.cache.put(stream_id, loaded);
        }
        Ok(receipt)
    }

    fn append(
        &mut self,
        staged: &[Staged<A::Event>],
        context: &Context,
        head: &mut Head,
    ) -> Result<(), Error> {
        let not_json = |error| Error::Corrupt(format!("an event cannot be written as JSON: {error}"));
        let metadata = serde_json::to_string(&context.metadata).map_err(not_json)?;
        // A clock that was set back must not take the log back with it.
        let now = Timestamp::now().to_string();
        if now > head.recorded_at {
            head.recorded_at = now;
        }
        for Staged { stream_id, version, event } in staged {
            let mut recorded = RecordedEvent {
                position: head.position + 1,
                event_id: Uuid::now_v7(),
                stream_id: *stream_id,
                stream_type: A::STREAM_TYPE,
                version: *version,
                event_type: event.event_type(),
                schema_version: schema_version::<A::Event>(event.event_type()),
                data: &event.to_json().map_err(not_json)?,
                metadata: &metadata,
                recorded_at: &head.recorded_at,
                hash: head.hash,
            };
            recorded.hash = chain(&head.hash, &recorded);
            self.store.append(&recorded)?;
            head.position = recorded.position;
            head.hash = recorded.hash;
            crash_point!("between-two-events");
        }
        Ok(())
    }

    fn snapshot_if_due(&mut self, stream_id: Uuid, mut loaded: Loaded<A>) -> Result<Loaded<A>, Error> {
        if loaded.version >= loaded.snapshot_version + SNAPSHOT_INTERVAL {
            let state = serde_json::to_string(&loaded.state)
                .map_err(|error| Error::Corrupt(format!("a state cannot be written as JSON: {error}")))?;
            let snapshot = Snapshot { version: loaded.version, shape: self.shape.clone(), state };
            self.store.keep_snapshot(stream_id, &snapshot)?;
            crash_point!("in-snapshot");
            loaded.snapshot_version = loaded.version;
        }
        Ok(loaded)
    }
}
