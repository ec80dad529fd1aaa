//! The contact with one registry, as the metrics show the contact.
//!
//! **Invariant:** only the heartbeat thread of the registry writes; any thread reads, without a lock.
//!
//! Read next: `discovery/heartbeat.rs`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use super::base_url::BaseUrl;

/// The contact with one registry.
#[derive(Debug)]
pub struct RegistryContact {
    registry: BaseUrl,
    is_registered: AtomicBool,
    /// Microseconds since 1970; 0 before the first.
    last_heartbeat: AtomicU64,
}

impl RegistryContact {
    pub(super) fn with(registry: BaseUrl) -> Self {
        Self { registry, is_registered: AtomicBool::new(false), last_heartbeat: AtomicU64::new(0) }
    }

    /// Returns the address of the registry.
    pub fn registry(&self) -> &BaseUrl {
        &self.registry
    }

    /// Returns whether the last call found or made the lease of the service.
    pub fn is_registered(&self) -> bool {
        self.is_registered.load(Relaxed)
    }

    /// Returns when the registry last renewed or made the lease, as the time since 1970.
    pub fn last_heartbeat(&self) -> Option<Duration> {
        Some(self.last_heartbeat.load(Relaxed)).filter(|micros| *micros > 0).map(Duration::from_micros)
    }

    pub(super) fn record_lease(&self) {
        // A clock before 1970, or beyond the year 500 000, gives no time.
        let micros = UNIX_EPOCH.elapsed().ok().and_then(|now| u64::try_from(now.as_micros()).ok());
        self.last_heartbeat.store(micros.unwrap_or(0), Relaxed);
        self.is_registered.store(true, Relaxed);
    }

    pub(super) fn record_absence(&self) {
        self.is_registered.store(false, Relaxed);
    }
}
