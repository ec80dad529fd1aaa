//! The traits that a program implements: its aggregate, its events, and the way from old events to current
//! ones.
//!
//! An aggregate is two functions. [`Aggregate::decide`] answers a command with events or a rejection;
//! [`Aggregate::evolve`] applies an event to the state. The rest of `es` calls these two functions with the
//! right history.
//!
//! **Invariant:** [`decode`] reads events of every form that was ever stored, or returns an error. No event
//! is skipped.
//!
//! Read next: `recorded_event.rs`, the form in which events are recorded.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::es::RecordedEvent;

/// A consistency boundary: the state of one stream, and the rules for changing it.
///
/// Both functions must be pure: no I/O, no clock, no randomness. The same history gives the same
/// state for ever, on any machine.
///
/// The state serialises because snapshots keep the state. The [`Default`] is the state before the first
/// event.
pub trait Aggregate: Default + Clone + Serialize + DeserializeOwned + Send + 'static {
    /// The kind of stream, such as `account`. The name is stored with every event.
    const STREAM_TYPE: &'static str;

    /// Raise the version when [`Aggregate::evolve`] gives a field of the state another meaning: older
    /// snapshots are ignored then. Added, removed and renamed fields are noticed without a new version.
    const SNAPSHOT_VERSION: u32 = 1;

    /// The commands, in the imperative.
    type Command;
    /// The events, in the past tense.
    type Event: Event;
    /// Why a command may be rejected. A rejection is an answer, not a failure.
    type Rejection;

    /// Decides on the events to record for a command in this state; on no events if the command changes
    /// nothing.
    ///
    /// # Errors
    /// When a business rule rejects the command. No event is recorded then.
    fn decide(&self, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// Returns the state after `event`. The function gathers facts and never refuses: the event has
    /// happened, and a rule here would make old history impossible to load.
    #[must_use]
    fn evolve(self, event: &Self::Event) -> Self;
}

/// The events of an aggregate, and their stored JSON.
///
/// Stored JSON is a contract for ever. When the form of an event type changes, keep decoding the
/// current form only, and add an [`Upcaster`] from the form before.
pub trait Event: Sized {
    /// From each older form to the next, in any order. The current schema version of an event
    /// type is one more than the highest `from` listed for the type, and 1 without an upcaster.
    const UPCASTERS: &'static [Upcaster] = &[];

    /// Returns the stored name: letters and digits, in the past tense, never changed again.
    fn event_type(&self) -> &'static str;

    /// Writes the event's fields as a JSON object, in the current form.
    ///
    /// # Errors
    /// When a field cannot be JSON.
    fn to_json(&self) -> serde_json::Result<String>;

    /// Reads the current form of `event_type`.
    ///
    /// # Errors
    /// [`DecodeError::UnknownType`] for an unknown name, [`DecodeError::Malformed`] for unexpected fields.
    fn from_json(event_type: &str, data: &str) -> Result<Self, DecodeError>;
}

/// One step from a stored form of an event to the next.
#[derive(Clone, Copy, Debug)]
pub struct Upcaster {
    /// The event type of the upcaster.
    pub event_type: &'static str,
    /// The schema version that the upcaster reads; the upcaster writes the next version.
    pub from: u32,
    /// Changes the event's fields in place.
    pub upcast: fn(&mut Map<String, Value>),
}

/// Returns the schema version in which events of the type are written today.
pub fn schema_version<E: Event>(event_type: &str) -> u32 {
    let of_type = E::UPCASTERS.iter().filter(|upcaster| upcaster.event_type == event_type);
    1 + of_type.map(|upcaster| upcaster.from).max().unwrap_or(0)
}

/// Reads a recorded event of any form.
///
/// # Errors
/// When this build does not know the event, or the data do not match type and schema version. A caller must
/// not skip the event: the history is not understood.
pub fn decode<E: Event>(event: &RecordedEvent<'_>) -> Result<E, DecodeError> {
    let current = schema_version::<E>(event.event_type);
    // The usual case: text to event, without a `Value` in between.
    if event.schema_version == current {
        return E::from_json(event.event_type, event.data);
    }
    if event.schema_version > current {
        return Err(DecodeError::NewerSchema { stored: event.schema_version, known: current });
    }
    let mut data = serde_json::from_str(event.data).map_err(DecodeError::Malformed)?;
    for version in event.schema_version..current {
        // Step by step: an upcaster knows two neighbouring forms, and a missing step is never passed over.
        let step = E::UPCASTERS
            .iter()
            .find(|upcaster| upcaster.event_type == event.event_type && upcaster.from == version)
            .ok_or(DecodeError::NoUpcaster { from: version })?;
        (step.upcast)(&mut data);
    }
    E::from_json(event.event_type, &Value::Object(data).to_string())
}

