//! Commands as clients send them: how a request's body becomes a command, and how a command runs.
//!
//! ```text
//! routes.rs --body--> open, to_account, close, transfer --Command--> execute --> es::Executor
//!           --headers--> headers.rs -----------------------------------^           | writer thread
//!                                                                        check, decide, stage
//! ```
//!
//! The rules of the bank are in `src/account/`; a command only asks an account to decide.
//!
//! **Invariant:** the canonical form of a command never changes. Receipts are stored under the fingerprint of
//! the form, so a repeated command is recognised for ever.
//!
//! Read next: `src/es/command/mod.rs`, the writer thread.

use serde::Serialize;
use uuid::Uuid;

use super::headers::{Headers, Precondition, TRANSFER_KEY};
use super::problems;
use crate::account::{Account, AccountCommand, Currency, MAX_AMOUNT, Movement, Rejection, decide_transfer};
use crate::es::{Aggregate, Context, ExecuteError, Execution, Executor, IdempotencyKey, Timing, Work};
use crate::http::{self, Fields, Problem, Request, required};

/// The longest owner, in characters.
const MAX_OWNER: usize = 200;
/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 500;

/// A command of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// A command to an account. An opening may leave the account's id to the service.
    Account(Option<Uuid>, AccountCommand),
    Transfer(Transfer),
}

/// A movement of money between two accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Transfer {
    pub(super) from: Uuid,
    pub(super) to: Uuid,
    pub(super) amount: u64,
    pub(super) description: Option<String>,
    pub(super) transfer_id: Option<Uuid>,
}

// ------------------------------------------------------------------------ from the request's body

/// Reads the body of `POST /accounts`.
///
/// # Errors
/// 400 with the name of the field, as for each function below; 415 without `Content-Type: application/json`.
pub(super) fn open(request: &Request) -> Result<Command, Problem> {
    let mut fields = Fields::of(request)?;
    let owner = owner(&mut fields)?;
    let currency = match fields.text("currency")? {
        None => Currency::default(),
        Some(text) => {
            Currency::try_from(&*text).map_err(|error| Problem::invalid_field("currency", error))?
        }
    };
    let account_id = fields.uuid("account_id")?;
    fields.finish()?;
    Ok(Command::Account(account_id, AccountCommand::Open { owner, currency }))
}

/// Reads the body of a command to an account that exists; `read` reads the fields.
pub(super) fn to_account(
    account_id: Uuid,
    request: &Request,
    read: impl FnOnce(&mut Fields) -> Result<AccountCommand, Problem>,
) -> Result<Command, Problem> {
    let mut fields = Fields::of(request)?;
    let command = read(&mut fields)?;
    fields.finish()?;
    Ok(Command::Account(Some(account_id), command))
}

/// Reads the fields of a deposit or a withdrawal.
pub(super) fn movement(fields: &mut Fields) -> Result<Movement, Problem> {
    Ok(Movement { amount: amount(fields)?, description: description(fields)?, transfer_id: None })
}

/// Reads the body of `POST /accounts/{id}/close`, which may be absent.
pub(super) fn close(account_id: Uuid, request: &Request) -> Result<Command, Problem> {
    Fields::of_optional(request)?.finish()?;
    Ok(Command::Account(Some(account_id), AccountCommand::Close))
}

/// Reads the body of `POST /transfers`.
pub(super) fn transfer(request: &Request) -> Result<Command, Problem> {
    let mut fields = Fields::of(request)?;
    let from = required("from", fields.uuid("from")?)?;
    let to = required("to", fields.uuid("to")?)?;
    let (amount, description) = (amount(&mut fields)?, description(&mut fields)?);
    let transfer_id = fields.uuid("transfer_id")?;
    fields.finish()?;
    Ok(Command::Transfer(Transfer { from, to, amount, description, transfer_id }))
}

