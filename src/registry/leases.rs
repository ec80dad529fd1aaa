//! The lease table: which instances are registered, and until when.
//!
//! **Invariant:** a lease expires at the moment of reading, on the monotonic clock that the caller passes in.
//! A jump of the wall clock neither ends nor revives a lease.
//!
//! Read next: `registry/service.rs`, which adds the clock and the lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::changes::{Change, ChangeKind, Changes};
use super::instance::{Instance, Registration};
use crate::time::Timestamp;

/// The size of a lease table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The number of instances.
    pub instances: usize,
    /// The size of all instances as JSON, in bytes.
    pub bytes: usize,
    /// The size of all instances of one name as JSON, in bytes.
    pub bytes_of_one_name: usize,
}

/// The limit that rejected a registration. Try again after leases expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// [`Limits::instances`] or [`Limits::bytes`] is reached.
    Table,
    /// [`Limits::bytes_of_one_name`] is reached.
    Name,
}

/// No live lease has this name and id: the service must register again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRegistered;

/// All leases. Every method takes the time as argument, and first ends the leases that have expired.
///
/// Readers share the instances, so that an answer is written after the lock on the table is released.
#[derive(Debug)]
pub struct Leases {
    ttl: Duration,
    limits: Limits,
    index: u64,
    bytes: usize,
    services: BTreeMap<Arc<str>, NamedLeases>,
    /// The ends of all leases, the next one first: expired leases are found without a scan.
    ends: BTreeSet<LeaseEnd>,
    /// The instances that came and went.
    changes: Changes,
}

/// The first moment at which a lease is no longer live, and the name and id of the lease.
type LeaseEnd = (Instant, Arc<str>, Uuid);

/// The leases of one name.
#[derive(Debug, Default)]
struct NamedLeases {
    leases: BTreeMap<Uuid, Lease>,
    bytes: usize,
}

#[derive(Debug)]
struct Lease {
    instance: Arc<Instance>,
    /// The size of the instance as JSON, in bytes. Constant, because all timestamps are equally long.
    bytes: usize,
    /// The entry of the lease in [`Leases::ends`].
    end: LeaseEnd,
}

impl Leases {
    /// Returns an empty table whose leases live for `ttl` after each heartbeat. The index begins at
    /// `first_index`.
    pub fn new(ttl: Duration, limits: Limits, first_index: u64) -> Self {
        let (services, ends, changes) = (BTreeMap::new(), BTreeSet::new(), Changes::default());
        Self { ttl, limits, index: first_index, bytes: 0, services, ends, changes }
    }

    /// Registers an instance, or replaces the instance with the same name and id.
    ///
    /// # Errors
    /// [`Full`] when a limit is reached. The table is unchanged then.
    pub fn register(
        &mut self,
        registration: Registration,
        now: Instant,
        wall_clock: Timestamp,
    ) -> Result<(), Full> {
        self.expire(now);
        let instance = registration.into_instance(wall_clock);
        let bytes = serde_json::to_vec(&instance).map_or(0, |json| json.len());
        // Before the removal: a rejected registration leaves the old lease in place.
        self.check_room(&instance, bytes)?;
        let kind = match self.remove(&instance.name, instance.instance_id) {
            Ok(before) => ChangeKind::Replaced(before),
            Err(NotRegistered) => ChangeKind::Registered,
        };
        let instance = self.insert(instance, bytes, now + self.ttl);
        self.index += 1;
        self.changes.record(Change { instance, kind, at: wall_clock });
        Ok(())
    }

    fn check_room(&self, instance: &Instance, bytes: usize) -> Result<(), Full> {
        let service = self.services.get(instance.name.as_str());
        let replaced = service.and_then(|service| service.leases.get(&instance.instance_id));
        // A replacement needs room for its growth only.
        let more = bytes.saturating_sub(replaced.map_or(0, |lease| lease.bytes));
        if service.map_or(0, |service| service.bytes) + more > self.limits.bytes_of_one_name {
            return Err(Full::Name);
        }
        let no_place = replaced.is_none() && self.ends.len() >= self.limits.instances;
        if no_place || self.bytes + more > self.limits.bytes { Err(Full::Table) } else { Ok(()) }
    }

    /// Renews a lease for one TTL from `now`.
    ///
    /// # Errors
    /// [`NotRegistered`] when the lease is unknown or has expired.
    pub fn heartbeat(
        &mut self,
        name: &str,
        instance_id: Uuid,
        now: Instant,
        wall_clock: Timestamp,
    ) -> Result<(), NotRegistered> {
        self.expire(now);
        let service = self.services.get_mut(name).ok_or(NotRegistered)?;
        let lease = service.leases.get_mut(&instance_id).ok_or(NotRegistered)?;
        // The set is ordered by the end, so the entry is removed, changed and inserted again.
        self.ends.remove(&lease.end);
        lease.end.0 = now + self.ttl;
        self.ends.insert(lease.end.clone());
        // Copies the instance while an answer is being written from the shared one.
        Arc::make_mut(&mut lease.instance).last_heartbeat_at = wall_clock.to_string();
        Ok(())
    }

