//! Logs the instances that came and went, a line for each.
//!
//! **Invariant:** the log gets at most 21 lines in a second, however many instances come and go. No request
//! waits for the log.
//!
//! Read next: `registry/changes.rs`.

use std::time::{Duration, Instant};

use super::changes::{Change, ChangeKind, Unlogged};
use super::instance::Instance;
use super::service::Registry;

/// The shortest time between two batches of lines, in seconds: 20 lines a second are the most that a person
/// can follow, and 2 MB in ten minutes.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest wait for a change, in seconds. Only a bound: a change and an expiry end the wait.
const MAX_WAIT: Duration = Duration::from_secs(3600);
/// The longest metadata on a line, in characters: a log id, a zone and a version fit.
const MAX_SHOWN: usize = 200;

/// Logs changes until the registry is closed. Runs on a thread of its own, which also notices an expiry when
/// no request comes.
pub fn log_changes(registry: &Registry) {
    while !registry.is_closed() {
        let seen = registry.gauges().index;
        if log_rest(registry) {
            // The pause ends when the registry is closed.
            registry.pause(PAUSE);
        } else {
            registry.wait_after(seen, Instant::now() + MAX_WAIT);
        }
    }
}

/// Logs the changes that the log lacks. Returns whether the log lacked any.
pub fn log_rest(registry: &Registry) -> bool {
    let Unlogged { changes, left_out } =
        registry.with_leases(|leases, now| leases.changes(now).take_unlogged());
    changes.iter().for_each(|change| log_change(change, registry.ttl()));
    if left_out > 0 {
        log::info!("{left_out} further registrations and departures are left out of the log");
    }
    !changes.is_empty()
}

fn log_change(change: &Change, ttl: Duration) {
    let Change { instance, kind, at } = change;
    let metadata = shown_metadata(instance);
    match kind {
        ChangeKind::Registered => log::info!("{instance} registered{metadata}"),
        ChangeKind::Replaced(before) => {
            let (address, since) = (before.authority(), &before.registered_at);
            log::info!("{instance} registered again{metadata}; replaced its entry of {since} at {address}");
        }
        ChangeKind::Deregistered => log::info!("{instance} deregistered"),
        // A warning: a service that stops in order deregisters.
        ChangeKind::Expired => log::warn!(
            "{instance} expired at {at}: the last heartbeat came at {}, the TTL is {} s",
            instance.last_heartbeat_at,
            ttl.as_secs_f64()
        ),
    }
}

/// Returns the metadata for a log line, cut off after [`MAX_SHOWN`] characters.
fn shown_metadata(instance: &Instance) -> String {
    if instance.metadata.is_empty() {
        return String::new();
    }
    let pairs = instance.metadata.iter().map(|(key, value)| format!("{key}={value:?}"));
    let text = pairs.collect::<Vec<_>>().join(" ");
    let cut: String = text.chars().take(MAX_SHOWN).collect();
    format!(", {cut}{}", if cut.len() < text.len() { "…" } else { "" })
}
