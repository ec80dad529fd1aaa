//! The bank account: events, state, decisions, in that order.
//!
//! Pure: no I/O, no clock, no randomness, no database. Everything the bank knows about accounts
//! is on this page, and everything else in the crate would serve another domain as well.
//!
//! **Invariant:** a balance never leaves 0..=[`MAX_AMOUNT`]. [`Account::decide`] keeps it;
//! [`Account::evolve`] relies on it and refuses nothing.
//!
//! Read next: `es/aggregate.rs`, the trait that this implements.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::es::{Aggregate, KnownKinds, events};
use crate::limits::MAX_EXACT_INTEGER;

/// The largest amount and balance, in minor units (cents): 9 007 199 254 740 991.
pub const MAX_AMOUNT: u64 = MAX_EXACT_INTEGER;

/// Three capital letters, as in ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "&str")]
pub struct Currency([u8; 3]);

impl Currency {
    /// The currency as text.
    pub fn as_str(&self) -> &str {
        // Always ASCII capitals, see `try_from`.
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl Default for Currency {
    fn default() -> Self {
        Self(*b"EUR")
    }
}

impl TryFrom<&str> for Currency {
    type Error = &'static str;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        match *text.as_bytes() {
            [a @ b'A'..=b'Z', b @ b'A'..=b'Z', c @ b'A'..=b'Z'] => Ok(Self([a, b, c])),
            _ => Err("must be three capital letters"),
        }
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// ---------------------------------------------------------------------------------- events

events! {
    /// What can have happened to an account. The stored names and fields are kept for ever.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum AccountEvent {
        /// The account was opened.
        AccountCreated(AccountCreated) = "AccountCreated",
        /// Money came in.
        MoneyDeposited(MoneyMoved) = "MoneyDeposited",
        /// Money went out.
        MoneyWithdrawn(MoneyMoved) = "MoneyWithdrawn",
        /// The account was closed.
        AccountClosed(AccountClosed) = "AccountClosed",
    }
}

/// The account was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountCreated {
    /// Whose account it is.
    pub owner: String,
    /// The currency of all its amounts.
    pub currency: Currency,
}

/// Money came in or went out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoneyMoved {
    /// How much, in minor units, 1..=[`MAX_AMOUNT`].
    pub amount: u64,
    /// The account's currency, so that the event is understood alone.
    pub currency: Currency,
    /// What for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The transfer that this is one half of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer_id: Option<Uuid>,
}

/// The account was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountClosed {}

// ----------------------------------------------------------------------------------- state

/// As much of an account's history as decisions need. The owner is not here: no rule asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    status: Status,
    currency: Currency,
    balance: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Status {
    #[default]
    NotOpened,
    Open,
    Closed,
}

// ------------------------------------------------------------------------------- decisions

/// What can be asked of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountCommand {
    /// Open it.
    Open {
        /// Whose account it is to be.
        owner: String,
        /// The currency of all its amounts.
        currency: Currency,
    },
    /// Put money in.
    Deposit(Movement),
    /// Take money out.
    Withdraw(Movement),
    /// Close it; its balance must be 0.
    Close,
}

/// Money that is to be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// How much, in minor units, 1..=[`MAX_AMOUNT`].
    pub amount: u64,
    /// What for.
    pub description: Option<String>,
    /// The transfer that this is one half of.
    pub transfer_id: Option<Uuid>,
}

/// Why the bank says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The account to open exists.
    AccountExists,
    /// There is no such account.
    AccountNotFound,
    /// The account was closed; nothing happens to it any more.
    AccountClosed,
    /// The balance is smaller than the amount.
    InsufficientFunds,
    /// The balance would grow beyond [`MAX_AMOUNT`].
    BalanceLimit,
    /// Only an empty account can be closed.
    BalanceNotZero,
    /// A transfer needs two accounts.
    SameAccount,
    /// A transfer needs two accounts of one currency.
    CurrencyMismatch,
}

impl Aggregate for Account {
    const STREAM_TYPE: &'static str = "account";

    type Command = AccountCommand;
    type Event = AccountEvent;
    type Rejection = Rejection;

    fn decide(&self, command: &AccountCommand) -> Result<Vec<AccountEvent>, Rejection> {
        let event = match command {
            AccountCommand::Open { owner, currency } => self.open(owner, *currency),
            AccountCommand::Deposit(movement) => self.deposit(movement),
            AccountCommand::Withdraw(movement) => self.withdraw(movement),
            AccountCommand::Close => self.close(),
        }?;
        Ok(vec![event])
    }

