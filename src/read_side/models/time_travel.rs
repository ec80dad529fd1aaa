//! Time travel: an account as of an earlier version or time, from the rows of `statements.rs`.
//!
//! The query finds the milestone at or after the moment, and walks back along the account's chain, fewer than
//! [`STRIDE`] steps.
//!
//! Read next: `src/read_side/routes.rs`, which runs the queries.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::accounts::{AccountJson, AccountView, CLOSED, OPEN};
use super::statements::{STRIDE, Statement, statement};
use crate::read_side::at::{At, Queried};

/// A moment in the history of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::read_side) enum Moment {
    /// After the account's event of this version, from 1.
    Version(u64),
    /// After the account's last event up to this time, in the form of `recorded_at`, which sorts as text.
    Time(String),
}

/// Returns the account as of a moment, or `None` before the opening.
pub(in crate::read_side) fn account_then(
    db: &Connection,
    account_id: Uuid,
    moment: &Moment,
) -> Queried<Option<AccountJson>> {
    let At { position, value } = statement(db, account_id)?;
    let value = match value {
        None => None,
        Some(statement) => transaction_then(db, &statement, moment)?
            .map(|last| AccountJson::of(&view_then(account_id, &statement, &last)))
            .transpose()?,
    };
    Ok(At { position, value })
}

fn view_then<'a>(account_id: Uuid, statement: &'a Statement, last: &'a PastTransaction) -> AccountView<'a> {
    AccountView {
        account_id,
        owner: &statement.owner,
        currency: &statement.currency,
        balance: last.balance,
        status: if last.is_closing { CLOSED } else { OPEN },
        version: last.version,
        opened_at: &statement.opened_at,
        updated_at: &last.recorded_at,
    }
}

/// The columns of a transaction for time travel.
struct PastTransaction {
    previous: u64,
    version: u64,
    balance: u64,
    is_closing: bool,
    recorded_at: String,
}

/// Returns the last transaction at or before `moment`.
fn transaction_then(
    db: &Connection,
    statement: &Statement,
    moment: &Moment,
) -> rusqlite::Result<Option<PastTransaction>> {
    let is_later = |found: &PastTransaction| match moment {
        Moment::Version(version) => found.version > *version,
        Moment::Time(time) => found.recorded_at > *time,
    };
    // The account has not reached this version yet.
    if matches!(moment, Moment::Version(version) if *version > statement.version) {
        return Ok(None);
    }
    // Behind the last milestone the walk begins at the end of the chain, fewer than `STRIDE` steps away.
    let start = milestone_after(db, statement.account, moment)?.unwrap_or(statement.latest);
    let mut query = db.prepare_cached(
        "SELECT previous, version, balance, kind = 'closed', recorded_at FROM transactions WHERE position = ?1",
    )?;
    let mut found = past_transaction(&mut query, start)?;
    while let Some(later) = found.as_ref().filter(|found| is_later(found)) {
        let previous = later.previous;
        found = past_transaction(&mut query, previous)?;
    }
    Ok(found)
}

fn past_transaction(
    query: &mut CachedStatement<'_>,
    position: u64,
) -> rusqlite::Result<Option<PastTransaction>> {
    let found = query.query_row([position], |row| {
        Ok(PastTransaction {
            previous: row.get(0)?,
            version: row.get(1)?,
            balance: row.get(2)?,
            is_closing: row.get(3)?,
            recorded_at: row.get(4)?,
        })
    });
    found.optional()
}

/// Returns the position of a milestone at or after the wanted transaction, by fewer than [`STRIDE`] steps.
/// After the last milestone, `None`: the walk then starts at the latest transaction.
fn milestone_after(db: &Connection, account: u64, moment: &Moment) -> rusqlite::Result<Option<u64>> {
    let position = |row: &Row<'_>| row.get(0);
    match moment {
        Moment::Version(version) => db
            .prepare_cached("SELECT position FROM milestones WHERE account = ?1 AND version = ?2")?
            .query_row([account, version.next_multiple_of(STRIDE)], position),
        // The first milestone after the time: the wanted transaction is older than this milestone, and not
        // older than the milestone before.
        Moment::Time(time) => db
            .prepare_cached(
                "SELECT position FROM milestones WHERE account = ?1 AND recorded_at > ?2
                 ORDER BY recorded_at, version LIMIT 1",
            )?
            .query_row(params![account, time], position),
    }
    .optional()
}
