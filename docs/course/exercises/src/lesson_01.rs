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
    balance: u64,
}

impl Ledger {
    /// Records what has happened.
    pub fn record(&mut self, event: AccountEvent) {
        self.balance = evolve(self.balance, &event);
    }

    /// Returns the balance now, in cents.
    pub fn balance(&self) -> u64 {
        self.balance
    }

    /// Returns the balance after the first `version` events, in cents.
    pub fn balance_at(&self, _version: usize) -> u64 {
        self.balance
    }

    /// Returns how much was ever withdrawn, in cents.
    pub fn withdrawn(&self) -> u64 {
        0
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
