use serde::{Deserialize, Serialize};
use tally::es::{Aggregate, DecodeError, Event};

// What can have happened.
#[derive(Debug, PartialEq)]
enum DoorEvent {
    Opened(Opened),
    Closed,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Opened {
    badge: String,
}

impl Event for DoorEvent {
    // Stored for ever: the variants may be renamed, these words may not.
    fn event_type(&self) -> &'static str {
        match self {
            Self::Opened(_) => "DoorOpened",
            Self::Closed => "DoorClosed",
        }
    }

    fn to_json(&self) -> serde_json::Result<String> {
        match self {
            Self::Opened(opened) => serde_json::to_string(opened),
            Self::Closed => Ok("{}".into()),
        }
    }

    fn from_json(event_type: &str, data: &str) -> Result<Self, DecodeError> {
        match event_type {
            "DoorOpened" => serde_json::from_str(data).map(Self::Opened).map_err(DecodeError::Malformed),
            "DoorClosed" => Ok(Self::Closed),
            _ => Err(DecodeError::UnknownType),
        }
    }
}

// As much of the past as the rules need. None asks whose badge it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Door {
    #[default]
    Closed,
    Open,
}

enum DoorCommand {
    Open { badge: String },
    Close,
}

#[derive(Debug, PartialEq)]
enum Rejection {
    OpenAlready,
    ClosedAlready,
}

impl Aggregate for Door {
    const STREAM_TYPE: &'static str = "door";
    type Command = DoorCommand;
    type Event = DoorEvent;
    type Rejection = Rejection;

    // The rules: a command becomes events, or is refused.
    fn decide(&self, command: &DoorCommand) -> Result<Vec<DoorEvent>, Rejection> {
        match (self, command) {
            (Self::Closed, DoorCommand::Open { badge }) => {
                Ok(vec![DoorEvent::Opened(Opened { badge: badge.clone() })])
            }
            (Self::Open, DoorCommand::Close) => Ok(vec![DoorEvent::Closed]),
            (Self::Open, DoorCommand::Open { .. }) => Err(Rejection::OpenAlready),
            (Self::Closed, DoorCommand::Close) => Err(Rejection::ClosedAlready),
        }
    }

    // The facts: the state after an event. Nothing is refused here: it has happened.
    fn evolve(self, event: &DoorEvent) -> Self {
        match event {
            DoorEvent::Opened(_) => Self::Open,
            DoorEvent::Closed => Self::Closed,
        }
    }
}
