//! The commands of the bank: open, deposit, withdraw, transfer, close.
//!
//! Each prints the receipt, and then the account once the read side has reached the receipt's position: the
//! caller reads what the caller wrote.
//!
//! **Invariant:** a command is sent once, under an idempotency key. When the answer is lost, the error names the
//! key, and the same command line with the key finds out.
//!
//! Read next: `write_side/routes.rs`, the other side of the request.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::arguments::number;
use super::failure::CommandFailure;
use super::queries::account_lines;
use super::services::{READ, WRITE, field};
use super::session::Session;
use super::terminal::{harmless_json, remark};
use crate::limits::MAX_EXACT_INTEGER;

/// Seconds for which the read side may take to show what a command did.
const WAIT_SECONDS: u64 = 5;

/// Opens an account.
pub(super) fn open(session: &Session) -> Result<(), CommandFailure> {
    let owner = session
        .given
        .text("owner")?
        .ok_or_else(|| CommandFailure::usage("expected --owner NAME, got nothing"))?;
    let mut body = Map::new();
    body.insert("owner".into(), owner.into());
    if let Some(currency) = session.given.text("currency")? {
        body.insert("currency".into(), currency.into());
    }
    // Without --id the write side makes the id, and a repeated key finds the account that was opened first.
    if let Some(id) = session.given.parsed::<Uuid>("id", "a UUID")? {
        body.insert("account_id".into(), id.to_string().into());
    }
    execute(session, "/accounts", body)
}

/// Pays money into an account.
pub(super) fn deposit(session: &Session) -> Result<(), CommandFailure> {
    moved(session, "deposit")
}

/// Pays money out of an account.
pub(super) fn withdraw(session: &Session) -> Result<(), CommandFailure> {
    moved(session, "withdraw")
}

fn moved(session: &Session, verb: &str) -> Result<(), CommandFailure> {
    let id = session.id(0, "ID")?;
    execute(session, &format!("/accounts/{id}/{verb}"), movement(session, 1)?)
}

/// Moves money from one account to another.
pub(super) fn transfer(session: &Session) -> Result<(), CommandFailure> {
    // The write side compares the two ids; only it knows both currencies.
    let (from, to) = (session.id(0, "FROM")?, session.id(1, "TO")?);
    let mut body = movement(session, 2)?;
    body.insert("from".into(), from.to_string().into());
    body.insert("to".into(), to.to_string().into());
    execute(session, "/transfers", body)
}

/// Closes an account.
pub(super) fn close(session: &Session) -> Result<(), CommandFailure> {
    let id = session.id(0, "ID")?;
    // The route takes an empty object; its command has no fields.
    execute(session, &format!("/accounts/{id}/close"), Map::new())
}

/// Returns the fields of a movement of money; the amount is the operand of that number.
fn movement(session: &Session, operand: usize) -> Result<Map<String, Value>, CommandFailure> {
    let mut body = Map::new();
    body.insert("amount".into(), amount(session.given.operand_text(operand, "AMOUNT")?)?.into());
    // Absent and empty differ: an empty description would be kept with the event.
    if let Some(description) = session.given.text("description")? {
        body.insert("description".into(), description.into());
    }
    Ok(body)
}

/// Reads an amount: minor units, as in the interface of the services. A decimal point is refused, because the
/// number of decimals depends on the currency.
fn amount(text: &str) -> Result<u64, CommandFailure> {
    if text.contains(['.', ',']) {
        return Err(CommandFailure::usage(format!(
            "AMOUNT: expected a whole number of minor units (1250 cents are 12.50 EUR), got {text:?}"
        )));
    }
    number("AMOUNT", text, &(1..=MAX_EXACT_INTEGER))
}

/// Sends a command, and prints the receipt and the account.
fn execute(session: &Session, path: &str, body: Map<String, Value>) -> Result<(), CommandFailure> {
    // A key in any case: without one, a lost answer could not be looked up.
    let key = match session.given.text("idempotency-key")? {
        Some(key) => key.to_owned(),
        None => Uuid::now_v7().to_string(),
    };
    // For `tally trace`: a request of its own, also when a key is repeated.
    let correlation = Uuid::now_v7().to_string();
    let mut headers = vec![("Idempotency-Key", key.as_str()), ("X-Correlation-Id", correlation.as_str())];
    let version =
        session.given.number("if-match", &(0..=MAX_EXACT_INTEGER))?.map(|version| format!("\"{version}\""));
    headers.extend(version.as_deref().map(|version| ("If-Match", version)));
    let body = Value::Object(body).to_string();
    // The newest instance alone: a command that failed half way must not go to another log.
    let url = &session.services.instances(WRITE)?[0];
    let sent = session.services.send("POST", url, path, &headers, Some(&body));
    let answer = sent.map_err(|failure| {
        let CommandFailure::Failed(what) = &failure else { return failure };
        // The command may have been recorded before the connection broke.
        CommandFailure::failed(format!(
            "{what}; the outcome is not known: the same command with --idempotency-key {key} finds out"
        ))
    })?;
    let receipt = answer.json()?;
    let account = if session.given.has("no-wait") { None } else { shown(session, &receipt) };
    // Both parts are JSON already, and stay as the services wrote them.
    if session.terminal.is_json {
        let account = account.as_deref().unwrap_or("null");
        let text = format!("{{\"receipt\":{},\"account\":{}}}", answer.body.trim(), account.trim());
        return session.terminal.print_json(&text);
    }
    let place = format!(
        "recorded as version {} at position {}",
        field(&receipt, "version"),
        field(&receipt, "position")
    );
    let account = account.and_then(|account| serde_json::from_str(&harmless_json(&account)).ok());
    let account = account.map(|account: Value| account_lines(session.terminal, &account));
    session.terminal.print(&format!(
        "{}\n{}",
        session.terminal.note(&place),
        account.unwrap_or_else(|| {
            format!("account_id  {}\n", field(&receipt, "stream_id").as_str().unwrap_or_default())
        })
    ))
}

/// Waits until the read side has reached the receipt, and returns the account as JSON. The command is recorded
/// in any case, so a read side that is away is a remark and not a failure.
fn shown(session: &Session, receipt: &Value) -> Option<String> {
    let id = field(receipt, "stream_id").as_str()?;
    // A transfer shows the account that paid: its receipt names that stream.
    let path = format!("/accounts/{id}?min_position={}&wait={WAIT_SECONDS}", field(receipt, "position"));
    let why = match session.services.get(READ, &path) {
        Ok(answer) => return Some(answer.body),
        Err(CommandFailure::Refused(refusal)) => refusal.detail,
        Err(CommandFailure::Failed(what) | CommandFailure::Usage(what)) => what,
        Err(CommandFailure::ClosedPipe) => return None,
    };
    remark(&format!("the command is recorded; the read side does not show it yet: {why}"));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_whole_number_of_minor_units() {
        assert!(matches!(amount("1250"), Ok(1250)));
        assert!(amount("9007199254740991").is_ok());
        for wrong in ["12.50", "12,50", "0", "-1", "1e3", "", "9007199254740992", "1_000"] {
            assert!(amount(wrong).is_err(), "{wrong}");
        }
        assert!(format!("{:?}", amount("12.50")).contains("minor units"));
    }
}
