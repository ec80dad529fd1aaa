//! The recorded event, as the store keeps the event, the feed carries it and projections get it.
//!
//! One struct serves all three, and borrows from a database row or from the bytes of a feed [`Page`].
//!
//! **Invariant:** `data` and `metadata` stay the stored JSON text, to the byte: the [hash chain](crate::es::chain) covers
//! the text, and the feed never shows an event in two forms.
//!
//! Read next: `hash_chain.rs`; `log/store.rs`, which keeps recorded events.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::hash::Hash;

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
    /// The hash chain up to and including this event, see [`chain`](crate::es::chain). [`Hash::ZERO`] when the feed's
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
    /// Adds a number to the page, behind the head.
    pub(in crate::es) fn extend(&mut self, name: &str, value: u64) {
        let end = self.json.pop();
        debug_assert_eq!(end, Some(b'}'), "a page is a JSON object");
        self.json.extend_from_slice(format!(",\"{name}\":{value}}}").as_bytes());
    }

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
}
