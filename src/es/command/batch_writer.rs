//! The writer thread: runs a batch of commands in one transaction, syncs, and answers the commands.
//!
//! **Invariants:** every answer leaves after the sync, a rejection too: the sync makes the state durable on
//! which the rejection was decided. A command sees all earlier commands of its batch. When a commit fails, no
//! command of the batch counts, and the writer forgets all states in memory.
//!
//! Read next: `src/es/log/event_log.rs`, the reader's view of the events.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::cached_states::Kinds;
use super::context::{Context, IdempotencyKey};
use super::execution::{Commit, Execution, Timing};
use super::queue::{Call, CommandQueue, Ending, Job};
use super::work::{Staged, Work};
use crate::es::log::store::{EventStore, Head, Receipt};
use crate::es::{Error, EventLog, RecordedEvent, chain};
use crate::time::Timestamp;

pub(in crate::es) struct BatchWriter {
    store: Box<dyn EventStore>,
    log: Arc<EventLog>,
    /// The position of the log at which the cached states are true.
    cached_at: u64,
    kinds: Kinds,
    store_state: StoreState,
    on_commit: Box<dyn Fn(&Commit) + Send>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StoreState {
    Sound,
    /// The last transaction failed: [`EventStore::recover`] comes before the next.
    Failed,
}

/// Commits batch after batch, until the queue is stopped and empty.
pub(in crate::es) fn write_batches(queue: &CommandQueue, mut writer: BatchWriter) {
    while let Some(mut jobs) = queue.next_batch() {
        let endings = writer.commit_batch(&mut jobs);
        queue.note_batch(&endings);
        match endings {
            Ok(endings) => {
                let answers = jobs.into_iter().zip(endings);
                answers.for_each(|(job, (ending, timing))| job.call.answer(ending, timing));
            }
            Err(error) => jobs
                .into_iter()
                .for_each(|job| job.call.answer(Ending::Failed(error.clone()), Timing::default())),
        }
    }
}

impl BatchWriter {
    pub(in crate::es) fn new(
        store: Box<dyn EventStore>,
        log: Arc<EventLog>,
        on_commit: Box<dyn Fn(&Commit) + Send>,
    ) -> Self {
        let (kinds, store_state) = (Kinds::default(), StoreState::Sound);
        Self { store, log, cached_at: 0, kinds, store_state, on_commit }
    }

    /// Runs a batch in one transaction and makes the batch durable.
    fn commit_batch(&mut self, jobs: &mut [Job]) -> Result<Vec<(Ending, Timing)>, Error> {
        let endings = self.recover_if_failed().and_then(|()| self.run_and_commit(jobs));
        if endings.is_err() {
            // The states include events that were not recorded.
            self.kinds.clear();
            self.store_state = StoreState::Failed;
        }
        endings
    }

    fn recover_if_failed(&mut self) -> Result<(), Error> {
        if self.store_state == StoreState::Failed {
            self.store.recover()?;
            self.store_state = StoreState::Sound;
        }
        Ok(())
    }

    fn run_and_commit(&mut self, jobs: &mut [Job]) -> Result<Vec<(Ending, Timing)>, Error> {
        let mut head = self.store.begin()?;
        let before = head.position;
        if head.position != self.cached_at {
            // Another program has written: a tool, or another writer of a shared store.
            self.kinds.clear();
        }
        let mut endings = Vec::with_capacity(jobs.len());
        // One look at the clock per command: a command begins where the command before ended.
        let mut begun = Instant::now();
        for job in jobs {
            let ending = if begun >= job.answer_by {
                // The caller has given up. The command has not begun, so the outcome is known.
                Ending::Failed(Error::Overloaded)
            } else {
                self.run_command(&mut *job.call, &job.context, &mut head)?
            };
            let (queue, decided) = (begun.duration_since(job.submitted), Instant::now());
            // The commit of the whole batch ends the time of `sync`.
            let timing = Timing { queue, decide: decided.duration_since(begun), sync: Duration::ZERO };
            endings.push((ending, timing, decided));
            begun = decided;
        }
        crash_point!("before-sync");
        self.store.commit()?;
        crash_point!("after-sync-before-receipt");
        // Readers wake before callers get their answers: a client never reads behind its own receipt.
        self.log.head().raise(head.position);
        if head.position > before {
            self.log.note_time(&head.recorded_at);
        }
        let (commands, events) = (endings.len(), head.position - before);
        let durable = Instant::now();
        (self.on_commit)(&Commit { commands, events, sync: durable.duration_since(begun) });
        self.cached_at = head.position;
        let timed = endings.into_iter().map(|(ending, timing, decided)| {
            (ending, Timing { sync: durable.duration_since(decided), ..timing })
        });
        Ok(timed.collect())
    }

