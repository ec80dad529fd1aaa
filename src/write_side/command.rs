//! Commands as clients send them: from a request to a [`Command`], and from a command to what the
//! domain decides. The domain's rules are not here; this only asks.

use serde::Serialize;
use uuid::Uuid;

use super::precondition::Precondition;
use crate::account::{Account, AccountCommand, Currency, MAX_AMOUNT, Movement, Rejection, decide_transfer};
use crate::es::{ExecuteError, IdempotencyKey, Work};
use crate::http::{Fields, Problem, required};

/// Most characters of an owner.
const MAX_OWNER: usize = 200;
/// Most characters of a description.
const MAX_DESCRIPTION: usize = 500;

/// Begins the key under which a transfer's id is kept. Clients' keys have no space, so no client can use
/// such a key.
pub(super) const TRANSFER_KEY: &str = "transfer ";

/// What a client asks for. It serialises into the form by which a repeated command is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Command {
    Open { account_id: Option<Uuid>, owner: String, currency: Currency },
    Deposit { account_id: Uuid, amount: u64, description: Option<String> },
    Withdraw { account_id: Uuid, amount: u64, description: Option<String> },
    Close { account_id: Uuid },
    Transfer { from: Uuid, to: Uuid, amount: u64, description: Option<String>, transfer_id: Option<Uuid> },
}

impl Command {
    pub(super) fn open(mut fields: Fields) -> Result<Self, Problem> {
        let owner = owner(&mut fields)?;
        let currency = match fields.text("currency")? {
            None => Currency::default(),
            Some(text) => {
                Currency::try_from(&*text).map_err(|error| Problem::invalid_field("currency", error))?
            }
        };
        let account_id = fields.uuid("account_id")?;
        fields.finish()?;
        Ok(Self::Open { account_id, owner, currency })
    }

    pub(super) fn deposit(account_id: Uuid, mut fields: Fields) -> Result<Self, Problem> {
        let (amount, description) = (amount(&mut fields)?, description(&mut fields)?);
        fields.finish()?;
        Ok(Self::Deposit { account_id, amount, description })
    }

    pub(super) fn withdraw(account_id: Uuid, mut fields: Fields) -> Result<Self, Problem> {
        let (amount, description) = (amount(&mut fields)?, description(&mut fields)?);
        fields.finish()?;
        Ok(Self::Withdraw { account_id, amount, description })
    }

    pub(super) fn close(account_id: Uuid, fields: Fields) -> Result<Self, Problem> {
        fields.finish()?;
        Ok(Self::Close { account_id })
    }

    pub(super) fn transfer(mut fields: Fields) -> Result<Self, Problem> {
        let from = required("from", fields.uuid("from")?)?;
        let to = required("to", fields.uuid("to")?)?;
        let (amount, description) = (amount(&mut fields)?, description(&mut fields)?);
        let transfer_id = fields.uuid("transfer_id")?;
        fields.finish()?;
        Ok(Self::Transfer { from, to, amount, description, transfer_id })
    }

    /// The transfer with an id: the client's, or a new one.
    pub(super) fn with_transfer_id(self) -> Self {
        match self {
            Self::Transfer { from, to, amount, description, transfer_id } => {
                let transfer_id = Some(transfer_id.unwrap_or_else(Uuid::now_v7));
                Self::Transfer { from, to, amount, description, transfer_id }
            }
            other @ (Self::Open { .. }
            | Self::Deposit { .. }
            | Self::Withdraw { .. }
            | Self::Close { .. }) => other,
        }
    }

    /// The name that the command has by itself: a transfer with an id is that transfer for ever.
    pub(super) fn own_key(&self) -> serde_json::Result<Option<IdempotencyKey>> {
        match self {
            Self::Transfer { transfer_id: Some(id), .. } => {
                IdempotencyKey::of(format!("{TRANSFER_KEY}{id}"), self).map(Some)
            }
            Self::Transfer { transfer_id: None, .. }
            | Self::Open { .. }
            | Self::Deposit { .. }
            | Self::Withdraw { .. }
            | Self::Close { .. } => Ok(None),
        }
    }

    /// Runs the command on the writer thread. Returns the account that its receipt names.
    pub(super) fn run(
        self,
        precondition: &Precondition,
        work: &mut Work<'_>,
    ) -> Result<Uuid, ExecuteError<Rejection>> {
        let movement = |amount, description, transfer_id| Movement { amount, description, transfer_id };
        let (account_id, command) = match self {
            Self::Open { account_id, owner, currency } => {
                (account_id.unwrap_or_else(Uuid::now_v7), AccountCommand::Open { owner, currency })
            }
            Self::Deposit { account_id, amount, description } => {
                (account_id, AccountCommand::Deposit(movement(amount, description, None)))
            }
            Self::Withdraw { account_id, amount, description } => {
                (account_id, AccountCommand::Withdraw(movement(amount, description, None)))
            }
            Self::Close { account_id } => (account_id, AccountCommand::Close),
            Self::Transfer { from, to, amount, description, transfer_id } => {
                return transfer(from, to, movement(amount, description, transfer_id), precondition, work);
            }
        };
        precondition.check(account_id, &command, work)?;
        work.execute::<Account>(account_id, &command)?;
        Ok(account_id)
    }
}

