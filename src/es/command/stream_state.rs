//! The state of a stream: loaded from its snapshot and the events after the snapshot.
//!
//! A stream gets a new snapshot every [`SNAPSHOT_INTERVAL`] events, so loading a stream costs the same
//! however long the stream is.
//!
//! **Invariant:** a snapshot is only a head start. An absent, unreadable or outdated snapshot costs time,
//! and never changes a decision.
//!
//! Read next: `cached_states.rs`, which keeps the states in memory.

use std::ops::ControlFlow;

use serde_json::Value;
use uuid::Uuid;

use crate::es::log::store::{EventStore, Snapshot};
use crate::es::{Aggregate, Error, decode};

/// Events of a stream from one snapshot to the next: the most that a command replays, about as long as
/// a hundredth of a sync.
const SNAPSHOT_INTERVAL: u64 = 32;

/// A stream's state as a command loads it.
#[derive(Clone, Debug)]
pub(in crate::es) struct StreamState<A> {
    pub(in crate::es) state: A,
    pub(in crate::es) version: u64,
    /// Version of the stream's snapshot, 0 without a snapshot.
    pub(in crate::es) snapshot_version: u64,
}

impl<A: Aggregate> StreamState<A> {
    /// Replays a stream, from its snapshot if the snapshot has the form `shape`.
    ///
    /// # Errors
    /// When the storage fails, the history cannot be understood, or the stream is of another kind.
    pub(in crate::es) fn load(
        stream_id: Uuid,
        store: &mut dyn EventStore,
        shape: &str,
    ) -> Result<Self, Error> {
        let mut loaded = Self::from_snapshot(stream_id, store, shape)?;
        let Self { state, version, snapshot_version } = &mut loaded;
        // A snapshot does not name its kind of aggregate, so the event at the snapshot's version is read again.
        store.events_after(stream_id, version.saturating_sub(1), &mut |event| {
            let is_in_snapshot = event.version == *snapshot_version;
            let continues = is_in_snapshot || event.version == *version + 1;
            if event.stream_type != A::STREAM_TYPE {
                let (found, asked) = (event.stream_type.to_owned(), A::STREAM_TYPE);
                return Err(Error::WrongKind { stream_id, found, asked });
            }
            if !continues {
                return Err(Error::Corrupt(format!(
                    "event {} is version {} of its stream, expected version {}",
                    event.position,
                    event.version,
                    *version + 1
                )));
            }
            if is_in_snapshot {
                return Ok(ControlFlow::Continue(()));
            }
            let decoded = decode(event).map_err(|error| {
                Error::Corrupt(format!("event {} ({}): {error}", event.position, event.event_type))
            })?;
            // `evolve` takes the state by value, so the aggregate may move fields instead of cloning.
            *state = std::mem::take(state).evolve(&decoded);
            *version = event.version;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(loaded)
    }

    fn from_snapshot(stream_id: Uuid, store: &mut dyn EventStore, shape: &str) -> Result<Self, Error> {
        let snapshot = store.snapshot(stream_id)?.filter(|snapshot| snapshot.shape == shape);
        // An unreadable snapshot is ignored: the replay begins at the first event.
        let usable = snapshot.and_then(|Snapshot { version, state, .. }| {
            let state = serde_json::from_str(&state).ok()?;
            Some(Self { state, version, snapshot_version: version })
        });
        Ok(usable.unwrap_or(Self { state: A::default(), version: 0, snapshot_version: 0 }))
    }

    /// Stores a snapshot when the last one is [`SNAPSHOT_INTERVAL`] events old.
    ///
    /// # Errors
    /// When the storage fails, or the state cannot be written as JSON.
    pub(in crate::es) fn keep_snapshot_if_due(
        &mut self,
        stream_id: Uuid,
        store: &mut dyn EventStore,
        shape: &str,
    ) -> Result<(), Error> {
        if self.version >= self.snapshot_version + SNAPSHOT_INTERVAL {
            let state = serde_json::to_string(&self.state)
                .map_err(|error| Error::Corrupt(format!("a state cannot be written as JSON: {error}")))?;
            let snapshot = Snapshot { version: self.version, shape: shape.to_owned(), state };
            // In the transaction of the events: a snapshot never shows events that were not recorded.
            store.keep_snapshot(stream_id, &snapshot)?;
            crash_point!("in-snapshot");
            self.snapshot_version = self.version;
        }
        Ok(())
    }
}

/// Returns the form of an aggregate's state, which tells an outdated snapshot: the snapshot version, and
/// names and JSON types of the fields of the default state.
pub(in crate::es) fn shape_of<A: Aggregate>() -> String {
    let mut shape = format!("v{}", A::SNAPSHOT_VERSION);
    // A state that is not JSON has the version as its form; storing a snapshot reports the error.
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