    /// Runs a command. An error ends the whole batch; an [`Ending`] concerns the command's caller alone.
    fn run_command(
        &mut self,
        call: &mut dyn Call,
        context: &Context,
        head: &mut Head,
    ) -> Result<Ending, Error> {
        if let Some(ending) = self.ending_under_known_key(context)? {
            return Ok(ending);
        }
        let mut work = Work::new(&mut *self.store, &mut self.kinds);
        // A panic of an aggregate must not end the writer thread.
        let ran = catch_unwind(AssertUnwindSafe(|| call.run(&mut work)));
        let (staged, receipts) = work.into_parts();
        match ran {
            Ok(Ok(stream_id)) => {
                for (key, receipt) in &receipts {
                    self.store.keep_receipt(&key.key, &key.command, receipt)?;
                }
                Ok(Ending::Executed(self.record(stream_id, &staged, context, head)?))
            }
            // A storage that fails under this command fails under the others too. An unreadable history is
            // a refusal instead: only commands on the stream fail.
            Ok(Err(Ending::Failed(error))) => Err(error),
            Ok(Err(refused)) => {
                // Without staged events, the states are as loaded.
                if staged.is_empty() {
                    self.kinds.put_back();
                } else {
                    self.kinds.discard();
                }
                Ok(refused)
            }
            Err(_panic) => {
                // The panic may have left a state half changed.
                self.kinds.discard();
                Ok(Ending::Failed(Error::Panicked))
            }
        }
    }

    /// Returns the ending of a command whose idempotency key has a receipt; None without a known key.
    fn ending_under_known_key(&mut self, context: &Context) -> Result<Option<Ending>, Error> {
        // Before anything is loaded: a replay costs a look-up. Keys of earlier commands of the batch are seen.
        for IdempotencyKey { key, command } in &context.keys {
            if let Some((first_command, receipt)) = self.store.receipt(key)? {
                return Ok(Some(if first_command == *command {
                    Ending::Executed(Execution::Replayed(receipt))
                } else {
                    Ending::KeyReused(key.clone())
                }));
            }
        }
        Ok(None)
    }

    fn record(
        &mut self,
        stream_id: Uuid,
        staged: &[Staged],
        context: &Context,
        head: &mut Head,
    ) -> Result<Execution, Error> {
        let version = self.kinds.touched_version(stream_id);
        if staged.is_empty() {
            // No receipt, so the keys stay free, as after a rejection.
            self.kinds.put_back();
            return Ok(Execution::Unchanged { stream_id, version, position: head.position });
        }
        // Events, receipts and snapshots share the transaction of the batch.
        self.append(staged, context, head)?;
        crash_point!("between-events-and-key");
        let receipt = Receipt { stream_id, version, position: head.position };
        for IdempotencyKey { key, command } in &context.keys {
            self.store.keep_receipt(key, command, &receipt)?;
        }
        self.kinds.keep(&mut *self.store)?;
        Ok(Execution::Recorded(receipt))
    }

    fn append(&mut self, staged: &[Staged], context: &Context, head: &mut Head) -> Result<(), Error> {
        let metadata = serde_json::to_string(&context.metadata)
            .map_err(|error| Error::Corrupt(format!("metadata cannot be written as JSON: {error}")))?;
        // After the clock was set back, events keep the time of the last event.
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
            // The head was read in this transaction, so the schema accepts the position.
            self.store.append(&recorded)?;
            self.kinds.evict_from_others(*stream_id, stream_type);
            head.position = recorded.position;
            head.hash = recorded.hash;
            crash_point!("between-two-events");
        }
        Ok(())
    }
}