/// Both accounts or neither: what is staged before an error is never recorded.
fn transfer(
    from: Uuid,
    to: Uuid,
    movement: Movement,
    precondition: &Precondition,
    work: &mut Work<'_>,
) -> Result<Uuid, ExecuteError<Rejection>> {
    if from == to {
        return Err(ExecuteError::Rejected(Rejection::SameAccount));
    }
    precondition.check(from, &AccountCommand::Withdraw(movement.clone()), work)?;
    let source = work.load::<Account>(from)?.0.clone();
    let target = work.load::<Account>(to)?.0;
    let (withdrawn, deposited) =
        decide_transfer(&source, target, movement).map_err(ExecuteError::Rejected)?;
    work.append::<Account>(from, withdrawn)?;
    work.append::<Account>(to, deposited)?;
    Ok(from)
}

fn owner(fields: &mut Fields) -> Result<String, Problem> {
    let owner = required("owner", fields.text("owner")?)?;
    let lawful = (1..=MAX_OWNER).contains(&owner.chars().count()) && !owner.contains(char::is_control);
    if !lawful {
        let range = format!("must have 1 to {MAX_OWNER} characters and no control characters");
        return Err(Problem::invalid_field("owner", range));
    }
    Ok(owner)
}

fn amount(fields: &mut Fields) -> Result<u64, Problem> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Request;

    const ADA: &str = "01936d5e-8f2a-7000-8000-000000000001";
    const BOB: &str = "01936d5e-8f2a-7000-8000-000000000002";

    fn fields(body: &str) -> Fields {
        Fields::of(&Request::post("/", body)).unwrap()
    }

    /// Checks the canonical form of a command, and the first four bytes of its SHA-256.
    #[track_caller]
    fn assert_canonical(command: Result<Command, Problem>, json: &str, fingerprint: [u8; 4]) {
        let command = command.unwrap();
        assert_eq!(serde_json::to_string(&command).unwrap(), json);
        assert_eq!(IdempotencyKey::of("key", &command).unwrap().command[..4], fingerprint);
    }

    // Version 0.1.0 has stored receipts under these fingerprints: none may ever change.

    #[test]
    fn the_fingerprint_of_an_opening_is_that_of_version_0_1_0() {
        assert_canonical(
            Command::open(fields(r#"{"owner":"Ada"}"#)),
            r#"{"Open":{"account_id":null,"owner":"Ada","currency":"EUR"}}"#,
            [0xec, 0xff, 0xf2, 0xc7],
        );
        let body = format!(r#"{{"currency":"USD","account_id":"{ADA}","owner":"Ada \"L\" Löv"}}"#);
        assert_canonical(
            Command::open(fields(&body)),
            &format!(r#"{{"Open":{{"account_id":"{ADA}","owner":"Ada \"L\" Löv","currency":"USD"}}}}"#),
            [0x03, 0x47, 0xd8, 0x36],
        );
    }

    #[test]
    fn the_fingerprint_of_a_movement_is_that_of_version_0_1_0() {
        let id: Uuid = ADA.parse().unwrap();
        assert_canonical(
            Command::deposit(id, fields(r#"{"amount":1250}"#)),
            &format!(r#"{{"Deposit":{{"account_id":"{ADA}","amount":1250,"description":null}}}}"#),
            [0x73, 0x23, 0x10, 0xa1],
        );
        assert_canonical(
            Command::deposit(id, fields(r#"{"description":"salary","amount":1250}"#)),
            &format!(r#"{{"Deposit":{{"account_id":"{ADA}","amount":1250,"description":"salary"}}}}"#),
            [0x21, 0x1d, 0xd3, 0x82],
        );
        assert_canonical(
            Command::withdraw(id, fields(r#"{"amount":9007199254740991}"#)),
            &format!(
                r#"{{"Withdraw":{{"account_id":"{ADA}","amount":9007199254740991,"description":null}}}}"#
            ),
            [0x4e, 0xd5, 0x3a, 0x91],
        );
        assert_canonical(
            Command::withdraw(id, fields(r#"{"amount":1,"description":""}"#)),
            &format!(r#"{{"Withdraw":{{"account_id":"{ADA}","amount":1,"description":""}}}}"#),
            [0x1d, 0xbf, 0xbc, 0x30],
        );
    }

    #[test]
    fn the_fingerprint_of_a_closing_is_that_of_version_0_1_0() {
        assert_canonical(
            Command::close(ADA.parse().unwrap(), fields("{}")),
            &format!(r#"{{"Close":{{"account_id":"{ADA}"}}}}"#),
            [0xff, 0x96, 0xce, 0x2a],
        );
    }

    #[test]
    fn the_fingerprint_of_a_transfer_is_that_of_version_0_1_0() {
        assert_canonical(
            Command::transfer(fields(&format!(r#"{{"amount":7,"from":"{ADA}","to":"{BOB}"}}"#))),
            &format!(
                r#"{{"Transfer":{{"from":"{ADA}","to":"{BOB}","amount":7,"description":null,"transfer_id":null}}}}"#
            ),
            [0x7a, 0x75, 0x36, 0x87],
        );
        let id = "01936d5e-8f2a-7000-8000-000000000003";
        let (upper, rent) = (BOB.to_uppercase(), r#""description":"rent""#);
        let body = format!(r#"{{"to":"{ADA}","from":"{upper}",{rent},"amount":7,"transfer_id":"{id}"}}"#);
        assert_canonical(
            Command::transfer(fields(&body)),
            &format!(
                r#"{{"Transfer":{{"from":"{BOB}","to":"{ADA}","amount":7,{rent},"transfer_id":"{id}"}}}}"#
            ),
            [0xbf, 0x88, 0xb2, 0xe8],
        );
    }
}
