//! Queries on `transactions`: statements and time travel.
//!
//! A statement follows the account's chain of transactions backwards. Time travel finds the
//! milestone at or after the version or time that is asked for, and goes back from there, fewer
//! than [`STRIDE`] steps: the cost does not depend on how long the history is.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use uuid::Uuid;

use super::accounts::{CLOSED, OPEN};
use super::cursor;
use super::queries::{AccountJson, Fresh};
use super::transactions::STRIDE;
use super::views::{AccountView, List, TransactionView, optional_text, text};

/// The row of an account, and where its chain begins.
struct Statement {
    account: u64,
    owner: String,
    currency: String,
    opened_at: String,
    version: u64,
    latest: u64,
}

fn statement(db: &Connection, account_id: Uuid) -> rusqlite::Result<Fresh<Option<Statement>>> {
    let mut query = db.prepare_cached(
        "SELECT c.position, s.account, s.owner, s.currency, s.opened_at, s.version, s.latest
         FROM checkpoints c LEFT JOIN statements s ON s.account_id = ?1 WHERE c.name = 'transactions'",
    )?;
    query.query_row([account_id.as_bytes()], |row| {
        let value = match row.get::<_, Option<u64>>(1)? {
            None => None,
            Some(account) => Some(Statement {
                account,
                owner: row.get(2)?,
                currency: row.get(3)?,
                opened_at: row.get(4)?,
                version: row.get(5)?,
                latest: row.get(6)?,
            }),
        };
        Ok(Fresh { position: row.get(0)?, value })
    })
}

/// What a page of a statement can be.
#[derive(Debug)]
pub(super) enum StatementPage {
    Page(Vec<u8>),
    NoAccount,
    /// The cursor is none of this account's.
    NoSuchCursor,
}

/// A page of an account's statement, newest first: from its latest transaction, or from the one
/// at position `from`.
pub(super) fn transactions(
    db: &Connection,
    account_id: Uuid,
    from: Option<u64>,
    limit: u64,
) -> rusqlite::Result<Fresh<StatementPage>> {
    let Fresh { position, value } = statement(db, account_id)?;
    let Some(statement) = value else {
        return Ok(Fresh { position, value: StatementPage::NoAccount });
    };
    let mut list = List::new(format!("{{\"account_id\":\"{account_id}\",\"transactions\":["));
    let mut query = db.prepare_cached(
        "SELECT previous, version, kind, amount, balance, description, transfer_id, recorded_at
         FROM transactions WHERE position = ?1 AND account = ?2",
    )?;
    let mut next = from.unwrap_or(statement.latest);
    while next != 0 && !list.is_full(limit) {
        let previous =
            query.query_row([next, statement.account], |row| push_transaction(&mut list, next, row));
        match previous.optional()? {
            Some(previous) => next = previous,
            None => return Ok(Fresh { position, value: StatementPage::NoSuchCursor }),
        }
    }
    let id = account_id.to_string();
    let next_cursor = (next != 0).then(|| cursor::encode(&scope(&id), next));
    Ok(Fresh { position, value: StatementPage::Page(list.finish(next_cursor.as_deref())) })
}

/// Names the list for its cursors.
pub(super) fn scope(account_id: &str) -> [&str; 2] {
    ["transactions", account_id]
}

fn push_transaction(list: &mut List, position: u64, row: &rusqlite::Row<'_>) -> rusqlite::Result<u64> {
    let transfer_id: Option<[u8; 16]> = row.get(6)?;
    list.push(&TransactionView {
        position,
        version: row.get(1)?,
        kind: text(row, 2)?,
        amount: row.get(3)?,
        balance: row.get(4)?,
        description: optional_text(row, 5)?,
        transfer_id: transfer_id.map(Uuid::from_bytes),
        recorded_at: text(row, 7)?,
    })?;
    row.get(0)
}

/// A moment in the history of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// After its event of that version, from 1.
    Version(u64),
    /// After its last event that was recorded at or before that time, in the form of
    /// `recorded_at`, which sorts as text.
    Time(String),
}

/// The account as it was then; nothing where it did not exist yet.
pub(super) fn account_then(
    db: &Connection,
    account_id: Uuid,
    moment: &Moment,
) -> rusqlite::Result<Fresh<Option<AccountJson>>> {
    let Fresh { position, value } = statement(db, account_id)?;
    let value = match value {
        None => None,
        Some(statement) => entry_then(db, &statement, moment)?
            .map(|entry| AccountJson::of(&view_then(account_id, &statement, &entry)))
            .transpose()?,
    };
    Ok(Fresh { position, value })
}

fn view_then<'a>(account_id: Uuid, statement: &'a Statement, entry: &'a Entry) -> AccountView<'a> {
    AccountView {
        account_id,
        owner: &statement.owner,
        currency: &statement.currency,
        balance: entry.balance,
        status: if entry.is_closing { CLOSED } else { OPEN },
        version: entry.version,
        opened_at: &statement.opened_at,
        updated_at: &entry.recorded_at,
    }
}

/// As much of a transaction as time travel needs.
struct Entry {
    previous: u64,
    version: u64,
    balance: u64,
    is_closing: bool,
    recorded_at: String,
}

/// The last transaction at or before `moment`.
fn entry_then(db: &Connection, statement: &Statement, moment: &Moment) -> rusqlite::Result<Option<Entry>> {
    let is_later = |entry: &Entry| match moment {
        Moment::Version(version) => entry.version > *version,
        Moment::Time(time) => entry.recorded_at > *time,
    };
    // A version that is not reached yet did not exist then, nor does it now.
    if matches!(moment, Moment::Version(version) if *version > statement.version) {
        return Ok(None);
    }
    let start = milestone_after(db, statement.account, moment)?.unwrap_or(statement.latest);
    let mut query = db.prepare_cached(
        "SELECT previous, version, balance, kind = 'closed', recorded_at FROM transactions WHERE position = ?1",
    )?;
    let mut entry = entry(&mut query, start)?;
    while let Some(later) = entry.as_ref().filter(|entry| is_later(entry)) {
        let previous = later.previous;
        entry = self::entry(&mut query, previous)?;
    }
    Ok(entry)
}

fn entry(query: &mut CachedStatement<'_>, position: u64) -> rusqlite::Result<Option<Entry>> {
    let entry = query.query_row([position], |row| {
        Ok(Entry {
            previous: row.get(0)?,
            version: row.get(1)?,
            balance: row.get(2)?,
            is_closing: row.get(3)?,
            recorded_at: row.get(4)?,
        })
    });
    entry.optional()
}

/// The position of a milestone that is not before the entry wanted, and fewer than [`STRIDE`]
/// steps after it; none behind the last milestone.
fn milestone_after(db: &Connection, account: u64, moment: &Moment) -> rusqlite::Result<Option<u64>> {
    let position = |row: &rusqlite::Row<'_>| row.get(0);
    match moment {
        Moment::Version(version) => db
            .prepare_cached("SELECT position FROM milestones WHERE account = ?1 AND version = ?2")?
            .query_row([account, version.next_multiple_of(STRIDE)], position),
        // The first one after that time: the entry wanted is before it, and at or after the one before.
        Moment::Time(time) => db
            .prepare_cached(
                "SELECT position FROM milestones WHERE account = ?1 AND recorded_at > ?2
                 ORDER BY recorded_at, version LIMIT 1",
            )?
            .query_row(params![account, time], position),
    }
    .optional()
}
