//! The end of an account's history: version and balance after the last event.
//!
//! **Invariant:** versions have no gaps, and balances stay in range, by the rules of the write side.
//!
//! Read next: `accounts.rs`.

use crate::account::{AccountCreated, MAX_AMOUNT};
use crate::es::{ProjectionError, RecordedEvent};

/// Version and balance of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AccountTail {
    pub(super) version: u64,
    pub(super) balance: u64,
}

impl AccountTail {
    /// Returns the tail after `event`, the first event of an account.
    pub(super) fn first(event: &RecordedEvent<'_>) -> Result<Self, ProjectionError> {
        let mut tail = Self { version: 0, balance: 0 };
        tail.advance(event)?;
        Ok(tail)
    }

    /// Advances to the version of `event`, which must be the next version.
    pub(super) fn advance(&mut self, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        // The write side leaves no gap, so a gap is a damaged history: the read model stalls here, and shows
        // no wrong balance.
        if event.version != self.version + 1 {
            return Err(impossible(format!(
                "it is version {} of its account, but version {} was the last before it",
                event.version, self.version
            )));
        }
        self.version = event.version;
        Ok(())
    }

    pub(super) fn add(&mut self, amount: u64) -> Result<(), ProjectionError> {
        let balance = self.balance.checked_add(amount).filter(|balance| *balance <= MAX_AMOUNT);
        self.balance = balance.ok_or_else(|| impossible("the balance would exceed its limit"))?;
        Ok(())
    }

    pub(super) fn subtract(&mut self, amount: u64) -> Result<(), ProjectionError> {
        let balance = self.balance.checked_sub(amount);
        self.balance = balance.ok_or_else(|| impossible("the balance would be negative"))?;
        Ok(())
    }
}

/// The first event of an account. Later events never change the columns of the opening.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) created: AccountCreated,
    pub(super) recorded_at: String,
}

impl Opening {
    pub(super) fn of(event: &RecordedEvent<'_>, created: AccountCreated) -> Self {
        Self { created, recorded_at: event.recorded_at.to_owned() }
    }
}

/// Returns the error for an event against the rules.
pub(super) fn impossible(reason: impl Into<String>) -> ProjectionError {
    ProjectionError::Impossible(reason.into())
}

/// Returns the error for an event of an unknown account.
pub(super) fn no_account() -> ProjectionError {
    impossible("its account was never opened")
}

/// Returns the error for a second opening of an account.
pub(super) fn opened_twice() -> ProjectionError {
    impossible("its account was opened before")
}
