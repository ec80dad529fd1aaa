//! The bank account: events, state, decisions, in that order; then what readers see of an event.
//!
//! All rules of the bank stand on this page. The rest of the crate would serve another domain as well.
//!
//! **Invariant:** a balance never leaves 0..=[`MAX_AMOUNT`]. [`Account::decide`] keeps the balance in
//! this range; [`Account::evolve`] relies on the range and refuses nothing.
//!
//! Read next: `tests.rs`, the rules as sentences.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::currency::Currency;
use crate::es::{Aggregate, events};
use crate::limits::MAX_EXACT_INTEGER;

/// The largest amount and balance, in minor units (cents): 9 007 199 254 740 991.
pub const MAX_AMOUNT: u64 = MAX_EXACT_INTEGER;

// ---------------------------------------------------------------------------------- events

events! {
    /// The events of an account. The stored names and fields are kept for ever.
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
    /// The name of the account's owner.
    pub owner: String,
    /// The currency of all amounts of the account.
    pub currency: Currency,
}

/// Money came in or went out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoneyMoved {
    /// How much, in minor units, 1..=[`MAX_AMOUNT`].
    pub amount: u64,
    /// The account's currency: a reader understands the event without the account.
    pub currency: Currency,
    /// The client's own words, without a meaning for the bank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The transfer of which this movement is one half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer_id: Option<Uuid>,
}

impl MoneyMoved {
    /// Returns a movement without a description, and of no transfer.
    pub fn of(amount: u64, currency: Currency) -> Self {
        Self { amount, currency, description: None, transfer_id: None }
    }
}

/// The account was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountClosed {}

// ----------------------------------------------------------------------------------- state

/// The part of an account's history that decisions need. The owner is absent: no rule asks for the owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    status: Status,
    currency: Currency,
    pub(super) balance: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Status {
    #[default]
    NotOpened,
    Open,
    Closed,
}

// ------------------------------------------------------------------------------- decisions

/// The commands of one account.
///
/// The write side stores a fingerprint of a command's JSON with its receipt: the names of a command and of its
/// fields are kept for ever, as those of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum AccountCommand {
    /// Open the account.
    Open {
        /// The name of the account's owner.
        owner: String,
        /// The currency of all amounts of the account.
        currency: Currency,
    },
    /// Put money into the account.
    Deposit(Movement),
    /// Take money out of the account.
    Withdraw(Movement),
    /// Close the account; the balance must be 0.
    Close,
}

/// Money to move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Movement {
    /// How much, in minor units, 1..=[`MAX_AMOUNT`].
    pub amount: u64,
    /// The client's own words, without a meaning for the bank.
    pub description: Option<String>,
    /// The transfer of which this movement is one half.
    pub transfer_id: Option<Uuid>,
}

/// Why the bank rejects a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The account to open exists.
    AccountExists,
    /// The account was never opened.
    AccountNotFound,
    /// The account was closed; a closed account has no further events.
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
        // Each command of the bank gives exactly one event.
        Ok(vec![event])
    }

    fn evolve(mut self, event: &AccountEvent) -> Self {
        match event {
            AccountEvent::AccountCreated(created) => {
                self.status = Status::Open;
                self.currency = created.currency;
            }
            // Saturating: a forged history must not panic here. `write-service --verify` reports the
            // forged event.
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
            // A closed account keeps its id: a new account under the id would continue the old history.
            Status::Open | Status::Closed => Err(Rejection::AccountExists),
        }
    }

    fn deposit(&self, movement: &Movement) -> Result<AccountEvent, Rejection> {
        self.require_room(movement.amount)?;
        Ok(AccountEvent::MoneyDeposited(self.moved(movement)))
    }

    fn withdraw(&self, movement: &Movement) -> Result<AccountEvent, Rejection> {
        self.require_open()?;
        // Checked here, subtracted in `evolve`: the event records the amount and not the balance.
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

    /// Checks that the account can take in the amount.
    fn require_room(&self, amount: u64) -> Result<(), Rejection> {
        self.require_open()?;
        // The bound is on the sum, not on the amount alone: two lawful amounts can exceed it.
        match self.balance.checked_add(amount) {
            Some(balance) if balance <= MAX_AMOUNT => Ok(()),
            _ => Err(Rejection::BalanceLimit),
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

/// Decides a transfer between two different accounts, and returns the events of `from` and of `to`.
///
/// # Errors
/// As for a withdrawal from `from` and a deposit to `to`, and [`Rejection::CurrencyMismatch`].
pub fn decide_transfer(
    from: &Account,
    to: &Account,
    movement: Movement,
) -> Result<(Vec<AccountEvent>, Vec<AccountEvent>), Rejection> {
    // Closed accounts first: their currency would be a misleading reason.
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

// --------------------------------------------------------------------------- what readers see

/// The kinds of the lines on a statement, in the order of the OpenAPI document, which has the list from here.
pub const STATEMENT_KINDS: &[&str] =
    &["opened", "deposit", "withdrawal", "transfer-in", "transfer-out", "closed"];

/// An event as readers see it: read models, the audit and the console treat all events of one [`Effect`] alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountEntry {
    /// The kind of the line on a statement, one of [`STATEMENT_KINDS`].
    pub kind: &'static str,
    /// What the event did to the account.
    pub effect: Effect,
}

/// What an event did to its account. A new event usually has one of these effects, and the readers need no change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The account exists from now on.
    Opened(AccountCreated),
    /// The balance rose by the amount.
    In(MoneyMoved),
    /// The balance fell by the amount.
    Out(MoneyMoved),
    /// The account is closed from now on.
    Closed,
}

impl AccountEvent {
    /// Returns the event as readers see it.
    pub fn into_entry(self) -> AccountEntry {
        let (kind, effect) = match self {
            Self::AccountCreated(created) => ("opened", Effect::Opened(created)),
            // Both halves of a transfer carry the id: the type of the event gives the direction.
            Self::MoneyDeposited(moved) if moved.transfer_id.is_some() => ("transfer-in", Effect::In(moved)),
            Self::MoneyDeposited(moved) => ("deposit", Effect::In(moved)),
            Self::MoneyWithdrawn(moved) if moved.transfer_id.is_some() => {
                ("transfer-out", Effect::Out(moved))
            }
            Self::MoneyWithdrawn(moved) => ("withdrawal", Effect::Out(moved)),
            Self::AccountClosed(AccountClosed {}) => ("closed", Effect::Closed),
        };
        AccountEntry { kind, effect }
    }

    /// Returns the command that decides on this event, for the audit.
    pub(super) fn command(&self) -> AccountCommand {
        let movement = |moved: &MoneyMoved| {
            let MoneyMoved { amount, description, transfer_id, currency: _ } = moved.clone();
            Movement { amount, description, transfer_id }
        };
        match self {
            Self::AccountCreated(AccountCreated { owner, currency }) => {
                AccountCommand::Open { owner: owner.clone(), currency: *currency }
            }
            Self::MoneyDeposited(moved) => AccountCommand::Deposit(movement(moved)),
            Self::MoneyWithdrawn(moved) => AccountCommand::Withdraw(movement(moved)),
            Self::AccountClosed(AccountClosed {}) => AccountCommand::Close,
        }
    }
}
