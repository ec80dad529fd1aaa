use serde::{Deserialize, Serialize};
use tally::es::Aggregate;

tally::es::events! {
    // What can have happened. The names are stored for ever; the variants may be renamed.
    #[derive(Debug, PartialEq)]
    enum DoorEvent {
        Opened(Opened) = "DoorOpened",
        Closed(Closed) = "DoorClosed",
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Opened {
    badge: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Closed {}

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
            (Self::Open, DoorCommand::Close) => Ok(vec![DoorEvent::Closed(Closed {})]),
            (Self::Open, DoorCommand::Open { .. }) => Err(Rejection::OpenAlready),
            (Self::Closed, DoorCommand::Close) => Err(Rejection::ClosedAlready),
        }
    }

    // The facts: the state after an event. Nothing is refused here: it has happened.
    fn evolve(self, event: &DoorEvent) -> Self {
        match event {
            DoorEvent::Opened(_) => Self::Open,
            DoorEvent::Closed(_) => Self::Closed,
        }
    }
}