    /// Ends a lease before its time.
    ///
    /// # Errors
    /// [`NotRegistered`] when the lease is unknown or has expired.
    pub fn deregister(
        &mut self,
        name: &str,
        instance_id: Uuid,
        now: Instant,
        wall_clock: Timestamp,
    ) -> Result<(), NotRegistered> {
        self.expire(now);
        let instance = self.remove(name, instance_id)?;
        self.index += 1;
        self.changes.record(Change { instance, kind: ChangeKind::Deregistered, at: wall_clock });
        Ok(())
    }

    /// Returns the index, which rises with each registration, removal and expiry, and at no other time.
    pub fn index(&mut self, now: Instant) -> u64 {
        self.expire(now);
        self.index
    }

    /// Returns the number of live instances.
    pub fn count(&mut self, now: Instant) -> usize {
        self.expire(now);
        self.ends.len()
    }

    /// Returns the number of live instances by name, without names that have none.
    pub fn counts(&mut self, now: Instant) -> impl Iterator<Item = (&str, usize)> {
        self.expire(now);
        self.services.iter().map(|(name, service)| (name.as_ref(), service.leases.len()))
    }

    /// Returns the size of all live instances as JSON, in bytes.
    pub fn bytes(&mut self, now: Instant) -> usize {
        self.expire(now);
        self.bytes
    }

    /// Returns the size of the live instances of one name as JSON, in bytes.
    pub fn bytes_of(&mut self, name: &str, now: Instant) -> usize {
        self.expire(now);
        self.services.get(name).map_or(0, |service| service.bytes)
    }

    /// Returns a live instance.
    pub fn instance(&mut self, name: &str, instance_id: Uuid, now: Instant) -> Option<Arc<Instance>> {
        self.expire(now);
        Some(Arc::clone(&self.services.get(name)?.leases.get(&instance_id)?.instance))
    }

    /// Returns the live instances of one service in the order of their ids. The cost does not depend on other
    /// services.
    pub fn instances(&mut self, name: &str, now: Instant) -> Vec<Arc<Instance>> {
        self.expire(now);
        self.services.get(name).map(NamedLeases::live).unwrap_or_default()
    }

    /// Returns the live instances of all services by name, without names that have none.
    pub fn services(&mut self, now: Instant) -> BTreeMap<Arc<str>, Vec<Arc<Instance>>> {
        self.expire(now);
        self.services.iter().map(|(name, service)| (Arc::clone(name), service.live())).collect()
    }

    /// Returns the instances that came and went, without an expiry after `now`.
    pub fn changes(&mut self, now: Instant) -> &mut Changes {
        self.expire(now);
        &mut self.changes
    }

    /// Returns when the next lease expires unless renewed. Until then only a registration or a removal raises
    /// the index.
    pub fn next_expiry(&mut self, now: Instant) -> Option<Instant> {
        self.expire(now);
        self.ends.first().map(|(ends_at, _, _)| *ends_at)
    }

    /// Ends the leases that have expired at `now`; each raises the index by one.
    fn expire(&mut self, now: Instant) {
        // Called first by every method: a thread that sweeps could be late.
        // A lease is over at its end, not after it: hence `<=`.
        while let Some((ends_at, name, instance_id)) = self.ends.first()
            && *ends_at <= now
        {
            let (name, instance_id) = (Arc::clone(name), *instance_id);
            // One step per expiry: the index counts changes, and a client compares indices only.
            if let Ok(instance) = self.remove(&name, instance_id) {
                self.index += 1;
                // The end of the lease in the clock of its last heartbeat: a reader may come much later.
                let at = instance.last_heartbeat().plus(self.ttl);
                self.changes.record(Change { instance, kind: ChangeKind::Expired, at });
            }
        }
    }

    fn insert(&mut self, instance: Instance, bytes: usize, ends_at: Instant) -> Arc<Instance> {
        // Leases and ends share one allocation per name.
        let key: Arc<str> = match self.services.get_key_value(instance.name.as_str()) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(instance.name.as_str()),
        };
        let end = (ends_at, Arc::clone(&key), instance.instance_id);
        self.ends.insert(end.clone());
        self.bytes += bytes;
        let service = self.services.entry(key).or_default();
        service.bytes += bytes;
        let (id, instance) = (instance.instance_id, Arc::new(instance));
        service.leases.insert(id, Lease { instance: Arc::clone(&instance), bytes, end });
        instance
    }

    /// Removes a lease from both maps, and returns its instance.
    fn remove(&mut self, name: &str, instance_id: Uuid) -> Result<Arc<Instance>, NotRegistered> {
        let service = self.services.get_mut(name).ok_or(NotRegistered)?;
        let lease = service.leases.remove(&instance_id).ok_or(NotRegistered)?;
        service.bytes -= lease.bytes;
        let emptied = service.leases.is_empty();
        self.bytes -= lease.bytes;
        self.ends.remove(&lease.end);
        // Names come from clients: keeping empty ones would let the table grow without bound.
        if emptied {
            self.services.remove(name);
        }
        Ok(lease.instance)
    }
}

impl NamedLeases {
    fn live(&self) -> Vec<Arc<Instance>> {
        self.leases.values().map(|lease| Arc::clone(&lease.instance)).collect()
    }
}

#[cfg(test)]
mod tests;
