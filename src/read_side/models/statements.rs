//! The read model `transactions`: each account's history, with the balance after each event, for statements
//! and time travel.
//!
//! Every event adds a row, and rows are only appended. The key of a row of `transactions` is the position of
//! the event, and each row names the account's row before: a statement follows the chain backwards from the
//! account's latest row.
//!
//! A walk far back must cost as little as a short walk. Therefore every [`STRIDE`]th row of an account is a
//! milestone, and only milestones are indexed, by version and by time. From the next milestone, every version
//! is fewer than [`STRIDE`] steps away, in a history of any length.
//!
//! Read next: `time_travel.rs`, which reads the milestones.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use uuid::Uuid;

use super::account_tail::{AccountTail, Opening};
use super::reading::{List, optional_text, text};
use super::row_cache::RowCache;
use crate::account::{AccountEntry, AccountEvent, Effect, MoneyMoved};
use crate::es::{Names, Projection, ProjectionError, RecordedEvent, decode};
use crate::read_side::at::{At, Queried};
use crate::read_side::cursor;

/// Versions of an account between two milestones. A larger stride makes the index smaller and the walk longer:
/// at 32 the walk takes some ten microseconds.
pub(super) const STRIDE: u64 = 32;

// ---------------------------------------------------------------------------- tables and changes

/// The projection, see the module.
#[derive(Debug)]
pub(super) struct Transactions {
    insert: String,
    update: String,
    append: String,
    add_milestone: String,
    cache: RowCache<Chain>,
}

/// The columns of `statements` that later events change.
#[derive(Debug)]
struct Chain {
    account: u64,
    tail: AccountTail,
    /// Position of the account's latest transaction.
    latest: u64,
}

impl Projection for Transactions {
    const NAME: &'static str = "transactions";
    const VERSION: u32 = 1;
    const TABLES: &'static [&'static str] = &["statements", "transactions", "milestones"];

    fn new(names: &Names) -> Self {
        let [statements, transactions, milestones] =
            ["statements", "transactions", "milestones"].map(|table| names.table(table));
        let select =
            format!("SELECT account, version, balance, latest FROM {statements} WHERE account_id = ?1");
        Self {
            insert: format!(
                "INSERT INTO {statements}
                 (account, account_id, owner, currency, opened_at, version, balance, latest)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
            ),
            update: format!(
                "UPDATE {statements} SET version = ?2, balance = ?3, latest = ?4 WHERE account = ?1"
            ),
            append: format!(
                "INSERT INTO {transactions} (position, account, version, previous, kind, amount, balance,
                 description, transfer_id, recorded_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
            ),
            add_milestone: format!(
                "INSERT INTO {milestones} (account, version, position, recorded_at) VALUES (?1, ?2, ?3, ?4)"
            ),
            cache: RowCache::new(select, Chain::read),
        }
    }

    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
        let [statements, transactions, milestones] =
            ["statements", "transactions", "milestones"].map(|table| names.table(table));
        // `transactions` has no index on (account, version): a page of events would change pages all over
        // such an index. Appended rows and the small index of milestones stay together.
        db.execute_batch(&format!(
            "CREATE TABLE {statements} (
                 account INTEGER PRIMARY KEY, -- position of the event that opened it
                 account_id BLOB NOT NULL UNIQUE,
                 owner TEXT NOT NULL,
                 currency TEXT NOT NULL,
                 opened_at TEXT NOT NULL,
                 version INTEGER NOT NULL,
                 balance INTEGER NOT NULL,
                 latest INTEGER NOT NULL -- position of its last transaction
             ) STRICT;
             CREATE TABLE {transactions} (
                 position INTEGER PRIMARY KEY,
                 account INTEGER NOT NULL,
                 version INTEGER NOT NULL,
                 previous INTEGER NOT NULL, -- position of the account's transaction before, or 0
                 kind TEXT NOT NULL,
                 amount INTEGER NOT NULL,
                 balance INTEGER NOT NULL,
                 description TEXT,
                 transfer_id BLOB,
                 recorded_at TEXT NOT NULL
             ) STRICT;
             CREATE TABLE {milestones} (
                 account INTEGER NOT NULL,
                 version INTEGER NOT NULL,
                 position INTEGER NOT NULL,
                 recorded_at TEXT NOT NULL,
                 PRIMARY KEY (account, version)
             ) STRICT, WITHOUT ROWID;
             CREATE INDEX {by_time} ON {milestones} (account, recorded_at, version, position);",
            by_time = names.index("milestones_by_time"),
        ))
    }

    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        let AccountEntry { kind, effect } = decode::<AccountEvent>(event)?.into_entry();
        match effect {
            Effect::Opened(created) => {
                self.cache.open(db, event, created, || Chain::first(event))?;
                let (account, tail) = (event.position, AccountTail::first(event)?);
                self.append(db, event, &ChainLink { account, previous: 0, tail }, kind, None)
            }
            Effect::In(moved) => {
                let link = self.advance(db, event, |tail| tail.add(moved.amount))?;
                self.append(db, event, &link, kind, Some(&moved))
            }
            Effect::Out(moved) => {
                let link = self.advance(db, event, |tail| tail.subtract(moved.amount))?;
                self.append(db, event, &link, kind, Some(&moved))
            }
            Effect::Closed => {
                let link = self.advance(db, event, |_| Ok(()))?;
                self.append(db, event, &link, kind, None)
            }
        }
    }

    fn flush(&mut self, db: &Connection) -> Result<(), ProjectionError> {
        let (mut insert, mut update) = (db.prepare_cached(&self.insert)?, db.prepare_cached(&self.update)?);
        self.cache.flush(|account_id, row, opening| {
            let Chain { account, tail: AccountTail { version, balance }, latest } = *row;
            let Some(Opening { created, recorded_at }) = opening else {
                return update.execute(params![account, version, balance, latest]);
            };
            insert.execute(params![
                account,
                account_id.as_bytes(),
                created.owner,
                created.currency.as_str(),
                recorded_at,
                version,
                balance,
                latest
            ])
        })?;
        Ok(())
    }
}

