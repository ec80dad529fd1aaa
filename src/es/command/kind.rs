//! The kinds of aggregates that a writer knows: for each, the states in memory.
//!
//! A writer executes commands on any number of kinds. A command names a kind by its type, and
//! [`Kinds::of`] finds the states of that type; the writer itself handles all kinds alike, through
//! [`AnyKind`]. The first command of a kind adds the kind.
//!
//! **Invariant:** at most one kind holds a state of a stream. A kind that appends to a stream evicts
//! the stream from all others, where it can only be an empty state.
//!
//! Read next: `work.rs`, a command's view of the kinds.

use std::any::Any;

use uuid::Uuid;

use crate::es::command::cache::{Cache, Loaded};
use crate::es::command::work::shape_of;
use crate::es::log::store::{EventStore, Snapshot};
use crate::es::{Aggregate, Error};

/// States of one kind kept in memory, in each of the cache's two generations.
const CACHE_GENERATION: usize = 16_384;

/// A stream gets a new snapshot after this many events: the most that a command ever replays, about
/// as long as a hundredth of a sync.
const SNAPSHOT_INTERVAL: u64 = 32;

/// The states of one kind.
pub(in crate::es) struct Kind<A> {
    pub(in crate::es) cache: Cache<A>,
    /// The streams that the running command has loaded, as the command has changed them. A command
    /// touches one or two streams: a list is the fastest map.
    pub(in crate::es) touched: Vec<(Uuid, Loaded<A>)>,
    /// The form of the state, by which snapshots of another form are ignored.
    pub(in crate::es) shape: String,
}

impl<A: Aggregate> Kind<A> {
    fn new() -> Self {
        Self {
            cache: Cache::with_generations_of(CACHE_GENERATION),
            touched: Vec::new(),
            shape: shape_of::<A>(),
        }
    }

    fn snapshot_if_due(
        &self,
        stream_id: Uuid,
        loaded: &mut Loaded<A>,
        store: &mut dyn EventStore,
    ) -> Result<(), Error> {
        if loaded.version >= loaded.snapshot_version + SNAPSHOT_INTERVAL {
            let state = serde_json::to_string(&loaded.state)
                .map_err(|error| Error::Corrupt(format!("a state cannot be written as JSON: {error}")))?;
            let snapshot = Snapshot { version: loaded.version, shape: self.shape.clone(), state };
            store.keep_snapshot(stream_id, &snapshot)?;
            crash_point!("in-snapshot");
            loaded.snapshot_version = loaded.version;
        }
        Ok(())
    }
}

/// A kind without its type: what the writer does after each command.
pub(in crate::es) trait AnyKind: Any + Send {
    /// [`Aggregate::STREAM_TYPE`].
    fn stream_type(&self) -> &'static str;

    /// The version of a stream that the running command has loaded.
    fn touched_version(&self, stream_id: Uuid) -> Option<u64>;

    /// Caches the touched streams, after a command whose events were appended.
    ///
    /// # Errors
    /// When a snapshot cannot be kept.
    fn keep(&mut self, store: &mut dyn EventStore) -> Result<(), Error>;

    /// Caches the touched streams, after a command that staged nothing: they are as they were loaded.
    fn put_back(&mut self);

    /// Forgets the touched streams, after a command that left them half changed.
    fn discard(&mut self);

    /// Forgets the state of a stream that another kind has appended to.
    fn evict(&mut self, stream_id: Uuid);

    /// Forgets all states.
    fn clear(&mut self);
}

