//! Lesson 2: a gift card, whose rules stand in the wrong one of the two functions.
//!
//! `decide` says yes to everything, and `evolve` skips the payments that it does not like. The rules are right; move
//! them to where a command can still be refused.
//!
//! Read next: `docs/course/02-commands-and-decisions.md`.

use serde::{Deserialize, Serialize};
use tally::es::Aggregate;

/// The largest payment, in cents. The limit is new: cards with larger payments in their history exist.
pub const MAX_PAYMENT: u64 = 2000;

tally::es::events! {
    /// What has happened to a card.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum CardEvent {
        /// The card was sold, with an amount on it.
        Sold(Amount) = "CardSold",
        /// Something was paid with the card.
        Paid(Amount) = "CardPaid",
    }
}

/// An amount in cents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// How many cents.
    pub cents: u64,
}

/// What a client asks of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardCommand {
    /// Sell a card with so many cents on it.
    Sell(u64),
    /// Pay so many cents with the card.
    Pay(u64),
}

/// Why a payment is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The card has less on it than the payment.
    TooLittleLeft,
    /// The payment is above [`MAX_PAYMENT`].
    TooLarge,
}

/// A gift card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// How many cents are left on the card.
    pub left: u64,
}

impl Aggregate for Card {
    const STREAM_TYPE: &'static str = "card";

    type Command = CardCommand;
    type Event = CardEvent;
    type Rejection = Refusal;

    fn decide(&self, command: &CardCommand) -> Result<Vec<CardEvent>, Refusal> {
        match *command {
            CardCommand::Sell(cents) => Ok(vec![CardEvent::Sold(Amount { cents })]),
            CardCommand::Pay(cents) if cents > MAX_PAYMENT => Err(Refusal::TooLarge),
            CardCommand::Pay(cents) if cents > self.left => Err(Refusal::TooLittleLeft),
            CardCommand::Pay(cents) => Ok(vec![CardEvent::Paid(Amount { cents })]),
        }
    }

    fn evolve(mut self, event: &CardEvent) -> Self {
        match event {
            CardEvent::Sold(amount) => self.left += amount.cents,
            CardEvent::Paid(amount) => self.left = self.left.saturating_sub(amount.cents),
        }
        self
    }
}
