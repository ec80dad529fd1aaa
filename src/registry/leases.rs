//! The lease table: who is registered, and until when.
//!
//! **Invariant:** expiry is judged at the moment of reading, on the monotonic clock that the
//! caller passes in. No sweeper thread decides when a lease ends, so none can be late; and a wall
//! clock that jumps neither kills nor revives anybody.
//!
//! Read next: `registry/service.rs`, which gives this table its routes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use uuid::Uuid;

use crate::time::Timestamp;

/// What a service says about itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Names this process among all that serve the same name.
    pub instance_id: Uuid,
    /// The service, such as `write`.
    pub name: String,
    /// Where it listens: a host name or an address.
    pub host: String,
    /// Where it listens: the TCP port, never 0.
    pub port: u16,
    /// Whatever else its clients want to know.
    pub metadata: BTreeMap<String, String>,
}

/// A registered instance, in the form in which the registry answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // As in [`Registration`].
pub struct Instance {
    pub instance_id: Uuid,
    pub name: String,
    pub host: String,
    pub port: u16,
    pub metadata: BTreeMap<String, String>,
    /// Wall-clock time of the registration, RFC 3339: for people, it decides nothing.
    pub registered_at: String,
    /// Wall-clock time of the last sign of life, RFC 3339. Kept as text, because an instance is
    /// looked up far more often than it sends heartbeats.
    pub last_heartbeat_at: String,
}

/// How much a table takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The number of instances.
    pub instances: usize,
    /// The bytes of all instances, in the form in which they are answered.
    pub bytes: usize,
    /// The bytes of all instances of one name.
    pub bytes_of_one_name: usize,
}

/// A registration is refused because a limit is reached. Try again when leases have run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// [`Limits::instances`] or [`Limits::bytes`] is reached.
    Table,
    /// [`Limits::bytes_of_one_name`] is reached.
    Name,
}

/// There is no live lease of that name and id: the service has to register again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRegistered;

/// All leases. Every method takes the time, and first ends the leases that have run out by then.
///
/// Instances are shared with their readers, so that an answer is written after the lock on the table
/// was released.
#[derive(Debug)]
pub struct Leases {
    ttl: Duration,
    limits: Limits,
    index: u64,
    bytes: usize,
    services: BTreeMap<Arc<str>, Service>,
    /// Each lease once more, soonest end first: what has expired is found without a scan.
    ends: BTreeSet<End>,
}

/// The first moment at which a lease is no longer live, and which lease.
type End = (Instant, Arc<str>, Uuid);

/// The leases of one name.
#[derive(Debug, Default)]
struct Service {
    leases: BTreeMap<Uuid, Lease>,
    bytes: usize,
}

#[derive(Debug)]
struct Lease {
    instance: Arc<Instance>,
    /// The size of the instance as JSON. A heartbeat does not change it: all times are equally long.
    bytes: usize,
    /// Its entry among the ends.
    end: End,
}

impl Leases {
    /// Returns an empty table, whose leases live for `ttl` after each sign of life. Its index begins
    /// at `first_index`.
    pub fn new(ttl: Duration, limits: Limits, first_index: u64) -> Self {
        Self { ttl, limits, index: first_index, bytes: 0, services: BTreeMap::new(), ends: BTreeSet::new() }
    }

    /// Registers an instance, or replaces the one of the same name and id.
    ///
    /// # Errors
    /// [`Full`] when there is no room for it. An instance of the same name and id stays as it was.
    pub fn register(
        &mut self,
        registration: Registration,
        now: Instant,
        wall_clock: Timestamp,
    ) -> Result<(), Full> {
        self.expire(now);
        let instance = registration.into_instance(wall_clock);
        let bytes = serde_json::to_vec(&instance).map_or(0, |json| json.len());
        self.check_room(&instance, bytes)?;
        match self.remove(&instance.name, instance.instance_id) {
            // It is replaced, or new.
            Ok(()) | Err(NotRegistered) => {}
        }
        self.insert(instance, bytes, now + self.ttl);
        self.index += 1;
        Ok(())
    }

    fn check_room(&self, instance: &Instance, bytes: usize) -> Result<(), Full> {
        let service = self.services.get(instance.name.as_str());
        let replaced = service.and_then(|service| service.leases.get(&instance.instance_id));
        let more = bytes.saturating_sub(replaced.map_or(0, |lease| lease.bytes));
        if service.map_or(0, |service| service.bytes) + more > self.limits.bytes_of_one_name {
            return Err(Full::Name);
        }
        let no_place = replaced.is_none() && self.ends.len() >= self.limits.instances;
        if no_place || self.bytes + more > self.limits.bytes { Err(Full::Table) } else { Ok(()) }
    }

