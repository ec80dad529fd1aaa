//! The states that were loaded last, kept in memory for the commands that come next.
//!
//! Bounded by two generations. New entries go into the young one; when it is full it becomes the old
//! one, and the former old one is dropped. An entry that is used moves back to the young one, so
//! what is used often stays, at the cost of two hash look-ups and without a list to keep in order.
//!
//! **Invariant:** what is in here is true at the head that the writer left behind. After a
//! transaction that failed, and when somebody else has moved the head, [`Cache::clear`] forgets
//! everything.

use std::collections::HashMap;

use uuid::Uuid;

/// A stream's state as it was loaded.
#[derive(Clone, Debug)]
pub(in crate::es) struct Loaded<A> {
    pub(in crate::es) state: A,
    pub(in crate::es) version: u64,
    /// Version of the stream's snapshot, 0 without one.
    pub(in crate::es) snapshot_version: u64,
}

#[derive(Debug)]
pub(in crate::es) struct Cache<A> {
    young: HashMap<Uuid, Loaded<A>>,
    old: HashMap<Uuid, Loaded<A>>,
    generation_size: usize,
}

impl<A> Cache<A> {
    /// A cache of at most twice `generation_size` states.
    pub(in crate::es) fn with_generations_of(generation_size: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation_size }
    }

    /// Takes a state out; whoever used it puts it back.
    pub(in crate::es) fn take(&mut self, stream_id: Uuid) -> Option<Loaded<A>> {
        self.young.remove(&stream_id).or_else(|| self.old.remove(&stream_id))
    }

    pub(in crate::es) fn put(&mut self, stream_id: Uuid, loaded: Loaded<A>) {
        if self.young.len() >= self.generation_size {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(stream_id, loaded);
    }

    pub(in crate::es) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(version: u64) -> Loaded<()> {
        Loaded { state: (), version, snapshot_version: 0 }
    }

    #[test]
    fn what_is_used_stays_and_the_number_of_entries_is_bounded() {
        let mut cache = Cache::with_generations_of(10);
        let often = Uuid::from_u128(0);
        cache.put(often, loaded(7));
        for id in 1..1000 {
            cache.put(Uuid::from_u128(id), loaded(1));
            let used = cache.take(often).expect("what is used stays");
            cache.put(often, used);
            assert!(cache.young.len() + cache.old.len() <= 20);
        }
        assert!(cache.take(Uuid::from_u128(1)).is_none(), "what is not used goes");
    }
}
