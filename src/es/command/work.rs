//! One command at work: what it has loaded, and what it wants recorded.
//!
//! A command reads streams and stages events; nothing is written before it has succeeded. So a
//! command that is refused half way through leaves nothing behind, and does not disturb the others of
//! its batch.
//!
//! Read next: `executor.rs`, which runs commands and writes what they staged.

use std::ops::ControlFlow;

use serde_json::Value;
use uuid::Uuid;

use crate::es::aggregate::{Event, decode, schema_version};
use crate::es::command::cache::Loaded;
use crate::es::command::kind::Kinds;
use crate::es::log::store::{EventStore, Receipt, Snapshot};
use crate::es::{Aggregate, Error, ExecuteError, IdempotencyKey};

/// An event that the command wants recorded.
pub(in crate::es) struct Staged {
    pub(in crate::es) stream_id: Uuid,
    pub(in crate::es) stream_type: &'static str,
    pub(in crate::es) version: u64,
    pub(in crate::es) event_type: &'static str,
    pub(in crate::es) schema_version: u32,
    pub(in crate::es) data: String,
}

/// The view that a running command has of the log. It sees everything that was recorded before it,
/// the earlier commands of its own batch included.
///
/// Streams of different kinds may be loaded and appended to in one command; each stream belongs to
/// one kind.
pub struct Work<'w> {
    store: &'w mut dyn EventStore,
    kinds: &'w mut Kinds,
    staged: Vec<Staged>,
    named: Vec<(IdempotencyKey, Receipt)>,
}

impl<'w> Work<'w> {
    pub(in crate::es) fn new(store: &'w mut dyn EventStore, kinds: &'w mut Kinds) -> Self {
        Self { store, kinds, staged: Vec::new(), named: Vec::new() }
    }

    /// The state and version of a stream, staged events included. A stream without events has the
    /// default state and version 0.
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
    /// As [`Work::load`]; or an event cannot be written as JSON.
    pub fn append<A: Aggregate>(&mut self, stream_id: Uuid, events: Vec<A::Event>) -> Result<(), Error> {
        let loaded = self.loaded::<A>(stream_id)?;
        let mut version = loaded.version;
        loaded.state = events.iter().fold(std::mem::take(&mut loaded.state), A::evolve);
        loaded.version += events.len() as u64;
        for event in events {
            version += 1;
            self.staged.push(staged::<A>(stream_id, version, &event)?);
        }
        Ok(())
    }

    /// Loads one aggregate, has it decide, and stages what it decided.
    ///
    /// # Errors
    /// The aggregate's rejection, or as [`Work::append`].
    pub fn execute<A: Aggregate>(
        &mut self,
        stream_id: Uuid,
        command: &A::Command,
    ) -> Result<(), ExecuteError<A::Rejection>> {
        let (state, _) = self.load::<A>(stream_id)?;
        let events = state.decide(command).map_err(ExecuteError::Rejected)?;
        Ok(self.append::<A>(stream_id, events)?)
    }

    /// Whether a command has that idempotency key.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn knows_key(&mut self, key: &str) -> Result<bool, Error> {
        Ok(self.store.receipt(key)?.is_some())
    }

    /// Gives a key to a command that was recorded before, without one. The key must be free.
    pub fn name_past(&mut self, key: IdempotencyKey, receipt: Receipt) {
        self.named.push((key, receipt));
    }

    /// The staged events, and the keys of past commands.
    pub(in crate::es) fn into_parts(self) -> (Vec<Staged>, Vec<(IdempotencyKey, Receipt)>) {
        (self.staged, self.named)
    }

    fn loaded<A: Aggregate>(&mut self, stream_id: Uuid) -> Result<&mut Loaded<A>, Error> {
        let touched = &self.kinds.of::<A>()?.touched;
        let index = match touched.iter().position(|(id, _)| *id == stream_id) {
            Some(index) => index,
            None => self.touch::<A>(stream_id)?,
        };
        Ok(&mut self.kinds.of::<A>()?.touched[index].1)
    }

    /// Loads a stream that the command has not loaded yet; returns its place among the touched ones.
    fn touch<A: Aggregate>(&mut self, stream_id: Uuid) -> Result<usize, Error> {
        if let Some(other) = self.kinds.touched_as_other(stream_id, A::STREAM_TYPE) {
            return Err(Error::Corrupt(format!(
                "one command uses stream {stream_id} as {:?} and as {other:?}: a stream is of one kind",
                A::STREAM_TYPE
            )));
        }
        let kind = self.kinds.of::<A>()?;
        let loaded = match kind.cache.take(stream_id) {
            Some(cached) => cached,
            None => replay(stream_id, self.store, &kind.shape)?,
        };
        kind.touched.push((stream_id, loaded));
        Ok(kind.touched.len() - 1)
    }
}

