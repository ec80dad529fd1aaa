//! An aggregate that is no bank account, for the specification of `es` itself.

use serde::{Deserialize, Serialize};
use tally::es::{Aggregate, DecodeError, Event};

/// Counts up to a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counter {
    pub(crate) count: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Count {
    /// Once for each: so many events in one command.
    Up(u64),
    /// Refuses.
    Refuse,
    /// Has a bug.
    Panic,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) to: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) at: u64,
}

impl Event for Counted {
    fn event_type(&self) -> &'static str {
        "Counted"
    }

    fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    fn from_json(event_type: &str, data: &str) -> Result<Self, DecodeError> {
        match event_type {
            "Counted" => serde_json::from_str(data).map_err(DecodeError::Malformed),
            _ => Err(DecodeError::UnknownType),
        }
    }
}

impl Aggregate for Counter {
    const STREAM_TYPE: &'static str = "counter";

    type Command = Count;
    type Event = Counted;
    type Rejection = Refused;

    fn decide(&self, command: &Count) -> Result<Vec<Counted>, Refused> {
        match command {
            Count::Up(times) => Ok((1..=*times).map(|step| Counted { to: self.count + step }).collect()),
            Count::Refuse => Err(Refused { at: self.count }),
            Count::Panic => panic!("a bug of the aggregate, made on purpose"),
        }
    }

    fn evolve(self, event: &Counted) -> Self {
        Self { count: event.to }
    }
}
