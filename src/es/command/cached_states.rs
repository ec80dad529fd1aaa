//! The kinds of aggregates that a writer knows: for each kind, the states in memory.
//!
//! A writer executes commands on any number of kinds. A command names a kind by its type, and
//! [`Kinds::of`] finds the states of the type; the writer handles all kinds alike, through [`AnyKind`].
//! The first command of a kind adds the kind.
//!
//! **Invariants:** a cached state is the state at the writer's last position: after a failed transaction,
//! and when another program has written, [`Kinds::clear`] forgets all states. At most one kind holds a state
//! of a stream: a kind that appends to a stream evicts the stream from all other kinds, which can hold only
//! an empty state.
//!
//! Read next: `work.rs`, a command's view of the kinds.

use std::any::Any;
use std::collections::hash_map::RandomState;

use hashlink::LruCache;
use uuid::Uuid;

use super::stream_state::{StreamState, shape_of};
use crate::es::aggregate_rules::check_aggregate;
use crate::es::log::store::EventStore;
use crate::es::{Aggregate, Error};

/// States of one kind kept in memory, least recently used first out: with states of some hundred bytes,
/// about 10 MB.
const CACHED_STATES: usize = 32_768;

/// The states of one kind.
pub(in crate::es) struct KindStates<A> {
    // Clients choose the ids of streams: the standard hasher keeps them from choosing collisions.
    cache: LruCache<Uuid, StreamState<A>, RandomState>,
    /// The streams loaded by the running command, staged events included. A command touches one or two
    /// streams: a list is the fastest map.
    touched: Vec<(Uuid, StreamState<A>)>,
    /// The form of the state; a snapshot of another form is ignored.
    shape: String,
}

impl<A: Aggregate> KindStates<A> {
    fn empty() -> Self {
        let cache = LruCache::with_hasher(CACHED_STATES, RandomState::new());
        Self { cache, touched: Vec::new(), shape: shape_of::<A>() }
    }

    /// Returns the state that the running command has loaded for a stream.
    pub(in crate::es) fn touched(&mut self, stream_id: Uuid) -> Option<&mut StreamState<A>> {
        self.touched.iter_mut().find(|(id, _)| *id == stream_id).map(|(_, loaded)| loaded)
    }

    /// Loads a stream for the running command, from memory or by a replay.
    ///
    /// # Errors
    /// As [`StreamState::load`].
    pub(in crate::es) fn touch(&mut self, stream_id: Uuid, store: &mut dyn EventStore) -> Result<(), Error> {
        // Out of the cache while the command changes the state: a panic loses the state and corrupts none.
        let loaded = match self.cache.remove(&stream_id) {
            Some(cached) => cached,
            None => StreamState::load(stream_id, store, &self.shape)?,
        };
        self.touched.push((stream_id, loaded));
        Ok(())
    }
}

/// A kind without its type: the steps of the writer after each command.
pub(in crate::es) trait AnyKind: Any + Send {
    /// [`Aggregate::STREAM_TYPE`].
    fn stream_type(&self) -> &'static str;

    /// Returns the version of a stream that the running command has loaded.
    fn touched_version(&self, stream_id: Uuid) -> Option<u64>;

    /// Caches the touched streams, after a command whose events were appended.
    ///
    /// # Errors
    /// When a snapshot cannot be kept.
    fn keep(&mut self, store: &mut dyn EventStore) -> Result<(), Error>;

    /// Caches the touched streams, after a command that staged no events: the states are as loaded.
    fn put_back(&mut self);

    /// Forgets the touched streams, after a command that left them half changed.
    fn discard(&mut self);

    /// Forgets the state of a stream that another kind has appended to.
    fn evict(&mut self, stream_id: Uuid);

    /// Forgets all states.
    fn clear(&mut self);
}

impl<A: Aggregate> AnyKind for KindStates<A> {
    fn stream_type(&self) -> &'static str {
        A::STREAM_TYPE
    }

    fn touched_version(&self, stream_id: Uuid) -> Option<u64> {
        self.touched.iter().find(|(id, _)| *id == stream_id).map(|(_, loaded)| loaded.version)
    }

    fn keep(&mut self, store: &mut dyn EventStore) -> Result<(), Error> {
        while let Some((stream_id, mut loaded)) = self.touched.pop() {
            loaded.keep_snapshot_if_due(stream_id, store, &self.shape)?;
            self.cache.insert(stream_id, loaded);
        }
        Ok(())
    }

    fn put_back(&mut self) {
        // Also the default state of a stream without events: the next command needs no look-up.
        for (stream_id, loaded) in self.touched.drain(..) {
            self.cache.insert(stream_id, loaded);
        }
    }

    fn discard(&mut self) {
        self.touched.clear();
    }

    fn evict(&mut self, stream_id: Uuid) {
        self.cache.remove(&stream_id);
    }

    fn clear(&mut self) {
        self.touched.clear();
        self.cache.clear();
    }
}

/// The kinds that commands have named so far.
#[derive(Default)]
pub(in crate::es) struct Kinds {
    // A program has a handful of kinds: a list is the fastest map.
    all: Vec<Box<dyn AnyKind>>,
}

impl Kinds {
    /// Returns the states of the kind `A`.
    ///
    /// # Errors
    /// When another type claims the same [`Aggregate::STREAM_TYPE`]: the two types would not see each
    /// other's events. [`Error::InvalidDefinition`] as [`check_aggregate`].
    pub(in crate::es) fn of<A: Aggregate>(&mut self) -> Result<&mut KindStates<A>, Error> {
        // By position and again by type: returning from the search would borrow the list for too long.
        let known = self.all.iter().position(|kind| (&**kind as &dyn Any).is::<KindStates<A>>());
        let at = match known {
            Some(at) => at,
            None => self.add::<A>()?,
        };
        let kind: &mut dyn Any = &mut *self.all[at];
        kind.downcast_mut().ok_or_else(|| Error::Corrupt("a kind of aggregate has lost its type".into()))
    }

    fn add<A: Aggregate>(&mut self) -> Result<usize, Error> {
        // Found only when a command names the second type: a writer does not know the kinds beforehand.
        if self.all.iter().any(|kind| kind.stream_type() == A::STREAM_TYPE) {
            let stream_type = A::STREAM_TYPE;
            return Err(Error::Unusable(format!(
                "two aggregates have the stream type {stream_type:?}: give each aggregate a type of its own"
            )));
        }
        check_aggregate::<A>()?;
        self.all.push(Box::new(KindStates::<A>::empty()));
        Ok(self.all.len() - 1)
    }

    /// Returns the version of a stream that the running command has loaded, else 0.
    pub(in crate::es) fn touched_version(&self, stream_id: Uuid) -> u64 {
        self.all.iter().find_map(|kind| kind.touched_version(stream_id)).unwrap_or(0)
    }

    /// Returns the other kind under which the running command has loaded the stream.
    pub(in crate::es) fn touched_as_other(&self, stream_id: Uuid, stream_type: &str) -> Option<&'static str> {
        let mut others = self.all.iter().filter(|kind| kind.stream_type() != stream_type);
        others.find(|kind| kind.touched_version(stream_id).is_some()).map(|kind| kind.stream_type())
    }

    /// Evicts a stream from all kinds but the one that has appended to the stream.
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

    /// Forgets all states: the log may hold other events than the states show.
    pub(in crate::es) fn clear(&mut self) {
        self.all.iter_mut().for_each(|kind| kind.clear());
    }
}