/// The place of a new transaction in the account's chain.
struct ChainLink {
    account: u64,
    previous: u64,
    tail: AccountTail,
}

impl Transactions {
    /// Advances the account's chain by an event.
    fn advance(
        &mut self,
        db: &Connection,
        event: &RecordedEvent<'_>,
        change: impl FnOnce(&mut AccountTail) -> Result<(), ProjectionError>,
    ) -> Result<ChainLink, ProjectionError> {
        let row = self.cache.change(db, event)?;
        row.tail.advance(event)?;
        change(&mut row.tail)?;
        let previous = std::mem::replace(&mut row.latest, event.position);
        Ok(ChainLink { account: row.account, previous, tail: row.tail })
    }

    fn append(
        &self,
        db: &Connection,
        event: &RecordedEvent<'_>,
        link: &ChainLink,
        kind: &'static str,
        moved: Option<&MoneyMoved>,
    ) -> Result<(), ProjectionError> {
        db.prepare_cached(&self.append)?.execute(params![
            event.position,
            link.account,
            event.version,
            link.previous,
            kind,
            // Opening and closing move no money.
            moved.map_or(0, |moved| moved.amount),
            link.tail.balance,
            moved.and_then(|moved| moved.description.as_deref()),
            moved.and_then(|moved| moved.transfer_id.as_ref()).map(|id| id.as_bytes()),
            event.recorded_at,
        ])?;
        // In the same transaction as the row, so a milestone never lacks its row.
        if event.version.is_multiple_of(STRIDE) {
            db.prepare_cached(&self.add_milestone)?.execute(params![
                link.account,
                event.version,
                event.position,
                event.recorded_at
            ])?;
        }
        Ok(())
    }
}

impl Chain {
    fn first(event: &RecordedEvent<'_>) -> Result<Self, ProjectionError> {
        Ok(Self { account: event.position, tail: AccountTail::first(event)?, latest: event.position })
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let tail = AccountTail { version: row.get(1)?, balance: row.get(2)? };
        Ok(Self { account: row.get(0)?, tail, latest: row.get(3)? })
    }
}

// --------------------------------------------------------------------------------- statements

/// The row of an account.
pub(super) struct Statement {
    pub(super) account: u64,
    pub(super) owner: String,
    pub(super) currency: String,
    pub(super) opened_at: String,
    pub(super) version: u64,
    /// Position of the account's latest transaction.
    pub(super) latest: u64,
}

/// Returns the row of an account.
pub(super) fn statement(db: &Connection, account_id: Uuid) -> Queried<Option<Statement>> {
    let mut query = db.prepare_cached(
        "SELECT c.position, s.account, s.owner, s.currency, s.opened_at, s.version, s.latest
         FROM checkpoints c LEFT JOIN statements s ON s.account_id = ?1 WHERE c.name = 'transactions'",
    )?;
    query.query_row([account_id.as_bytes()], |row| {
        // The LEFT JOIN gives the position for an unknown account too.
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
        Ok(At { position: row.get(0)?, value })
    })
}

/// The answer to the query for a page of a statement.
#[derive(Debug)]
pub(in crate::read_side) enum StatementPage {
    Page(Vec<u8>),
    NoAccount,
    /// The cursor does not name a transaction of the account.
    UnknownCursor,
}

/// Returns a page of an account's statement, newest first: from the transaction at position `from`, or from
/// the latest.
pub(in crate::read_side) fn transactions(
    db: &Connection,
    account_id: Uuid,
    from: Option<u64>,
    limit: u64,
) -> Queried<StatementPage> {
    let At { position, value } = statement(db, account_id)?;
    let Some(statement) = value else {
        return Ok(At { position, value: StatementPage::NoAccount });
    };
    let mut list = List::new(format!("{{\"account_id\":\"{account_id}\",\"transactions\":["));
    let mut query = db.prepare_cached(
        "SELECT previous, version, kind, amount, balance, description, transfer_id, recorded_at
         FROM transactions WHERE position = ?1 AND account = ?2",
    )?;
    let mut next = from.unwrap_or(statement.latest);
    // Each row names the row before, so a page costs the same at any place of a long history.
    while next != 0 && !list.is_full(limit) {
        // The account is part of the key, so a cursor cannot lead into another account's chain.
        let previous =
            query.query_row([next, statement.account], |row| push_transaction(&mut list, next, row));
        match previous.optional()? {
            Some(previous) => next = previous,
            None => return Ok(At { position, value: StatementPage::UnknownCursor }),
        }
    }
    let id = account_id.to_string();
    // The first transaction of an account has 0 as the position before.
    let next_cursor = (next != 0).then(|| cursor::encode(&scope(&id), next));
    Ok(At { position, value: StatementPage::Page(list.finish(next_cursor.as_deref())) })
}

/// Returns the scope of the list's cursors.
pub(in crate::read_side) fn scope(account_id: &str) -> [&str; 2] {
    ["transactions", account_id]
}

/// A line of a statement, field by field as the API answers.
#[derive(Debug, Serialize)]
struct TransactionView<'a> {
    position: u64,
    version: u64,
    kind: &'a str,
    amount: u64,
    balance: u64,
    description: Option<&'a str>,
    transfer_id: Option<Uuid>,
    recorded_at: &'a str,
}

/// Adds the transaction to the list, and returns the position of the transaction before.
fn push_transaction(list: &mut List, position: u64, row: &Row<'_>) -> rusqlite::Result<u64> {
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
