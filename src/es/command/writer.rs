//! The writer thread: it takes the commands that wait, runs them in one transaction, and answers them.
//!
//! **Invariants:** no answer leaves before the sync, not even a refusal: it was decided on a state
//! that the sync makes true. A command sees all earlier ones of its batch. When the commit
//! fails, nobody's command counts, and everything in memory is forgotten.
//!
//! Read next: `log.rs`, where the events come out again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use crate::es::command::executor::{Commit, Context, Execution, IdempotencyKey};
use crate::es::command::kind::Kinds;
use crate::es::command::queue::{Call, Ending, Job, Shared, next_batch};
use crate::es::command::work::{Staged, Work};
use crate::es::log::store::{EventStore, Head, Receipt};
use crate::es::{Error, EventLog, RecordedEvent, chain};
use crate::time::Timestamp;

pub(in crate::es) struct Writer {
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
pub(in crate::es) fn write(shared: &Shared, mut writer: Writer) {
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

impl Writer {
    pub(in crate::es) fn new(
        store: Box<dyn EventStore>,
        log: Arc<EventLog>,
        on_commit: Box<dyn Fn(&Commit) + Send>,
    ) -> Self {
        let (kinds, connection) = (Kinds::default(), Connection::Trusted);
        Self { store, log, cached_at: 0, kinds, connection, on_commit }
    }

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
        let before = head.position;
        if head.position != self.cached_at {
            // Somebody else has written: another tool, or another writer of a shared store.
            self.kinds.clear();
        }
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
        if head.position > before {
            self.log.note_time(&head.recorded_at);
        }
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