/// Why a recorded event cannot be read. Deploy a build that knows the event; never edit the log.
#[derive(Debug)]
pub enum DecodeError {
    /// This build does not know the event type.
    UnknownType,
    /// The event was written by a newer build.
    NewerSchema {
        /// The schema version of the event.
        stored: u32,
        /// The latest that this build knows.
        known: u32,
    },
    /// [`Event::UPCASTERS`] has a gap.
    NoUpcaster {
        /// The schema version that no upcaster reads.
        from: u32,
    },
    /// The fields do not match the event.
    Malformed(serde_json::Error),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType => f.write_str("this build knows no event of that type"),
            Self::NewerSchema { stored, known } => {
                write!(f, "its schema version is {stored}, this build knows {known} at most")
            }
            Self::NoUpcaster { from } => write!(f, "no upcaster reads its schema version {from}"),
            Self::Malformed(error) => write!(f, "its data are malformed: {error}"),
        }
    }
}

impl std::error::Error for DecodeError {}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use uuid::Uuid;

    use super::*;
    use crate::es::Hash;

    /// A parcel was first recorded with `weight` in kilograms and a `name` in one piece; since
    /// version 2 the weight is `weight_grams`, since version 3 the name is split.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct ParcelSent {
        weight_grams: u64,
        first_name: String,
        last_name: String,
    }

    impl Event for ParcelSent {
        const UPCASTERS: &'static [Upcaster] = &[
            Upcaster { event_type: "ParcelSent", from: 2, upcast: split_the_name },
            Upcaster { event_type: "ParcelSent", from: 1, upcast: weigh_in_grams },
        ];

        fn event_type(&self) -> &'static str {
            "ParcelSent"
        }

        fn to_json(&self) -> serde_json::Result<String> {
            serde_json::to_string(self)
        }

        fn from_json(event_type: &str, data: &str) -> Result<Self, DecodeError> {
            match event_type {
                "ParcelSent" => serde_json::from_str(data).map_err(DecodeError::Malformed),
                _ => Err(DecodeError::UnknownType),
            }
        }
    }

    fn weigh_in_grams(data: &mut Map<String, Value>) {
        if let Some(kilograms) = data.remove("weight").and_then(|weight| weight.as_u64()) {
            data.insert("weight_grams".into(), (kilograms * 1000).into());
        }
    }

    fn split_the_name(data: &mut Map<String, Value>) {
        if let Some(Value::String(name)) = data.remove("name") {
            let (first, last) = name.split_once(' ').unwrap_or((&name, ""));
            data.insert("first_name".into(), first.into());
            data.insert("last_name".into(), last.into());
        }
    }

    fn stored<'a>(event_type: &'a str, schema_version: u32, data: &'a str) -> RecordedEvent<'a> {
        RecordedEvent {
            position: 1,
            event_id: Uuid::nil(),
            stream_id: Uuid::nil(),
            stream_type: "parcel",
            version: 1,
            event_type,
            schema_version,
            data,
            metadata: "{}",
            recorded_at: "2026-01-31T12:00:00.000000Z",
            hash: Hash::ZERO,
        }
    }

    #[test]
    fn events_of_every_older_form_are_read_as_the_current_one() {
        let expected =
            ParcelSent { weight_grams: 2000, first_name: "Ada".into(), last_name: "Lovelace".into() };
        for (version, data) in [
            (1, r#"{"weight":2,"name":"Ada Lovelace"}"#),
            (2, r#"{"weight_grams":2000,"name":"Ada Lovelace"}"#),
            (3, r#"{"weight_grams":2000,"first_name":"Ada","last_name":"Lovelace"}"#),
        ] {
            assert_eq!(decode::<ParcelSent>(&stored("ParcelSent", version, data)).unwrap(), expected);
        }
    }

    #[test]
    fn an_event_of_a_newer_form_is_refused() {
        let error = decode::<ParcelSent>(&stored("ParcelSent", 4, "{}")).unwrap_err();
        assert!(matches!(error, DecodeError::NewerSchema { stored: 4, known: 3 }));
    }

    #[test]
    fn an_event_of_an_unknown_type_is_refused() {
        let error = decode::<ParcelSent>(&stored("ParcelLost", 1, "{}")).unwrap_err();
        assert!(matches!(error, DecodeError::UnknownType));
    }

    #[test]
    fn an_event_with_other_fields_than_its_type_promises_is_refused() {
        for data in ["{}", "[]", r#"{"weight_grams":1,"first_name":"A","last_name":"B","tip":1}"#] {
            let error = decode::<ParcelSent>(&stored("ParcelSent", 3, data)).unwrap_err();
            assert!(matches!(error, DecodeError::Malformed(_)), "{data}");
        }
    }
}
