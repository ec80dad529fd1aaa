//! An event with its text, for code that keeps events longer than a page or a row.
//!
//! Read next: `history.rs`, which yields owned events.

use crate::es::RecordedEvent;

/// A recorded event with its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedEvent {
    /// The event without its texts.
    fields: RecordedEvent<'static>,
    /// The texts, in one allocation per event.
    text: Box<str>,
    /// The end of each text in `text`.
    ends: [usize; TEXTS],
}

/// Number of texts in an event.
const TEXTS: usize = 5;

impl OwnedEvent {
    /// Returns the event in the form that the rest of this crate expects, such as
    /// [`decode`](crate::es::decode).
    pub fn as_recorded(&self) -> RecordedEvent<'_> {
        // The fields of the struct are listed once, in `with_texts`, for both directions.
        let mut begin = 0;
        with_texts(
            &self.fields,
            self.ends.map(|end| {
                let text = &self.text[begin..end];
                begin = end;
                text
            }),
        )
    }
}

impl From<&RecordedEvent<'_>> for OwnedEvent {
    fn from(event: &RecordedEvent<'_>) -> Self {
        let RecordedEvent { stream_type, event_type, data, metadata, recorded_at, .. } = *event;
        let texts = [stream_type, event_type, data, metadata, recorded_at];
        let mut end = 0;
        let ends = texts.map(|text| {
            end += text.len();
            end
        });
        Self { fields: with_texts(event, [""; TEXTS]), text: texts.concat().into(), ends }
    }
}

/// Returns the event with other texts, in the order in which [`OwnedEvent`] keeps them.
fn with_texts<'t>(event: &RecordedEvent<'_>, texts: [&'t str; TEXTS]) -> RecordedEvent<'t> {
    let &RecordedEvent { position, event_id, stream_id, version, schema_version, hash, .. } = event;
    let [stream_type, event_type, data, metadata, recorded_at] = texts;
    RecordedEvent {
        position,
        event_id,
        stream_id,
        stream_type,
        version,
        event_type,
        schema_version,
        data,
        metadata,
        recorded_at,
        hash,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::es::Hash;

    #[test]
    fn an_owned_event_is_the_event_that_was_recorded() {
        let event = RecordedEvent {
            position: 7,
            event_id: Uuid::from_u128(1),
            stream_id: Uuid::from_u128(2),
            stream_type: "thing",
            version: 3,
            event_type: "Happened",
            schema_version: 4,
            data: r#"{"text":"é ☕"}"#,
            metadata: "{}",
            recorded_at: "2026-01-31T12:00:00.000000Z",
            hash: Hash([9; 32]),
        };
        assert_eq!(OwnedEvent::from(&event).as_recorded(), event);
    }
}
