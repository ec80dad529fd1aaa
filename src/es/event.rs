//! The recorded event: what the store keeps, what the feed carries, what projections are given.
//!
//! One struct serves all three, and it borrows: from a database row, or from the bytes of a feed
//! [`Page`]. The event's `data` and `metadata` stay the JSON text that was stored, to the byte:
//! the [hash chain](chain) covers them, and what the feed has shown must never change.
//!
//! Read next: `store.rs`, which keeps recorded events.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// One event as it is recorded in the log. Deserialises from the feed's JSON without copying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct RecordedEvent<'a> {
    /// Place in the whole log, from 1, without gaps, in commit order.
    pub position: u64,
    /// Identity of the event itself, a UUIDv7.
    pub event_id: Uuid,
    /// The stream (one aggregate) that the event belongs to.
    pub stream_id: Uuid,
    /// The kind of aggregate, such as `account`.
    pub stream_type: &'a str,
    /// Place in its stream, from 1, without gaps.
    pub version: u64,
    /// What happened, in the past tense, such as `MoneyDeposited`.
    #[serde(rename = "type")]
    pub event_type: &'a str,
    /// The form that `data` was written in; older forms are brought up to date when decoded. A feed
    /// that does not say has the first.
    #[serde(default = "first_form")]
    pub schema_version: u32,
    /// The event's own fields: the stored JSON text, unchanged.
    #[serde(deserialize_with = "raw_json")]
    pub data: &'a str,
    /// Correlation and causation: the stored JSON text, unchanged.
    #[serde(deserialize_with = "raw_json")]
    pub metadata: &'a str,
    /// RFC 3339, UTC, six decimals: `2026-01-31T12:00:00.000000Z`. Sorts as text.
    pub recorded_at: &'a str,
    /// The hash chain up to and including this event, see [`chain`]. [`Hash::ZERO`] when the feed
    /// is of a store that keeps no chain.
    #[serde(default = "no_chain")]
    pub hash: Hash,
}

const fn first_form() -> u32 {
    1
}

const fn no_chain() -> Hash {
    Hash::ZERO
}

fn raw_json<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<&'a str, D::Error> {
    <&RawValue>::deserialize(deserializer).map(RawValue::get)
}

impl RecordedEvent<'_> {
    /// Appends the event as one JSON object to `out`. Names and times never need escaping (they
    /// are identifiers of this crate and of aggregates); `data` and `metadata` are JSON already.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        use std::io::Write;
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            r#"{{"position":{},"event_id":"{}","stream_id":"{}","stream_type":"{}","version":{},"type":"{}","schema_version":{},"data":{},"metadata":{},"recorded_at":"{}","hash":"{}"}}"#,
            self.position,
            self.event_id,
            self.stream_id,
            self.stream_type,
            self.version,
            self.event_type,
            self.schema_version,
            self.data,
            self.metadata,
            self.recorded_at,
            self.hash,
        );
    }
}

/// A SHA-256 digest; 64 lower-case hexadecimal digits in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash before the first event.
    pub const ZERO: Hash = Hash([0; 32]);
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?.as_bytes();
        let malformed = || de::Error::custom("a hash is 64 lower-case hexadecimal digits");
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(malformed()),
        };
        if text.len() != 64 {
            return Err(malformed());
        }
        let mut hash = Hash::ZERO;
        for (byte, pair) in hash.0.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(hash)
    }
}

/// The hash of `event` given the hash of the event before it ([`Hash::ZERO`] before the first):
/// SHA-256 over the previous hash and every field but `hash`, numbers as eight bytes big-endian,
/// texts behind their length, so that no two different events have the same input.
///
/// Whoever changes, removes or reorders history must change every later hash; whoever has seen
/// one later hash notices.
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

/// One page of the log: the JSON that `GET /events` answers, in process too. The same bytes
/// travel everywhere, so a projection cannot tell whether its feed is local or remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// `{"log_id": "...", "events": [...], "head": 42}`
    pub json: Vec<u8>,
}

/// What a [`Page`] says, borrowed from its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PageContent<'a> {
    /// Made once with the database: another id is another history.
    pub log_id: Uuid,
    /// Events in order of position.
    #[serde(borrow)]
    pub events: Vec<RecordedEvent<'a>>,
    /// Position of the last event in the log when the page was read.
    pub head: u64,
}

impl Page {
    /// Reads the page.
    ///
    /// # Errors
    /// When the bytes are no such page: the source is not an event feed, or was cut off.
    pub fn content(&self) -> serde_json::Result<PageContent<'_>> {
        serde_json::from_slice(&self.json)
    }
}