fn staged<A: Aggregate>(stream_id: Uuid, version: u64, event: &A::Event) -> Result<Staged, Error> {
    let event_type = event.event_type();
    let data = event.to_json();
    Ok(Staged {
        stream_id,
        stream_type: A::STREAM_TYPE,
        version,
        event_type,
        schema_version: schema_version::<A::Event>(event_type),
        data: data.map_err(|error| Error::Corrupt(format!("an event cannot be written as JSON: {error}")))?,
    })
}

/// The state of a stream, from the head start that there is and every event after it: the cost is
/// flat however long the stream.
fn replay<A: Aggregate>(
    stream_id: Uuid,
    store: &mut dyn EventStore,
    shape: &str,
) -> Result<Loaded<A>, Error> {
    let mut loaded: Loaded<A> = snapshot_or_default(stream_id, store, shape)?;
    let Loaded { state, version, snapshot_version } = &mut loaded;
    // The event at the snapshot's version is read again: a snapshot does not say of which kind it is.
    store.events_after(stream_id, version.saturating_sub(1), &mut |event| {
        let is_in_snapshot = event.version == *snapshot_version;
        let continues = is_in_snapshot || event.version == *version + 1;
        if !continues || event.stream_type != A::STREAM_TYPE {
            return Err(Error::Corrupt(format!(
                "event {} does not continue its stream as a {}: it is version {} of a {}",
                event.position,
                A::STREAM_TYPE,
                event.version,
                event.stream_type
            )));
        }
        if is_in_snapshot {
            return Ok(ControlFlow::Continue(()));
        }
        let decoded = decode(event).map_err(|error| {
            Error::Corrupt(format!("event {} ({}): {error}", event.position, event.event_type))
        })?;
        *state = std::mem::take(state).evolve(&decoded);
        *version = event.version;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(loaded)
}

fn snapshot_or_default<A: Aggregate>(
    stream_id: Uuid,
    store: &mut dyn EventStore,
    shape: &str,
) -> Result<Loaded<A>, Error> {
    let snapshot = store.snapshot(stream_id)?.filter(|snapshot| snapshot.shape == shape);
    // A snapshot that cannot be read is only a head start less.
    let usable = snapshot.and_then(|Snapshot { version, state, .. }| {
        let state = serde_json::from_str(&state).ok()?;
        Some(Loaded { state, version, snapshot_version: version })
    });
    Ok(usable.unwrap_or(Loaded { state: A::default(), version: 0, snapshot_version: 0 }))
}

impl std::fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Work({} events staged)", self.staged.len())
    }
}

/// The form of an aggregate's state, by which a snapshot of an older form is told: its snapshot
/// version, and names and JSON types of the fields of the default state.
pub(in crate::es) fn shape_of<A: Aggregate>() -> String {
    let mut shape = format!("v{}", A::SNAPSHOT_VERSION);
    if let Ok(state) = serde_json::to_value(A::default()) {
        describe(&state, &mut shape);
    }
    shape
}

fn describe(value: &Value, shape: &mut String) {
    match value {
        Value::Null => shape.push_str(" null"),
        Value::Bool(_) => shape.push_str(" bool"),
        Value::Number(_) => shape.push_str(" number"),
        Value::String(_) => shape.push_str(" string"),
        Value::Array(_) => shape.push_str(" array"),
        Value::Object(fields) => {
            shape.push_str(" {");
            for (name, field) in fields {
                shape.push(' ');
                shape.push_str(name);
                shape.push(':');
                describe(field, shape);
            }
            shape.push_str(" }");
        }
    }
}
