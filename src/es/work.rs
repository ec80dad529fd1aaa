//! One command at work: what it has loaded, and what it wants recorded.
//!
//! A command reads streams and stages events; nothing is written before it has succeeded. So a
//! command that is refused half way through leaves nothing behind, and does not disturb the others of
//! its batch.
//!
//! Read next: `executor.rs`, which runs commands and writes what they staged.

use std::fmt::Write;
use std::ops::ControlFlow;

use serde_json::Value;
use uuid::Uuid;

use super::aggregate::decode;
use super::cache::{Cache, Loaded};
use super::store::{EventStore, Snapshot};
use super::{Aggregate, Error, ExecuteError};

/// Streams as the command has loaded and changed them.
pub(super) type Touched<A> = Vec<(Uuid, Loaded<A>)>;
/// An event that the command wants recorded.
pub(super) struct Staged<E> {
    pub(super) stream_id: Uuid,
    pub(super) version: u64,
    pub(super) event: E,
}

/// The view that a running command has of the log. It sees everything that was recorded before it,
/// the earlier commands of its own batch included.
pub struct Work<'w, A: Aggregate> {
    store: &'w mut dyn EventStore,
    cache: &'w mut Cache<A>,
    shape: &'w str,
    // A command touches one or two streams: a list is the fastest map.
    touched: Touched<A>,
    staged: Vec<Staged<A::Event>>,
}

impl<'w, A: Aggregate> Work<'w, A> {
    pub(super) fn new(store: &'w mut dyn EventStore, cache: &'w mut Cache<A>, shape: &'w str) -> Self {
        Self { store, cache, shape, touched: Vec::new(), staged: Vec::new() }
    }

    /// The state and version of a stream, staged events included. A stream without events has the
    /// default state and version 0.
    ///
    /// # Errors
    /// When the storage fails or the history cannot be understood.
    pub fn load(&mut self, stream_id: Uuid) -> Result<(&A, u64), Error> {
        let loaded = self.loaded(stream_id)?;
        Ok((&loaded.state, loaded.version))
    }

    /// Stages events at the end of a stream.
    ///
    /// # Errors
    /// As [`Work::load`].
    pub fn append(&mut self, stream_id: Uuid, events: Vec<A::Event>) -> Result<(), Error> {
        let loaded = self.loaded(stream_id)?;
        loaded.state = events.iter().fold(std::mem::take(&mut loaded.state), A::evolve);
        let next = loaded.version + 1;
        loaded.version += events.len() as u64;
        let staged = events.into_iter().zip(next..);
        self.staged.extend(staged.map(|(event, version)| Staged { stream_id, version, event }));
        Ok(())
    }

    /// Loads one aggregate, has it decide, and stages what it decided.
    ///
    /// # Errors
    /// The aggregate's rejection, or as [`Work::load`].
    pub fn execute(
        &mut self,
        stream_id: Uuid,
        command: &A::Command,
    ) -> Result<(), ExecuteError<A::Rejection>> {
        let (state, _) = self.load(stream_id)?;
        let events = state.decide(command).map_err(ExecuteError::Rejected)?;
        Ok(self.append(stream_id, events)?)
    }

    /// What was loaded and what was staged.
    pub(super) fn into_parts(self) -> (Touched<A>, Vec<Staged<A::Event>>) {
        (self.touched, self.staged)
    }

    fn loaded(&mut self, stream_id: Uuid) -> Result<&mut Loaded<A>, Error> {
        let index = match self.touched.iter().position(|(id, _)| *id == stream_id) {
            Some(index) => index,
            None => {
                let loaded = self.replay(stream_id)?;
                self.touched.push((stream_id, loaded));
                self.touched.len() - 1
            }
        };
        Ok(&mut self.touched[index].1)
    }

    /// The state in memory; without one, the head start that there is and every event after it: cost
    /// is flat however long the stream.
    fn replay(&mut self, stream_id: Uuid) -> Result<Loaded<A>, Error> {
        if let Some(cached) = self.cache.take(stream_id) {
            return Ok(cached);
        }
        let mut loaded = self.snapshot_or_default(stream_id)?;
        let Loaded { state, version, .. } = &mut loaded;
        self.store.events_after(stream_id, *version, &mut |event| {
            let decoded = decode(event).map_err(|error| {
                Error::Corrupt(format!("event {} ({}): {error}", event.position, event.event_type))
            })?;
            if event.version != *version + 1 || event.stream_type != A::STREAM_TYPE {
                return Err(Error::Corrupt(format!(
                    "event {} does not continue its stream: it is version {} of a {}",
                    event.position, event.version, event.stream_type
                )));
            }
            *state = std::mem::take(state).evolve(&decoded);
            *version = event.version;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(loaded)
    }

    fn snapshot_or_default(&mut self, stream_id: Uuid) -> Result<Loaded<A>, Error> {
        let snapshot = self.store.snapshot(stream_id)?.filter(|snapshot| snapshot.shape == self.shape);
        // One that cannot be read after all is as good as none: it is only a head start.
        let usable = snapshot.and_then(|Snapshot { version, state, .. }| {
            let state = serde_json::from_str(&state).ok()?;
            Some(Loaded { state, version, snapshot_version: version })
        });
        Ok(usable.unwrap_or(Loaded { state: A::default(), version: 0, snapshot_version: 0 }))
    }
}

impl<A: Aggregate> std::fmt::Debug for Work<'_, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Work({} streams loaded, {} events staged)", self.touched.len(), self.staged.len())
    }
}

/// The form of an aggregate's state, by which a snapshot of an older form is told: its snapshot
/// version, and names and JSON types of the fields of the default state.
pub(super) fn shape_of<A: Aggregate>() -> String {
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
                // Writing to a String cannot fail.
                let _ = write!(shape, " {name}:");
                describe(field, shape);
            }
            shape.push_str(" }");
        }
    }
}
