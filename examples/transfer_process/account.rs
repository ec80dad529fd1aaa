//! The bank of `examples/transfer_process.rs`: accounts that reserve money, and post or void what is reserved.
//!
//! The reservation lies in the payer's account, so that account alone decides whether a transfer is posted or
//! voided: the first of two commands that race ends the reservation, and the second is rejected.
//!
//! Read next: `examples/transfer_process.rs`, the process that sends these commands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tally::es::{Aggregate, Context, ExecuteError, Execution, Executor, IdempotencyKey, Metadata};
use uuid::Uuid;

tally::es::events! {
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub(crate) enum AccountEvent {
        Reserved(Transfer) = "MoneyReserved",
        Accepted(Transfer) = "TransferAccepted",
        Posted(Transfer) = "ReservationPosted",
        Voided(Transfer) = "ReservationVoided",
        Received(Transfer) = "MoneyReceived",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) id: Uuid,
    pub(crate) payer: Uuid,
    pub(crate) payee: Uuid,
    /// In cents.
    pub(crate) amount: u64,
    /// In milliseconds since 1970. A fact of the event: no later setting moves the deadline.
    pub(crate) deadline_ms: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Without the money that is reserved.
    pub(crate) balance: u64,
    /// The open reservations.
    pub(crate) reserved: BTreeMap<Uuid, Transfer>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum AccountCommand {
    Reserve(Transfer),
    Accept(Transfer),
    Post(Transfer),
    Void(Transfer),
    Receive(Transfer),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum No {
    TooLittleMoney,
    /// The account cannot hold so much.
    BalanceOutOfRange,
    /// The deadline is later than the process can note.
    DeadlineOutOfRange,
    /// A transfer with this id is open.
    Reserved,
    /// The transfer was posted or voided before, or was never reserved on these terms.
    NotReserved,
}

impl Aggregate for Account {
    const STREAM_TYPE: &'static str = "account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Rejection = No;

    fn decide(&self, command: &AccountCommand) -> Result<Vec<AccountEvent>, No> {
        use {AccountCommand as Command, AccountEvent as Event};
        let is_open = |transfer: &Transfer| self.reserved.get(&transfer.id) == Some(transfer);
        match *command {
            Command::Reserve(transfer) if transfer.amount > self.balance => Err(No::TooLittleMoney),
            // SQLite, where the process keeps the deadline, has signed integers.
            Command::Reserve(transfer) if i64::try_from(transfer.deadline_ms).is_err() => {
                Err(No::DeadlineOutOfRange)
            }
            Command::Receive(transfer) if self.balance.checked_add(transfer.amount).is_none() => {
                Err(No::BalanceOutOfRange)
            }
            Command::Post(transfer) | Command::Void(transfer) if !is_open(&transfer) => Err(No::NotReserved),
            Command::Reserve(transfer) if self.reserved.contains_key(&transfer.id) => Err(No::Reserved),
            Command::Reserve(transfer) => Ok(vec![Event::Reserved(transfer)]),
            Command::Accept(transfer) => Ok(vec![Event::Accepted(transfer)]),
            Command::Post(transfer) => Ok(vec![Event::Posted(transfer)]),
            Command::Void(transfer) => Ok(vec![Event::Voided(transfer)]),
            Command::Receive(transfer) => Ok(vec![Event::Received(transfer)]),
        }
    }

    fn evolve(mut self, event: &AccountEvent) -> Self {
        match event {
            AccountEvent::Reserved(transfer) => {
                self.balance -= transfer.amount;
                self.reserved.insert(transfer.id, *transfer);
            }
            AccountEvent::Voided(transfer) => {
                self.balance += transfer.amount;
                self.reserved.remove(&transfer.id);
            }
            AccountEvent::Posted(transfer) => drop(self.reserved.remove(&transfer.id)),
            AccountEvent::Received(transfer) => self.balance += transfer.amount,
            AccountEvent::Accepted(_) => (),
        }
        self
    }
}

/// Sends a command to the account that it concerns. Under one key, the command is recorded once.
pub(crate) fn send(
    bank: &Executor,
    key: String,
    command: AccountCommand,
) -> Result<Execution, ExecuteError<No>> {
    use AccountCommand as Command;
    let account = match command {
        Command::Reserve(transfer) | Command::Post(transfer) | Command::Void(transfer) => transfer.payer,
        Command::Accept(transfer) | Command::Receive(transfer) => transfer.payee,
    };
    let metadata = Metadata { causation_id: Some(key.clone()), ..Metadata::default() };
    let keys = vec![IdempotencyKey::of(key, &command).expect("commands are JSON")];
    bank.execute::<Account>(account, command, Context { keys, metadata })
}
