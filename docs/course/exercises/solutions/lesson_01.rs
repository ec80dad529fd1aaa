//! Lesson 1: an account that stores its balance, and so forgets how the balance came about.
//!
//! Keep the events instead. The balance is then a fold over the events, and so is every other answer. You need
//! `evolve`, which is right as it stands.
//!
//! Read next: `docs/course/01-events-before-state.md`.

use tally::account::AccountEvent;

/// An account, to which events are recorded one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    events: Vec<AccountEvent>,
}

impl Ledger {
    /// Records what has happened.
    pub fn record(&mut self, event: AccountEvent) {
        self.events.push(event);
    }

    /// Returns the balance now, in cents.
    pub fn balance(&self) -> u64 {
        self.balance_at(self.events.len())
    }

    /// Returns the balance after the first `version` events, in cents.
    pub fn balance_at(&self, version: usize) -> u64 {
        self.events[..version].iter().fold(0, evolve)
    }

    /// Returns how much was ever withdrawn, in cents.
    pub fn withdrawn(&self) -> u64 {
        let amount = |event: &AccountEvent| match event {
            AccountEvent::MoneyWithdrawn(moved) => Some(moved.amount),
            _ => None,
        };
        self.events.iter().filter_map(amount).sum()
    }
}

/// Returns the balance after an event.
fn evolve(balance: u64, event: &AccountEvent) -> u64 {
    match event {
        AccountEvent::MoneyDeposited(moved) => balance + moved.amount,
        AccountEvent::MoneyWithdrawn(moved) => balance - moved.amount,
        _ => balance,
    }
}