impl<A: Aggregate> AnyKind for Kind<A> {
    fn stream_type(&self) -> &'static str {
        A::STREAM_TYPE
    }

    fn touched_version(&self, stream_id: Uuid) -> Option<u64> {
        self.touched.iter().find(|(id, _)| *id == stream_id).map(|(_, loaded)| loaded.version)
    }

    fn keep(&mut self, store: &mut dyn EventStore) -> Result<(), Error> {
        while let Some((stream_id, mut loaded)) = self.touched.pop() {
            self.snapshot_if_due(stream_id, &mut loaded, store)?;
            self.cache.put(stream_id, loaded);
        }
        Ok(())
    }

    fn put_back(&mut self) {
        for (stream_id, loaded) in self.touched.drain(..) {
            self.cache.put(stream_id, loaded);
        }
    }

    fn discard(&mut self) {
        self.touched.clear();
    }

    fn evict(&mut self, stream_id: Uuid) {
        self.cache.take(stream_id);
    }

    fn clear(&mut self) {
        self.touched.clear();
        self.cache.clear();
    }
}

/// The kinds that commands have named so far.
#[derive(Default)]
pub(in crate::es) struct Kinds {
    // A program has a handful: a list is the fastest map.
    all: Vec<Box<dyn AnyKind>>,
}

impl Kinds {
    /// The states of the kind `A`.
    ///
    /// # Errors
    /// When another type claims the same [`Aggregate::STREAM_TYPE`]: the two would not see each
    /// other's events.
    pub(in crate::es) fn of<A: Aggregate>(&mut self) -> Result<&mut Kind<A>, Error> {
        let known = self.all.iter().position(|kind| (&**kind as &dyn Any).is::<Kind<A>>());
        let at = match known {
            Some(at) => at,
            None => self.add::<A>()?,
        };
        let kind: &mut dyn Any = &mut *self.all[at];
        kind.downcast_mut().ok_or_else(|| Error::Corrupt("a kind of aggregate has lost its type".into()))
    }

    fn add<A: Aggregate>(&mut self) -> Result<usize, Error> {
        if self.all.iter().any(|kind| kind.stream_type() == A::STREAM_TYPE) {
            let stream_type = A::STREAM_TYPE;
            return Err(Error::Unusable(format!(
                "two aggregates have the stream type {stream_type:?}: give each aggregate a type of its own"
            )));
        }
        self.all.push(Box::new(Kind::<A>::new()));
        Ok(self.all.len() - 1)
    }

    /// The version of a stream that the running command has loaded, 0 where it has not.
    pub(in crate::es) fn touched_version(&self, stream_id: Uuid) -> u64 {
        self.all.iter().find_map(|kind| kind.touched_version(stream_id)).unwrap_or(0)
    }

    /// The other kind under which the running command has loaded the stream.
    pub(in crate::es) fn touched_as_other(&self, stream_id: Uuid, stream_type: &str) -> Option<&'static str> {
        let mut others = self.all.iter().filter(|kind| kind.stream_type() != stream_type);
        others.find(|kind| kind.touched_version(stream_id).is_some()).map(|kind| kind.stream_type())
    }

    /// Evicts a stream from all kinds but the one that has appended to it.
    pub(in crate::es) fn evict_from_others(&mut self, stream_id: Uuid, stream_type: &str) {
        for kind in self.all.iter_mut().filter(|kind| kind.stream_type() != stream_type) {
            kind.evict(stream_id);
        }
    }

    /// See [`AnyKind::keep`].
    ///
    /// # Errors
    /// When a snapshot cannot be kept.
    pub(in crate::es) fn keep(&mut self, store: &mut dyn EventStore) -> Result<(), Error> {
        self.all.iter_mut().try_for_each(|kind| kind.keep(store))
    }

    /// See [`AnyKind::put_back`].
    pub(in crate::es) fn put_back(&mut self) {
        self.all.iter_mut().for_each(|kind| kind.put_back());
    }

    /// See [`AnyKind::discard`].
    pub(in crate::es) fn discard(&mut self) {
        self.all.iter_mut().for_each(|kind| kind.discard());
    }

    /// Forgets all states: what they were loaded from may not be what is recorded.
    pub(in crate::es) fn clear(&mut self) {
        self.all.iter_mut().for_each(|kind| kind.clear());
    }
}
