tally::es::events! {
    #[derive(Debug, PartialEq)]
    enum BadgeEvent {
        Issued(Issued) = "BadgeIssued",
        Revoked(Revoked) = "BadgeRevoked",
        Used(Used) = "BadgeUsed",
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Issued {
    holder: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Revoked {}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Used {}

// A badge opens doors from its issue until it is revoked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Badge {
    valid: bool,
}

enum BadgeCommand {
    Issue { holder: String },
    Revoke,
    Use,
}

#[derive(Debug, PartialEq)]
struct NotValid;

impl Aggregate for Badge {
    const STREAM_TYPE: &'static str = "badge";
    type Command = BadgeCommand;
    type Event = BadgeEvent;
    type Rejection = NotValid;

    fn decide(&self, command: &BadgeCommand) -> Result<Vec<BadgeEvent>, NotValid> {
        match command {
            BadgeCommand::Issue { holder } => Ok(vec![BadgeEvent::Issued(Issued { holder: holder.clone() })]),
            BadgeCommand::Revoke if self.valid => Ok(vec![BadgeEvent::Revoked(Revoked {})]),
            BadgeCommand::Use if self.valid => Ok(vec![BadgeEvent::Used(Used {})]),
            BadgeCommand::Revoke | BadgeCommand::Use => Err(NotValid),
        }
    }

    fn evolve(self, event: &BadgeEvent) -> Self {
        match event {
            BadgeEvent::Issued(_) => Self { valid: true },
            BadgeEvent::Revoked(_) => Self { valid: false },
            BadgeEvent::Used(_) => self,
        }
    }
}
