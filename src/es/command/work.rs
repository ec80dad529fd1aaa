//! One command at work: the streams that the command has loaded, and the events that the command stages.
//!
//! **Invariant:** a running command reads streams and stages events, and never writes. So a command rejected
//! half way through leaves no trace, and does not disturb the other commands of the batch.
//!
//! Read next: `batch_writer.rs`, which runs commands and appends the staged events.

use uuid::Uuid;

use super::cached_states::Kinds;
use super::context::IdempotencyKey;
use super::stream_state::StreamState;
use crate::es::aggregate_rules::encode;
use crate::es::log::store::{EventStore, Receipt};
use crate::es::{Aggregate, Error, Event, ExecuteError, schema_version};

/// An event to record.
pub(in crate::es) struct Staged {
    pub(in crate::es) stream_id: Uuid,
    pub(in crate::es) stream_type: &'static str,
    pub(in crate::es) version: u64,
    pub(in crate::es) event_type: &'static str,
    pub(in crate::es) schema_version: u32,
    pub(in crate::es) data: String,
}

/// A running command's view of the log: all events recorded before the command, earlier commands of
/// the same batch included.
///
/// One command may load and change streams of different kinds; each stream belongs to one kind.
pub struct Work<'w> {
    store: &'w mut dyn EventStore,
    kinds: &'w mut Kinds,
    staged: Vec<Staged>,
    receipts: Vec<(IdempotencyKey, Receipt)>,
}

impl<'w> Work<'w> {
    pub(in crate::es) fn new(store: &'w mut dyn EventStore, kinds: &'w mut Kinds) -> Self {
        Self { store, kinds, staged: Vec::new(), receipts: Vec::new() }
    }

    /// Returns the state and version of a stream, staged events included. A stream without events has
    /// the default state and version 0.
    ///
    /// # Errors
    /// When the storage fails, the history cannot be understood, or the stream is of another kind.
    pub fn load<A: Aggregate>(&mut self, stream_id: Uuid) -> Result<(&A, u64), Error> {
        let loaded = self.loaded::<A>(stream_id)?;
        Ok((&loaded.state, loaded.version))
    }

    /// Stages events at the end of a stream.
    ///
    /// # Errors
    /// As [`Work::load`]; [`Error::InvalidDefinition`] when an event is not a JSON object. No event is staged then.
    pub fn stage<A: Aggregate>(&mut self, stream_id: Uuid, events: Vec<A::Event>) -> Result<(), Error> {
        let loaded = self.loaded::<A>(stream_id)?;
        // Before the state changes: a refused event leaves the state as loaded.
        let staged = (loaded.version + 1..)
            .zip(&events)
            .map(|(version, event)| staged::<A>(stream_id, version, event))
            .collect::<Result<Vec<_>, _>>()?;
        // The rules of the next decision in the same command see the staged events.
        loaded.state = events.iter().fold(std::mem::take(&mut loaded.state), A::evolve);
        loaded.version += events.len() as u64;
        self.staged.extend(staged);
        Ok(())
    }

    /// Loads an aggregate, has the aggregate decide, and stages the events.
    ///
    /// # Errors
    /// The aggregate's rejection, or as [`Work::stage`].
    pub fn decide<A: Aggregate>(
        &mut self,
        stream_id: Uuid,
        command: &A::Command,
    ) -> Result<(), ExecuteError<A::Rejection>> {
        let (state, _) = self.load::<A>(stream_id)?;
        let events = state.decide(command).map_err(ExecuteError::Rejected)?;
        Ok(self.stage::<A>(stream_id, events)?)
    }

    /// Returns whether a receipt is kept under an idempotency key.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn has_receipt(&mut self, key: &str) -> Result<bool, Error> {
        // The store does not know the receipts of this command yet.
        let is_new = self.receipts.iter().any(|(kept, _)| kept.key == key);
        Ok(is_new || self.store.receipt(key)?.is_some())
    }

    /// Keeps a receipt under a free key, for a command that was recorded earlier without the key.
    pub fn keep_receipt(&mut self, key: IdempotencyKey, receipt: Receipt) {
        self.receipts.push((key, receipt));
    }

    /// Returns the staged events, and the receipts of earlier commands.
    pub(in crate::es) fn into_parts(self) -> (Vec<Staged>, Vec<(IdempotencyKey, Receipt)>) {
        (self.staged, self.receipts)
    }

    fn loaded<A: Aggregate>(&mut self, stream_id: Uuid) -> Result<&mut StreamState<A>, Error> {
        // Looked up twice: a reference from the first look-up would borrow the kinds during `touch`.
        if self.kinds.of::<A>()?.touched(stream_id).is_none() {
            self.touch::<A>(stream_id)?;
        }
        let lost = || Error::Corrupt(format!("stream {stream_id} was loaded and is lost"));
        self.kinds.of::<A>()?.touched(stream_id).ok_or_else(lost)
    }

    fn touch<A: Aggregate>(&mut self, stream_id: Uuid) -> Result<(), Error> {
        // Two kinds would each append the same version of the stream.
        if let Some(other) = self.kinds.touched_as_other(stream_id, A::STREAM_TYPE) {
            let (found, asked) = (other.to_owned(), A::STREAM_TYPE);
            return Err(Error::WrongKind { stream_id, found, asked });
        }
        self.kinds.of::<A>()?.touch(stream_id, self.store)
    }
}

fn staged<A: Aggregate>(stream_id: Uuid, version: u64, event: &A::Event) -> Result<Staged, Error> {
    let event_type = event.event_type();
    Ok(Staged {
        stream_id,
        stream_type: A::STREAM_TYPE,
        version,
        event_type,
        schema_version: schema_version::<A::Event>(event_type),
        data: encode(event)?,
    })
}

impl std::fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Work({} events staged)", self.staged.len())
    }
}
