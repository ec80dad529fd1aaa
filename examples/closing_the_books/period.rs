//! One period of an account, of `examples/closing_the_books.rs`: opened once, booked on, closed once.
//!
//! **Invariant:** a period that is closed takes no event.

use serde::{Deserialize, Serialize};
use tally::es::Aggregate;
use uuid::Uuid;

tally::es::events! {
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) enum PeriodEvent {
        Opened(Opened) = "PeriodOpened",
        Booked(Booked) = "AmountBooked",
        Closed(Closed) = "PeriodClosed",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Opened {
    pub(crate) account: Uuid,
    /// From 1, without gaps.
    pub(crate) number: u32,
    /// The balance that the period before was closed with.
    pub(crate) balance: i64,
    /// The stream of the period before; none for the first period.
    pub(crate) previous: Option<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Booked {
    pub(crate) cents: i64,
    /// The period that the amount belongs to: an earlier one for a late booking.
    pub(crate) belongs_to: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Closed {
    pub(crate) balance: i64,
    /// The stream of the next period.
    pub(crate) next: Uuid,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Period {
    pub(crate) number: u32,
    pub(crate) balance: i64,
    is_closed: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum PeriodCommand {
    Open(Opened),
    Book(Booked),
    Close { next: Uuid },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum No {
    UnknownAccount,
    NotOpen,
    PeriodHasNotBegun,
    BalanceOutOfRange,
}

impl Aggregate for Period {
    const STREAM_TYPE: &'static str = "period";
    type Command = PeriodCommand;
    type Event = PeriodEvent;
    type Rejection = No;

    fn decide(&self, command: &PeriodCommand) -> Result<Vec<PeriodEvent>, No> {
        let is_open = self.number > 0 && !self.is_closed;
        match command {
            PeriodCommand::Open(opened) if self.number == 0 => Ok(vec![PeriodEvent::Opened(opened.clone())]),
            PeriodCommand::Book(booked) if is_open && !(1..=self.number).contains(&booked.belongs_to) => {
                Err(No::PeriodHasNotBegun)
            }
            PeriodCommand::Book(booked) if is_open => match self.balance.checked_add(booked.cents) {
                Some(_) => Ok(vec![PeriodEvent::Booked(booked.clone())]),
                None => Err(No::BalanceOutOfRange),
            },
            PeriodCommand::Close { next } if is_open => {
                Ok(vec![PeriodEvent::Closed(Closed { balance: self.balance, next: *next })])
            }
            PeriodCommand::Open(_) | PeriodCommand::Book(_) | PeriodCommand::Close { .. } => Err(No::NotOpen),
        }
    }

    fn evolve(self, event: &PeriodEvent) -> Self {
        match event {
            PeriodEvent::Opened(opened) => {
                Self { number: opened.number, balance: opened.balance, is_closed: false }
            }
            PeriodEvent::Booked(booked) => Self { balance: self.balance + booked.cents, ..self },
            PeriodEvent::Closed(_) => Self { is_closed: true, ..self },
        }
    }
}