    /// Renews a lease: it lives for one TTL from `now`, however much of the old one was left.
    ///
    /// # Errors
    /// [`NotRegistered`] when it is unknown or has run out.
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
        self.ends.remove(&lease.end);
        lease.end.0 = now + self.ttl;
        self.ends.insert(lease.end.clone());
        // Copies the instance if an answer that is being written shares it.
        Arc::make_mut(&mut lease.instance).last_heartbeat_at = wall_clock.to_string();
        Ok(())
    }

    /// Ends a lease before its time.
    ///
    /// # Errors
    /// [`NotRegistered`] when it is unknown or has run out.
    pub fn deregister(&mut self, name: &str, instance_id: Uuid, now: Instant) -> Result<(), NotRegistered> {
        self.expire(now);
        self.remove(name, instance_id)?;
        self.index += 1;
        Ok(())
    }

    /// A number that rises with every registration, removal and expiry, and with nothing else.
    pub fn index(&mut self, now: Instant) -> u64 {
        self.expire(now);
        self.index
    }

    /// The number of live instances.
    pub fn count(&mut self, now: Instant) -> usize {
        self.expire(now);
        self.ends.len()
    }

    /// The number of live instances of each name that has any.
    pub fn counts(&mut self, now: Instant) -> impl Iterator<Item = (&str, usize)> {
        self.expire(now);
        self.services.iter().map(|(name, service)| (name.as_ref(), service.leases.len()))
    }

    /// The bytes of all live instances, in the form in which they are answered.
    pub fn bytes(&mut self, now: Instant) -> usize {
        self.expire(now);
        self.bytes
    }

    /// The bytes of the live instances of one name.
    pub fn bytes_of(&mut self, name: &str, now: Instant) -> usize {
        self.expire(now);
        self.services.get(name).map_or(0, |service| service.bytes)
    }

    /// One live instance.
    pub fn instance(&mut self, name: &str, instance_id: Uuid, now: Instant) -> Option<Arc<Instance>> {
        self.expire(now);
        Some(Arc::clone(&self.services.get(name)?.leases.get(&instance_id)?.instance))
    }

    /// The live instances of one service by id. Costs nothing for those of other services.
    pub fn instances(&mut self, name: &str, now: Instant) -> Vec<Arc<Instance>> {
        self.expire(now);
        self.services.get(name).map(Service::live).unwrap_or_default()
    }

    /// The live instances of all services by name; a name without any is not there.
    pub fn services(&mut self, now: Instant) -> BTreeMap<Arc<str>, Vec<Arc<Instance>>> {
        self.expire(now);
        self.services.iter().map(|(name, service)| (Arc::clone(name), service.live())).collect()
    }

    /// When the next lease runs out unless it is renewed: until then the index can rise only by
    /// a registration or a removal.
    pub fn next_expiry(&mut self, now: Instant) -> Option<Instant> {
        self.expire(now);
        self.ends.first().map(|(ends_at, _, _)| *ends_at)
    }

    /// Ends the leases that are over at `now`, each as a change of its own.
    fn expire(&mut self, now: Instant) {
        while let Some((ends_at, name, instance_id)) = self.ends.first()
            && *ends_at <= now
        {
            let (name, instance_id) = (Arc::clone(name), *instance_id);
            if self.remove(&name, instance_id).is_ok() {
                self.index += 1;
            }
        }
    }

    fn insert(&mut self, instance: Instance, bytes: usize, ends_at: Instant) {
        let key: Arc<str> = match self.services.get_key_value(instance.name.as_str()) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(instance.name.as_str()),
        };
        let end = (ends_at, Arc::clone(&key), instance.instance_id);
        self.ends.insert(end.clone());
        self.bytes += bytes;
        let service = self.services.entry(key).or_default();
        service.bytes += bytes;
        let id = instance.instance_id;
        service.leases.insert(id, Lease { instance: Arc::new(instance), bytes, end });
    }

    /// Takes a lease out of both maps, and its name with the last one: names come from outside,
    /// so that remembering them would let the table grow without bound.
    fn remove(&mut self, name: &str, instance_id: Uuid) -> Result<(), NotRegistered> {
        let service = self.services.get_mut(name).ok_or(NotRegistered)?;
        let lease = service.leases.remove(&instance_id).ok_or(NotRegistered)?;
        service.bytes -= lease.bytes;
        let emptied = service.leases.is_empty();
        self.bytes -= lease.bytes;
        self.ends.remove(&lease.end);
        if emptied {
            self.services.remove(name);
        }
        Ok(())
    }
}

impl Service {
    fn live(&self) -> Vec<Arc<Instance>> {
        self.leases.values().map(|lease| Arc::clone(&lease.instance)).collect()
    }
}

impl Registration {
    fn into_instance(self, at: Timestamp) -> Instance {
        let Self { instance_id, name, host, port, metadata } = self;
        let (registered_at, last_heartbeat_at) = (at.to_string(), at.to_string());
        Instance { instance_id, name, host, port, metadata, registered_at, last_heartbeat_at }
    }
}

#[cfg(test)]
mod tests;
