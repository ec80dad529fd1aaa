//! An instance: the data that a service registers, and the form of the answers.
//!
//! **Invariant:** the size of an instance as JSON is constant, because all timestamps are equally long.
//!
//! Read next: `registry/leases.rs`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use crate::time::Timestamp;

/// The data that a service registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Identifies the process among all instances of the service.
    pub instance_id: Uuid,
    /// The service, such as `write`.
    pub name: String,
    /// The host under which clients reach the instance: a name or an address.
    pub host: String,
    /// The TCP port under which clients reach the instance, never 0.
    pub port: u16,
    /// Further facts for clients.
    pub metadata: BTreeMap<String, String>,
}

/// A registered instance, in the form of the answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // As in [`Registration`].
pub struct Instance {
    pub instance_id: Uuid,
    pub name: String,
    pub host: String,
    pub port: u16,
    pub metadata: BTreeMap<String, String>,
    /// Wall-clock time of the registration, RFC 3339: for people, without influence on the lease.
    pub registered_at: String,
    /// Wall-clock time of the last heartbeat, RFC 3339. Text, because look-ups are far more frequent than
    /// heartbeats.
    pub last_heartbeat_at: String,
}

impl Registration {
    /// Returns the instance, registered at that time.
    pub(super) fn into_instance(self, at: Timestamp) -> Instance {
        let Self { instance_id, name, host, port, metadata } = self;
        let (registered_at, last_heartbeat_at) = (at.to_string(), at.to_string());
        Instance { instance_id, name, host, port, metadata, registered_at, last_heartbeat_at }
    }
}

impl Instance {
    /// Returns the authority of the instance's URLs, `host:port`, an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        // The colons of an IPv6 address need brackets before a port.
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Returns the wall-clock time of the last heartbeat.
    pub(super) fn last_heartbeat(&self) -> Timestamp {
        // The table wrote the text, so the text is a time.
        self.last_heartbeat_at.parse().unwrap_or(Timestamp::MIN)
    }
}

/// Writes name, id and address.
impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.name, self.instance_id, self.authority())
    }
}
