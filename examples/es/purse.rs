use serde::{Deserialize, Serialize};
use tally::es::Aggregate;

tally::es::events! {
    #[derive(Clone, Debug, PartialEq)]
    enum PurseEvent {
        PaidIn(Cents) = "PaidIn",
        PaidOut(Cents) = "PaidOut",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Cents {
    cents: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Purse {
    balance: u64,
}

enum PurseCommand {
    PayIn(u64),
    PayOut(u64),
}

#[derive(Debug, PartialEq)]
enum Refusal {
    TooLittle,
    TooMuch,
}

impl Aggregate for Purse {
    const STREAM_TYPE: &'static str = "purse";
    type Command = PurseCommand;
    type Event = PurseEvent;
    type Rejection = Refusal;

    fn decide(&self, command: &PurseCommand) -> Result<Vec<PurseEvent>, Refusal> {
        match *command {
            PurseCommand::PayIn(cents) => {
                self.balance.checked_add(cents).ok_or(Refusal::TooMuch)?;
                Ok(vec![PurseEvent::PaidIn(Cents { cents })])
            }
            PurseCommand::PayOut(cents) if cents > self.balance => Err(Refusal::TooLittle),
            PurseCommand::PayOut(cents) => Ok(vec![PurseEvent::PaidOut(Cents { cents })]),
        }
    }

    fn evolve(self, event: &PurseEvent) -> Self {
        let balance = match event {
            PurseEvent::PaidIn(paid) => self.balance.saturating_add(paid.cents),
            PurseEvent::PaidOut(paid) => self.balance.saturating_sub(paid.cents),
        };
        Self { balance }
    }
}
