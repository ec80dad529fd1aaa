//! Uniqueness over streams: an e-mail address belongs to one account.
//!
//! An aggregate sees its own stream alone, so no account can check a rule about all accounts. Each address
//! therefore has a stream of its own, named by the address (a UUIDv5). An account claims the stream of its
//! address in the transaction that records the account's own event.
//!
//! **Invariant:** after every transaction, the owner of an address is the account that has the address.
//!
//! `cargo run --example unique_email` runs the program; `tests/examples/unique_email.rs` has the races.
//!
//! Read next: `docs/how-to/unique-over-streams.md`.

use std::error::Error;

use serde::{Deserialize, Serialize};
use tally::es::{Aggregate, Context, EventLog, ExecuteError, Execution, Executor, MemoryDatabase, decode};
use uuid::Uuid;

/// The namespace of the names, chosen once at random. In another namespace, every address would be free.
const ADDRESSES: Uuid = Uuid::from_u128(0x5c9e_4a0b_77f1_4d0e_9a53_2b6d_8f41_c7e2);

/// An e-mail address, and the stream of the address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Email {
    /// As the owner writes the address.
    text: String,
    /// Stored with the events, so a release finds the stream that was claimed.
    pub(crate) stream: Uuid,
}

impl Email {
    /// Returns the address; `None` for a text that is not an address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (local, domain) = text.split_once('@')?;
        let is_address = !local.is_empty() && !domain.is_empty() && !domain.contains('@');
        // The form in which two spellings are equal. This rule is kept for ever.
        let stream = Uuid::new_v5(&ADDRESSES, text.to_lowercase().as_bytes());
        is_address.then(|| Self { text: text.to_owned(), stream })
    }
}

// The account: its owner's address, and no word about other accounts.
tally::es::events! {
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) enum AccountEvent {
        Registered(Email) = "AccountRegistered",
        EmailChanged(Email) = "EmailChanged",
        Closed(Closed) = "AccountClosed",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Closed {}

/// An account is open while it has an address.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    address: Option<Uuid>,
}

#[derive(Clone, Debug)]
pub(crate) enum AccountCommand {
    Register(Email),
    ChangeEmail(Email),
    Close,
}

/// Why an account or an address refuses a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum No {
    Taken,
    NotTheOwner,
    Registered,
    NotRegistered,
}

impl Aggregate for Account {
    const STREAM_TYPE: &'static str = "account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Rejection = No;

    fn decide(&self, command: &AccountCommand) -> Result<Vec<AccountEvent>, No> {
        use {AccountCommand as Command, AccountEvent as Event};
        match (self.address, command) {
            (None, Command::Register(email)) => Ok(vec![Event::Registered(email.clone())]),
            (None, Command::ChangeEmail(_) | Command::Close) => Err(No::NotRegistered),
            (Some(_), Command::Register(_)) => Err(No::Registered),
            (Some(_), Command::ChangeEmail(email)) => Ok(vec![Event::EmailChanged(email.clone())]),
            (Some(_), Command::Close) => Ok(vec![Event::Closed(Closed {})]),
        }
    }

    fn evolve(self, event: &AccountEvent) -> Self {
        match event {
            AccountEvent::Registered(email) | AccountEvent::EmailChanged(email) => {
                Self { address: Some(email.stream) }
            }
            AccountEvent::Closed(_) => Self { address: None },
        }
    }
}

// The address: a reservation, with an owner or without.
tally::es::events! {
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) enum AddressEvent {
        Claimed(Owner) = "AddressClaimed",
        Released(Owner) = "AddressReleased",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) account: Uuid,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Address {
    owner: Option<Owner>,
}

enum AddressCommand {
    Claim(Owner),
    Release(Owner),
}

impl Aggregate for Address {
    const STREAM_TYPE: &'static str = "email-address";
    type Command = AddressCommand;
    type Event = AddressEvent;
    type Rejection = No;

    fn decide(&self, command: &AddressCommand) -> Result<Vec<AddressEvent>, No> {
        use {AddressCommand as Command, AddressEvent as Event};
        match (command, self.owner) {
            (Command::Claim(account), None) => Ok(vec![Event::Claimed(*account)]),
            (Command::Claim(_), Some(_)) => Err(No::Taken),
            (Command::Release(account), Some(owner)) if owner == *account => Ok(vec![Event::Released(owner)]),
            (Command::Release(_), _) => Err(No::NotTheOwner),
        }
    }

    fn evolve(self, event: &AddressEvent) -> Self {
        match event {
            AddressEvent::Claimed(owner) => Self { owner: Some(*owner) },
            AddressEvent::Released(_) => Self { owner: None },
        }
    }
}

/// Executes a command on an account, and moves the reservation with the account's address: all events of the
/// account and of the two addresses are recorded, or none.
pub(crate) fn execute(
    executor: &Executor,
    account: Uuid,
    command: AccountCommand,
) -> Result<Execution, ExecuteError<No>> {
    executor.transact(Context::default(), move |work| {
        let old = work.load::<Account>(account)?.0.address;
        work.decide::<Account>(account, &command)?;
        // With the event that was just decided.
        let new = work.load::<Account>(account)?.0.address;
        // Another spelling of the same address changes no reservation.
        if old != new {
            if let Some(old) = old {
                work.decide::<Address>(old, &AddressCommand::Release(Owner { account }))?;
            }
            if let Some(new) = new {
                work.decide::<Address>(new, &AddressCommand::Claim(Owner { account }))?;
            }
        }
        Ok(account)
    })
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let log = EventLog::open(MemoryDatabase::default())?;
    let executor = Executor::start(log.clone(), |_commit| ())?;
    let [ada, bob] = [Uuid::from_u128(1), Uuid::from_u128(2)];
    let email = |text| Email::parse(text).expect("an address");

    execute(&executor, ada, AccountCommand::Register(email("Ada@example.org")))?;
    let refused = execute(&executor, bob, AccountCommand::Register(email("ada@EXAMPLE.org")));
    assert_eq!(refused, Err(ExecuteError::Rejected(No::Taken)));
    execute(&executor, ada, AccountCommand::ChangeEmail(email("countess@example.org")))?;
    execute(&executor, bob, AccountCommand::Register(email("ada@example.org")))?;
    execute(&executor, ada, AccountCommand::Close)?;

    let mut owners = Vec::new();
    for event in log.stream(email("ada@example.org").stream) {
        owners.push(match decode(&event?.as_recorded())? {
            AddressEvent::Claimed(owner) => Some(owner.account),
            AddressEvent::Released(_) => None,
        });
    }
    assert_eq!(owners, [Some(ada), None, Some(bob)]);
    Ok(())
}
