//! The event feed as CloudEvents, for consumers that know the standard and not this system.
//!
//! One event of the feed becomes one CloudEvent 1.0, a page becomes one batch:
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>.
//!
//! **Invariant:** the events are those of the feed, in its order; nothing is left out but the names
//! that the standard has others for.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::es::{Page, RecordedEvent};

/// The media type of a batch.
pub(super) const BATCH: &str = "application/cloudevents-batch+json";

/// One event in the standard's JSON. Attribute names are of a-z and 0-9 alone, as it wants them.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: Uuid,
    /// With the id, it tells the event from every other in the world.
    source: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    subject: Uuid,
    time: &'a str,
    datacontenttype: &'static str,
    /// The position in the log. The extension wants text that sorts: sixteen digits hold 2^53.
    sequence: String,
    streamtype: &'a str,
    // The standard's integers have 32 bits: what can grow beyond is text.
    streamversion: String,
    schemaversion: u32,
    hash: String,
    #[serde(flatten)]
    metadata: Metadata,
    data: &'a RawValue,
}

/// What the feed keeps as metadata, under the names of the correlation and tracing extensions.
#[derive(Serialize, Deserialize)]
struct Metadata {
    #[serde(rename(serialize = "correlationid"), skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(rename(serialize = "causationid"), skip_serializing_if = "Option::is_none")]
    causation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
}

/// A page of the feed as a batch, and the head of the log, for which a batch has no place.
///
/// # Errors
/// When what is recorded is not JSON: the log was damaged from outside.
pub(super) fn batch(page: &Page) -> serde_json::Result<(Vec<u8>, u64)> {
    let content = page.content()?;
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
        metadata: serde_json::from_str(event.metadata)?,
        data: serde_json::from_str(event.data)?,
    })
}