fn owner(fields: &mut Fields) -> Result<String, Problem> {
    let owner = required("owner", fields.text("owner")?)?;
    // Characters, not bytes: the limit is the same in all scripts.
    let lawful = (1..=MAX_OWNER).contains(&owner.chars().count()) && !owner.contains(char::is_control);
    if !lawful {
        let range = format!("must have 1 to {MAX_OWNER} characters and no control characters");
        return Err(Problem::invalid_field("owner", range));
    }
    Ok(owner)
}

/// Reads the field `amount`, which every movement of money has.
pub(super) fn amount(fields: &mut Fields) -> Result<u64, Problem> {
    required("amount", fields.whole_number("amount", 1..=MAX_AMOUNT)?)
}

fn description(fields: &mut Fields) -> Result<Option<String>, Problem> {
    let description = fields.text("description")?;
    if description.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
        let range = format!("may have {MAX_DESCRIPTION} characters at most");
        return Err(Problem::invalid_field("description", range));
    }
    Ok(description)
}

// -------------------------------------------------------------------------------- idempotency

/// The canonical form of a command: for the commands of version 0.1.0, with the names and the order of that version;
/// for any later command to an account, as serde writes the command.
#[derive(Serialize)]
enum Canonical<'a> {
    Open { account_id: Option<Uuid>, owner: &'a str, currency: Currency },
    Deposit { account_id: Option<Uuid>, amount: u64, description: &'a Option<String> },
    Withdraw { account_id: Option<Uuid>, amount: u64, description: &'a Option<String> },
    Close { account_id: Option<Uuid> },
    Transfer(&'a Transfer),
    Account { account_id: Option<Uuid>, command: &'a AccountCommand },
}

impl Command {
    fn canonical(&self) -> Canonical<'_> {
        let (account_id, command) = match self {
            Self::Account(account_id, command) => (*account_id, command),
            Self::Transfer(transfer) => return Canonical::Transfer(transfer),
        };
        // Not a `match`: a later command needs no form of its own.
        if let AccountCommand::Open { owner, currency } = command {
            Canonical::Open { account_id, owner, currency: *currency }
        } else if let AccountCommand::Deposit(Movement { amount, description, .. }) = command {
            Canonical::Deposit { account_id, amount: *amount, description }
        } else if let AccountCommand::Withdraw(Movement { amount, description, .. }) = command {
            Canonical::Withdraw { account_id, amount: *amount, description }
        } else if let AccountCommand::Close = command {
            Canonical::Close { account_id }
        } else {
            Canonical::Account { account_id, command }
        }
    }
}

impl Transfer {
    /// Returns the key of the transfer's id: a transfer with an id is the same transfer for ever.
    pub(super) fn key(&self) -> serde_json::Result<Option<IdempotencyKey>> {
        let key = |id| IdempotencyKey::of(format!("{TRANSFER_KEY}{id}"), &Canonical::Transfer(self));
        self.transfer_id.map(key).transpose()
    }
}

// ---------------------------------------------------------------------------------- execution

/// Runs a command, once for each idempotency key, and returns the receipt and the times of its steps.
///
/// # Errors
/// A rejection by the account, a version excluded by `If-Match`, or a failure, as a problem.
pub(super) fn execute(
    bank: &Executor,
    mut command: Command,
    Headers { key, metadata, precondition }: Headers,
) -> Result<(Execution, Timing), Problem> {
    // The client's key stands for the command as sent, so before the service adds a transfer id.
    let of_client = key.map(|key| IdempotencyKey::of(key, &command.canonical())).transpose();
    let of_transfer = match &mut command {
        Command::Account(..) => Ok(None),
        Command::Transfer(transfer) => {
            // An id in any case: both events name it, and so does the key.
            transfer.transfer_id.get_or_insert_with(Uuid::now_v7);
            transfer.key()
        }
    };
    // The client's key first: the first known key decides which receipt is replayed.
    let keys = of_client.and_then(|key| Ok(key.into_iter().chain(of_transfer?).collect()));
    let not_json =
        |error: serde_json::Error| Problem::new(&http::problems::INTERNAL_ERROR, error.to_string());
    let context = Context { keys: keys.map_err(not_json)?, metadata };
    // The closure runs on the writer thread, in the transaction of the append: no other command comes between
    // the check of the version and the append.
    bank.transact_timed(context, move |work| match command {
        Command::Account(account_id, command) => {
            // Here, not on the connection's thread: a replayed command does not reach this line.
            let account_id = account_id.unwrap_or_else(Uuid::now_v7);
            check(&precondition, account_id, &command, work)?;
            work.decide::<Account>(account_id, &command)?;
            Ok(account_id)
        }
        Command::Transfer(transfer) => stage(transfer, &precondition, work),
    })
    .map_err(problems::of_execution)
}

/// Stages both halves of a transfer. After an error, no staged event is recorded.
fn stage(
    transfer: Transfer,
    precondition: &Precondition,
    work: &mut Work<'_>,
) -> Result<Uuid, ExecuteError<Rejection>> {
    let Transfer { from, to, amount, description, transfer_id } = transfer;
    let movement = Movement { amount, description, transfer_id };
    // Before any account is loaded: a transfer to itself is refused for an unknown account too.
    if from == to {
        return Err(ExecuteError::Rejected(Rejection::SameAccount));
    }
    check(precondition, from, &AccountCommand::Withdraw(movement.clone()), work)?;
    // Cloned, because `work` lends a single state at a time.
    let source = work.load::<Account>(from)?.0.clone();
    let target = work.load::<Account>(to)?.0;
    let (withdrawn, deposited) =
        decide_transfer(&source, target, movement).map_err(ExecuteError::Rejected)?;
    work.stage::<Account>(from, withdrawn)?;
    work.stage::<Account>(to, deposited)?;
    Ok(from)
}

/// Checks the account's version against the precondition. RFC 9110, 13.2.1 ignores preconditions when the
/// answer without them would be an error: an absent account, or an opening of an account that exists, is
/// reported first.
fn check(
    precondition: &Precondition,
    account_id: Uuid,
    command: &AccountCommand,
    work: &mut Work<'_>,
) -> Result<(), ExecuteError<Rejection>> {
    let (account, version) = work.load::<Account>(account_id)?;
    if precondition.is_met_by(version) {
        return Ok(());
    }
    // The decision is thrown away. Only a command that is refused anyway pays for it.
    match account.decide(command) {
        Err(first @ (Rejection::AccountNotFound | Rejection::AccountExists)) => {
            Err(ExecuteError::Rejected(first))
        }
        Ok(_) | Err(_) => Err(ExecuteError::VersionMismatch { stream_id: account_id, actual: version }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Request;

    const ADA: &str = "01936d5e-8f2a-7000-8000-000000000001";
    const BOB: &str = "01936d5e-8f2a-7000-8000-000000000002";

    fn body(json: &str) -> Request {
        Request::post("/", json)
    }

    /// Checks the canonical form of a command, and the first four bytes of the form's SHA-256.
    #[track_caller]
    fn assert_canonical(command: Result<Command, Problem>, json: &str, fingerprint: [u8; 4]) {
        let command = command.unwrap();
        assert_eq!(serde_json::to_string(&command.canonical()).unwrap(), json);
        assert_eq!(IdempotencyKey::of("key", &command.canonical()).unwrap().command[..4], fingerprint);
    }

    // Version 0.1.0 has stored receipts under these fingerprints, so a changed fingerprint is a lost receipt.

    #[test]
    fn the_fingerprint_of_an_opening_is_that_of_version_0_1_0() {
        assert_canonical(
            open(&body(r#"{"owner":"Ada"}"#)),
            r#"{"Open":{"account_id":null,"owner":"Ada","currency":"EUR"}}"#,
            [0xec, 0xff, 0xf2, 0xc7],
        );
        let json = format!(r#"{{"currency":"USD","account_id":"{ADA}","owner":"Ada \"L\" Löv"}}"#);
        assert_canonical(
            open(&body(&json)),
            &format!(r#"{{"Open":{{"account_id":"{ADA}","owner":"Ada \"L\" Löv","currency":"USD"}}}}"#),
            [0x03, 0x47, 0xd8, 0x36],
        );
    }

    fn moved(id: Uuid, request: &Request, kind: fn(Movement) -> AccountCommand) -> Result<Command, Problem> {
        to_account(id, request, |fields| movement(fields).map(kind))
    }

    #[test]
    fn the_fingerprint_of_a_movement_is_that_of_version_0_1_0() {
        let id: Uuid = ADA.parse().unwrap();
        assert_canonical(
            moved(id, &body(r#"{"amount":1250}"#), AccountCommand::Deposit),
            &format!(r#"{{"Deposit":{{"account_id":"{ADA}","amount":1250,"description":null}}}}"#),
            [0x73, 0x23, 0x10, 0xa1],
        );
        assert_canonical(
            moved(id, &body(r#"{"description":"salary","amount":1250}"#), AccountCommand::Deposit),
            &format!(r#"{{"Deposit":{{"account_id":"{ADA}","amount":1250,"description":"salary"}}}}"#),
            [0x21, 0x1d, 0xd3, 0x82],
        );
        assert_canonical(
            moved(id, &body(r#"{"amount":9007199254740991}"#), AccountCommand::Withdraw),
            &format!(
                r#"{{"Withdraw":{{"account_id":"{ADA}","amount":9007199254740991,"description":null}}}}"#
            ),
            [0x4e, 0xd5, 0x3a, 0x91],
        );
        assert_canonical(
            moved(id, &body(r#"{"amount":1,"description":""}"#), AccountCommand::Withdraw),
            &format!(r#"{{"Withdraw":{{"account_id":"{ADA}","amount":1,"description":""}}}}"#),
            [0x1d, 0xbf, 0xbc, 0x30],
        );
    }

    #[test]
    fn the_fingerprint_of_a_closing_is_that_of_version_0_1_0() {
        assert_canonical(
            close(ADA.parse().unwrap(), &body("{}")),
            &format!(r#"{{"Close":{{"account_id":"{ADA}"}}}}"#),
            [0xff, 0x96, 0xce, 0x2a],
        );
    }

    #[test]
    fn a_later_command_is_written_by_serde() {
        let command = &AccountCommand::Deposit(Movement { amount: 7, description: None, transfer_id: None });
        let json = serde_json::to_string(&Canonical::Account { account_id: None, command }).unwrap();
        let movement = r#"{"amount":7,"description":null,"transfer_id":null}"#;
        assert_eq!(
            json,
            format!(r#"{{"Account":{{"account_id":null,"command":{{"Deposit":{movement}}}}}}}"#)
        );
    }

    #[test]
    fn the_fingerprint_of_a_transfer_is_that_of_version_0_1_0() {
        assert_canonical(
            transfer(&body(&format!(r#"{{"amount":7,"from":"{ADA}","to":"{BOB}"}}"#))),
            &format!(
                r#"{{"Transfer":{{"from":"{ADA}","to":"{BOB}","amount":7,"description":null,"transfer_id":null}}}}"#
            ),
            [0x7a, 0x75, 0x36, 0x87],
        );
        let id = "01936d5e-8f2a-7000-8000-000000000003";
        let (upper, rent) = (BOB.to_uppercase(), r#""description":"rent""#);
        let json = format!(r#"{{"to":"{ADA}","from":"{upper}",{rent},"amount":7,"transfer_id":"{id}"}}"#);
        assert_canonical(
            transfer(&body(&json)),
            &format!(
                r#"{{"Transfer":{{"from":"{BOB}","to":"{ADA}","amount":7,{rent},"transfer_id":"{id}"}}}}"#
            ),
            [0xbf, 0x88, 0xb2, 0xe8],
        );
    }
}
