//! The hash chain: the hash of each event covers the event and all events before.
//!
//! **Invariant:** the input of the hash never changes, so a log of any version keeps its hashes.
//!
//! Read next: `audit/log.rs`, which checks the chain of a whole log.

use sha2::{Digest, Sha256};

use super::hash::Hash;
use super::recorded_event::RecordedEvent;

/// Returns the hash of `event`, given the hash of the previous event ([`Hash::ZERO`] before the first):
/// SHA-256 over the previous hash and every field but `hash`, numbers as eight bytes big-endian,
/// texts behind their length, so that no two different events have the same input.
///
/// A changed, removed or reordered event changes every later hash. A reader that remembers one later hash
/// notices the change.
pub fn chain(previous: &Hash, event: &RecordedEvent<'_>) -> Hash {
    let mut digest = Sha256::new();
    digest.update(previous.0);
    digest.update(event.position.to_be_bytes());
    digest.update(event.event_id.as_bytes());
    digest.update(event.stream_id.as_bytes());
    digest.update(event.version.to_be_bytes());
    digest.update(u64::from(event.schema_version).to_be_bytes());
    for text in [event.stream_type, event.event_type, event.data, event.metadata, event.recorded_at] {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    }
    Hash(digest.finalize().into())
}