    fn evolve(mut self, event: &AccountEvent) -> Self {
        match event {
            AccountEvent::AccountCreated(created) => {
                self.status = Status::Open;
                self.currency = created.currency;
            }
            // Saturating, because a history that `decide` cannot have written must not panic;
            // `write-service --verify` finds it.
            AccountEvent::MoneyDeposited(moved) => {
                self.balance = self.balance.saturating_add(moved.amount);
            }
            AccountEvent::MoneyWithdrawn(moved) => {
                self.balance = self.balance.saturating_sub(moved.amount);
            }
            AccountEvent::AccountClosed(_) => self.status = Status::Closed,
        }
        self
    }
}

impl Account {
    fn open(&self, owner: &str, currency: Currency) -> Result<AccountEvent, Rejection> {
        match self.status {
            Status::NotOpened => {
                Ok(AccountEvent::AccountCreated(AccountCreated { owner: owner.to_owned(), currency }))
            }
            Status::Open | Status::Closed => Err(Rejection::AccountExists),
        }
    }

    fn deposit(&self, movement: &Movement) -> Result<AccountEvent, Rejection> {
        self.require_open()?;
        // The bound is on the sum, not on the amount alone: two lawful amounts can exceed it.
        match self.balance.checked_add(movement.amount) {
            Some(balance) if balance <= MAX_AMOUNT => Ok(AccountEvent::MoneyDeposited(self.moved(movement))),
            _ => Err(Rejection::BalanceLimit),
        }
    }

    fn withdraw(&self, movement: &Movement) -> Result<AccountEvent, Rejection> {
        self.require_open()?;
        if self.balance < movement.amount {
            return Err(Rejection::InsufficientFunds);
        }
        Ok(AccountEvent::MoneyWithdrawn(self.moved(movement)))
    }

    fn close(&self) -> Result<AccountEvent, Rejection> {
        self.require_open()?;
        if self.balance != 0 {
            return Err(Rejection::BalanceNotZero);
        }
        Ok(AccountEvent::AccountClosed(AccountClosed {}))
    }

    fn require_open(&self) -> Result<(), Rejection> {
        match self.status {
            Status::NotOpened => Err(Rejection::AccountNotFound),
            Status::Open => Ok(()),
            Status::Closed => Err(Rejection::AccountClosed),
        }
    }

    /// Whether `event` can have happened to the account as it is: whether some command would decide
    /// it now. For audits of a history; [`Account::evolve`] asks nothing.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn explain(&self, event: &AccountEvent) -> Result<(), String> {
        let movement = |moved: &MoneyMoved| Movement {
            amount: moved.amount,
            description: moved.description.clone(),
            transfer_id: moved.transfer_id,
        };
        let command = match event {
            AccountEvent::AccountCreated(AccountCreated { owner, currency }) => {
                AccountCommand::Open { owner: owner.clone(), currency: *currency }
            }
            AccountEvent::MoneyDeposited(moved) => AccountCommand::Deposit(movement(moved)),
            AccountEvent::MoneyWithdrawn(moved) => AccountCommand::Withdraw(movement(moved)),
            AccountEvent::AccountClosed(_) => AccountCommand::Close,
        };
        match event {
            AccountEvent::MoneyDeposited(moved) | AccountEvent::MoneyWithdrawn(moved)
                if moved.amount == 0 =>
            {
                return Err("its amount is 0".into());
            }
            AccountEvent::AccountCreated(_)
            | AccountEvent::MoneyDeposited(_)
            | AccountEvent::MoneyWithdrawn(_)
            | AccountEvent::AccountClosed(_) => {}
        }
        let decided = self.decide(&command).map_err(|rejection| format!("{rejection:?}"))?;
        if decided == [event.clone()] {
            Ok(())
        } else {
            Err(format!("the account would have had {decided:?}"))
        }
    }

    fn moved(&self, movement: &Movement) -> MoneyMoved {
        MoneyMoved {
            amount: movement.amount,
            currency: self.currency,
            description: movement.description.clone(),
            transfer_id: movement.transfer_id,
        }
    }
}

/// Decides a transfer between two different accounts: what happens to each, or why nothing does.
///
/// # Errors
/// As for a withdrawal from `from` and a deposit to `to`, and [`Rejection::CurrencyMismatch`].
pub fn decide_transfer(
    from: &Account,
    to: &Account,
    movement: Movement,
) -> Result<(Vec<AccountEvent>, Vec<AccountEvent>), Rejection> {
    from.require_open()?;
    to.require_open()?;
    if from.currency != to.currency {
        return Err(Rejection::CurrencyMismatch);
    }
    Ok((
        from.decide(&AccountCommand::Withdraw(movement.clone()))?,
        to.decide(&AccountCommand::Deposit(movement))?,
    ))
}

/// The bank's kinds of aggregates, for an audit of its log.
pub fn known_kinds() -> KnownKinds {
    KnownKinds::new().and::<Account>(Account::explain)
}

#[cfg(test)]
mod tests;
