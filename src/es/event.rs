//! The recorded event, as the store keeps the event, the feed carries it and projections get it.
//!
//! One struct serves all three, and borrows from a database row or from the bytes of a feed [`Page`].
//!
//! **Invariant:** `data` and `metadata` stay the stored JSON text, to the byte: the [hash chain](chain) covers
//! the text, and the feed never shows an event in two forms.
//!
//! Read next: `log/store.rs`, which keeps recorded events.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// One event of the log. Deserialises from the feed's JSON without copying.
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
    /// The event type, in the past tense, such as `MoneyDeposited`.
    #[serde(rename = "type")]
    pub event_type: &'a str,
    /// The form of `data`; [`decode`](crate::es::decode) brings older forms up to date. A feed without the
    /// field has the first form.
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
    /// The hash chain up to and including this event, see [`chain`]. [`Hash::ZERO`] when the feed's
    /// store keeps no chain.
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
    /// Appends the event as one JSON object to `out`. Names and times never need escaping (all are
    /// identifiers of this crate and of aggregates); `data` and `metadata` are JSON already.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        // Piece by piece: `write!` would take half of the time of a whole page of the feed.
        let [event_id, stream_id] = &mut [Uuid::encode_buffer(); 2];
        number(out, r#"{"position":"#, self.position);
        text(out, r#","event_id":""#, self.event_id.as_hyphenated().encode_lower(event_id));
        text(out, r#"","stream_id":""#, self.stream_id.as_hyphenated().encode_lower(stream_id));
        text(out, r#"","stream_type":""#, self.stream_type);
        number(out, r#"","version":"#, self.version);
        text(out, r#","type":""#, self.event_type);
        number(out, r#"","schema_version":"#, u64::from(self.schema_version));
        // Copied as stored: the store accepts valid JSON alone.
        text(out, r#","data":"#, self.data);
        text(out, r#","metadata":"#, self.metadata);
        text(out, r#","recorded_at":""#, self.recorded_at);
        out.extend_from_slice(br#"","hash":""#);
        out.extend_from_slice(&self.hash.digits());
        out.extend_from_slice(br#""}"#);
    }
}

fn text(out: &mut Vec<u8>, before: &str, value: &str) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(value.as_bytes());
}

fn number(out: &mut Vec<u8>, before: &str, value: u64) {
    out.extend_from_slice(before.as_bytes());
    // Writing to a Vec cannot fail.
    drop(serde_json::to_writer(out, &value));
}

/// A SHA-256 digest; 64 lower-case hexadecimal digits in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash before the first event.
    pub const ZERO: Hash = Hash([0; 32]);

    fn digits(&self) -> [u8; 64] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        digits
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

const NO_DIGIT: u8 = 0x80;

/// The value of each lower-case hexadecimal digit, and [`NO_DIGIT`] for every other byte.
const DIGIT_VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    values
};

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?.as_bytes();
        let malformed = || de::Error::custom("a hash is 64 lower-case hexadecimal digits");
        if text.len() != 64 {
            return Err(malformed());
        }
        let mut hash = Hash::ZERO;
        // Checked once, after the loop: a page has some hundred thousand digits.
        let mut seen = 0;
        for (byte, pair) in hash.0.iter_mut().zip(text.chunks_exact(2)) {
            let [high, low] = [pair[0], pair[1]].map(|digit| DIGIT_VALUES[usize::from(digit)]);
            seen |= high | low;
            *byte = high << 4 | low & 15;
        }
        if seen & NO_DIGIT != 0 {
            return Err(malformed());
        }
        Ok(hash)
    }
}

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

/// One page of the log: the JSON of `GET /events`, in process too. A projection gets the same bytes from a
/// local and from a remote feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// `{"log_id": "...", "events": [...], "head": 42}`
    pub json: Vec<u8>,
}

/// The content of a [`Page`], borrowed from its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PageContent<'a> {
    /// The identity of the log, made once with the database: another id is another history.
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
    /// When the bytes are not a page: the source is not an event feed, or the page was cut off.
    pub fn content(&self) -> serde_json::Result<PageContent<'_>> {
        serde_json::from_slice(&self.json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> RecordedEvent<'static> {
        RecordedEvent {
            position: u64::MAX,
            event_id: Uuid::from_u128(0x0189_0A5D_AC96_774B_BCCE_B302_099A_8057),
            stream_id: Uuid::nil(),
            stream_type: "account",
            version: 1,
            event_type: "MoneyDeposited",
            schema_version: u32::MAX,
            data: r#"{"amount": 1,  "description":"\u00fc\"}"}"#,
            metadata: "{}",
            recorded_at: "2026-01-31T12:00:00.000000Z",
            hash: Hash(std::array::from_fn(|index| (index * 37) as u8)),
        }
    }

    #[test]
    fn an_event_is_written_for_the_feed_in_this_form_for_ever() {
        let mut json = b"[".to_vec();
        event().write_json(&mut json);
        let expected = concat!(
            r#"[{"position":18446744073709551615,"event_id":"01890a5d-ac96-774b-bcce-b302099a8057","#,
            r#""stream_id":"00000000-0000-0000-0000-000000000000","stream_type":"account","version":1,"#,
            r#""type":"MoneyDeposited","schema_version":4294967295,"#,
            r#""data":{"amount": 1,  "description":"\u00fc\"}"},"metadata":{},"#,
            r#""recorded_at":"2026-01-31T12:00:00.000000Z","#,
            r#""hash":"00254a6f94b9de03284d7297bce1062b50759abfe4092e53789dc2e70c31567b"}"#,
        );
        assert_eq!(String::from_utf8(json).unwrap(), expected);
    }

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let mut json = Vec::new();
        event().write_json(&mut json);
        assert_eq!(serde_json::from_slice::<RecordedEvent<'_>>(&json).unwrap(), event());
    }

    #[test]
    fn every_byte_of_a_hash_is_read_as_it_was_written() {
        for byte in 0..=u8::MAX {
            let hash = Hash([byte; 32]);
            let json = serde_json::to_string(&hash).unwrap();
            assert_eq!(json, format!("\"{}\"", format!("{byte:02x}").repeat(32)));
            assert_eq!(serde_json::from_str::<Hash>(&json).unwrap(), hash);
        }
    }

    #[test]
    fn a_hash_is_64_lower_case_digits_and_nothing_else() {
        let read = |text: &str| serde_json::from_str::<Hash>(&format!("\"{text}\""));
        assert!(read(&"0f".repeat(32)).is_ok());
        for wrong in ["0F", "0g", "g0", "0/", "0:", "0`", "0 ", "0\u{00e4}"] {
            let (first, last) = (wrong.repeat(32), format!("{}{wrong}", "0f".repeat(31)));
            assert!(read(&first).is_err() && read(&last).is_err(), "{wrong:?}");
        }
        for wrong in [String::new(), "0f".repeat(31), "0f".repeat(33), "0".repeat(63)] {
            assert!(read(&wrong).is_err(), "{wrong:?}");
        }
    }
}
