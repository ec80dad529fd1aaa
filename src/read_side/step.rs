//! What must hold from one event of an account to the next, whoever projects it.
//!
//! The write side keeps these rules; a read model that met a history without them would go on
//! with wrong balances, so it stops instead.

use crate::account::MAX_AMOUNT;
use crate::es::{ProjectionError, RecordedEvent};

/// Version and balance of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) version: u64,
    pub(super) balance: u64,
}

impl Step {
    /// The account that `event` opens.
    pub(super) fn first(event: &RecordedEvent<'_>) -> Result<Self, ProjectionError> {
        let mut step = Self { version: 0, balance: 0 };
        step.advance(event)?;
        Ok(step)
    }

    /// Goes on to the version of `event`, which must be the next.
    pub(super) fn advance(&mut self, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
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

pub(super) fn impossible(reason: impl Into<String>) -> ProjectionError {
    ProjectionError::Impossible(reason.into())
}

/// An event of an account that was never opened.
pub(super) fn no_account() -> ProjectionError {
    impossible("its account was never opened")
}

/// A second opening of an account.
pub(super) fn opened_twice() -> ProjectionError {
    impossible("its account was opened before")
}
