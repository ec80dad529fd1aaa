//! The event feed as CloudEvents, for consumers of the standard.
//!
//! An event of the feed becomes a CloudEvent 1.0, and a page becomes a batch:
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>.
//!
//! **Invariant:** a batch has all events of the page, in the order of the feed, with all their fields. Some
//! fields have other names, which the standard prescribes.
//!
//! Read next: `src/es/recorded_event.rs`, the page that is read here.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::es::{Page, RecordedEvent};

/// The media type of a batch.
pub(super) const BATCH: &str = "application/cloudevents-batch+json";

/// An event in the standard's JSON. The standard allows only a-z and 0-9 in attribute names.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: Uuid,
    /// Source and id together are unique among all events of all systems.
    source: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    subject: Uuid,
    time: &'a str,
    datacontenttype: &'static str,
    /// The position in the log, as text in sixteen digits, which hold 2^53: the extension sorts texts.
    sequence: String,
    streamtype: &'a str,
    // Text, because the standard's integers have 32 bits.
    streamversion: String,
    schemaversion: u32,
    hash: String,
    #[serde(flatten)]
    extensions: Extensions,
    data: &'a RawValue,
}

/// The metadata of an event, under the names of the correlation and tracing extensions.
#[derive(Serialize, Deserialize)]
struct Extensions {
    #[serde(rename(serialize = "correlationid"), skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(rename(serialize = "causationid"), skip_serializing_if = "Option::is_none")]
    causation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
}

/// Returns a page of the feed as a batch, and the head of the log, for which a batch has no field.
///
/// # Errors
/// When recorded data is not JSON: the log was damaged from outside.
pub(super) fn batch(page: &Page) -> serde_json::Result<(Vec<u8>, u64)> {
    let content = page.content()?;
    // The log, not the address of the service: a restored or moved log stays the same source.
    let source = format!("/logs/{}", content.log_id);
    let events =
        content.events.iter().map(|event| cloud_event(&source, event)).collect::<Result<Vec<_>, _>>()?;
    Ok((serde_json::to_vec(&events)?, content.head))
}

fn cloud_event<'a>(source: &'a str, event: &RecordedEvent<'a>) -> serde_json::Result<CloudEvent<'a>> {
    Ok(CloudEvent {
        specversion: "1.0",
        id: event.event_id,
        source,
        event_type: event.event_type,
        subject: event.stream_id,
        time: event.recorded_at,
        datacontenttype: "application/json",
        sequence: format!("{:016}", event.position),
        streamtype: event.stream_type,
        streamversion: event.version.to_string(),
        schemaversion: event.schema_version,
        hash: event.hash.to_string(),
        extensions: serde_json::from_str(event.metadata)?,
        data: serde_json::from_str(event.data)?,
    })
}
