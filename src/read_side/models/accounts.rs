//! The read model `accounts`: the present state of each account, and the lists of accounts.
//!
//! The row's key is the position of the account's first event. The key is small, gives the order of the
//! lists, and is the same after every rebuild.
//!
//! The model keeps recent rows in a cache, and writes each changed row once a transaction, not once an event.
//! `summary.rs` is a smaller model.
//!
//! Read next: `row_cache.rs`, then `statements.rs`.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};
use serde::Serialize;
use uuid::Uuid;

use super::account_tail::{AccountTail, Opening};
use super::reading::{List, position_of, text, write_json};
use super::row_cache::RowCache;
use crate::account::{AccountEvent, Effect};
use crate::es::{Names, Projection, ProjectionError, RecordedEvent, decode};
use crate::read_side::at::{At, Queried};
use crate::read_side::cursor;

pub(super) const OPEN: &str = "open";
pub(super) const CLOSED: &str = "closed";

// ---------------------------------------------------------------------------- tables and changes

/// The projection, see the module.
#[derive(Debug)]
pub(super) struct Accounts {
    insert: String,
    update: String,
    close: String,
    cache: RowCache<AccountRow>,
}

/// The columns that later events change.
#[derive(Debug)]
struct AccountRow {
    opened: u64,
    tail: AccountTail,
    is_closed: bool,
    updated_at: String,
}

impl Projection for Accounts {
    const NAME: &'static str = "accounts";
    const VERSION: u32 = 1;
    const TABLES: &'static [&'static str] = &["accounts"];

    fn new(names: &Names) -> Self {
        let table = names.table("accounts");
        let select =
            format!("SELECT opened, version, balance, status, updated_at FROM {table} WHERE account_id = ?1");
        Self {
            insert: format!(
                "INSERT INTO {table}
                 (opened, account_id, owner, currency, balance, status, version, opened_at, updated_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
            ),
            update: format!(
                "UPDATE {table} SET balance = ?2, version = ?3, updated_at = ?4 WHERE opened = ?1"
            ),
            // Not a part of `update`: SQLite rewrites two indexes for each statement with `status`, even for an
            // equal value.
            close: format!(
                "UPDATE {table} SET balance = ?2, version = ?3, updated_at = ?4, status = '{CLOSED}' WHERE opened = ?1"
            ),
            cache: RowCache::new(select, AccountRow::read),
        }
    }

    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
        let table = names.table("accounts");
        // Each index ends with the key of the table: each list is a range of an index.
        db.execute_batch(&format!(
            "CREATE TABLE {table} (
                 opened INTEGER PRIMARY KEY,
                 account_id BLOB NOT NULL UNIQUE,
                 owner TEXT NOT NULL,
                 currency TEXT NOT NULL,
                 balance INTEGER NOT NULL,
                 status TEXT NOT NULL,
                 version INTEGER NOT NULL,
                 opened_at TEXT NOT NULL,
                 updated_at TEXT NOT NULL
             ) STRICT;
             CREATE INDEX {by_owner} ON {table} (owner);
             CREATE INDEX {by_owner_and_status} ON {table} (owner, status);
             CREATE INDEX {by_status} ON {table} (status);",
            by_owner = names.index("accounts_by_owner"),
            by_owner_and_status = names.index("accounts_by_owner_and_status"),
            by_status = names.index("accounts_by_status"),
        ))
    }

    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        match decode::<AccountEvent>(event)?.into_entry().effect {
            Effect::Opened(created) => self.cache.open(db, event, created, || AccountRow::first(event)),
            Effect::In(moved) => self.change(db, event, |row| row.tail.add(moved.amount)),
            Effect::Out(moved) => self.change(db, event, |row| row.tail.subtract(moved.amount)),
            Effect::Closed => self.change(db, event, |row| {
                row.is_closed = true;
                Ok(())
            }),
        }
    }

    fn flush(&mut self, db: &Connection) -> Result<(), ProjectionError> {
        let mut insert = db.prepare_cached(&self.insert)?;
        let (mut update, mut close) = (db.prepare_cached(&self.update)?, db.prepare_cached(&self.close)?);
        self.cache.flush(|account_id, row, opening| {
            let AccountTail { version, balance } = row.tail;
            let Some(Opening { created, recorded_at }) = opening else {
                let update = if row.is_closed { &mut close } else { &mut update };
                return update.execute(params![row.opened, balance, version, row.updated_at]);
            };
            // Opening and closing may come in the same transaction.
            let status = if row.is_closed { CLOSED } else { OPEN };
            insert.execute(params![
                row.opened,
                account_id.as_bytes(),
                created.owner,
                created.currency.as_str(),
                balance,
                status,
                version,
                recorded_at,
                row.updated_at
            ])
        })?;
        Ok(())
    }
}

impl Accounts {
    fn change(
        &mut self,
        db: &Connection,
        event: &RecordedEvent<'_>,
        change: impl FnOnce(&mut AccountRow) -> Result<(), ProjectionError>,
    ) -> Result<(), ProjectionError> {
        let row = self.cache.change(db, event)?;
        row.tail.advance(event)?;
        // The old allocation is reused: this line runs for every event.
        row.updated_at.clear();
        row.updated_at.push_str(event.recorded_at);
        change(row)
    }
}

impl AccountRow {
    fn first(event: &RecordedEvent<'_>) -> Result<Self, ProjectionError> {
        let (opened, tail) = (event.position, AccountTail::first(event)?);
        Ok(Self { opened, tail, is_closed: false, updated_at: event.recorded_at.to_owned() })
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            opened: row.get(0)?,
            tail: AccountTail { version: row.get(1)?, balance: row.get(2)? },
            is_closed: row.get_ref(3)?.as_str()? == CLOSED,
            updated_at: row.get(4)?,
        })
    }
}

// ------------------------------------------------------------------------------------ queries

/// An account, now or at an earlier moment, field by field as the API answers.
#[derive(Debug, Serialize)]
pub(super) struct AccountView<'a> {
    pub(super) account_id: Uuid,
    pub(super) owner: &'a str,
    pub(super) currency: &'a str,
    pub(super) balance: u64,
    pub(super) status: &'a str,
    pub(super) version: u64,
    pub(super) opened_at: &'a str,
    pub(super) updated_at: &'a str,
}

/// An account as JSON, and the version for the `ETag`.
#[derive(Debug)]
pub(in crate::read_side) struct AccountJson {
    pub(in crate::read_side) version: u64,
    pub(in crate::read_side) json: Vec<u8>,
}

impl AccountJson {
    pub(super) fn of(view: &AccountView<'_>) -> rusqlite::Result<Self> {
        // An account of usual size fits without a second allocation.
        let mut json = Vec::with_capacity(320);
        write_json(&mut json, view)?;
        Ok(Self { version: view.version, json })
    }
}

/// Returns the account, in a single statement: a bank runs this query more often than all others.
pub(in crate::read_side) fn account(db: &Connection, account_id: Uuid) -> Queried<Option<AccountJson>> {
    let mut query = db.prepare_cached(
        "SELECT c.position, a.owner, a.currency, a.balance, a.status, a.version, a.opened_at, a.updated_at
         FROM checkpoints c LEFT JOIN accounts a ON a.account_id = ?1 WHERE c.name = 'accounts'",
    )?;
    query.query_row([account_id.as_bytes()], |row| {
        // The LEFT JOIN gives a row of NULLs for an unknown account, with the position of that answer.
        let found = row.get_ref(1)? != ValueRef::Null;
        let json = found.then(|| AccountJson::of(&account_view(row, account_id)?)).transpose()?;
        Ok(At { position: row.get(0)?, value: json })
    })
}

/// Reads columns 1 to 7 of the query above and of the lists below.
fn account_view<'r>(row: &'r Row<'_>, account_id: Uuid) -> rusqlite::Result<AccountView<'r>> {
    Ok(AccountView {
        account_id,
        owner: text(row, 1)?,
        currency: text(row, 2)?,
        balance: row.get(3)?,
        status: text(row, 4)?,
        version: row.get(5)?,
        opened_at: text(row, 6)?,
        updated_at: text(row, 7)?,
    })
}

/// The filters of a list of accounts.
#[derive(Clone, Copy, Debug)]
pub(in crate::read_side) struct Filter<'a> {
    pub(in crate::read_side) owner: Option<&'a str>,
    pub(in crate::read_side) status: Option<&'a str>,
}

impl<'a> Filter<'a> {
    /// Returns whether the status, if any, is a status of accounts.
    pub(in crate::read_side) fn is_valid(&self) -> bool {
        self.status.is_none_or(|status| [OPEN, CLOSED].contains(&status))
    }

    /// Returns the scope of the list's cursors: an absent filter differs from an empty filter.
    pub(in crate::read_side) fn scope(&self) -> [&'a str; 5] {
        let given = |filter: Option<&str>| if filter.is_some() { "=" } else { "" };
        let (owner, status) = (self.owner, self.status);
        ["accounts", given(owner), owner.unwrap_or(""), given(status), status.unwrap_or("")]
    }

    /// Returns the statement for this combination of filters. Each statement reads a range of an index.
    pub(in crate::read_side) fn sql(&self) -> &'static str {
        macro_rules! list {
            ($filter:literal) => {
                concat!(
                    "SELECT opened, owner, currency, balance, status, version, opened_at, updated_at, account_id ",
                    "FROM accounts WHERE opened > ?1 ",
                    $filter,
                    " ORDER BY opened LIMIT ?2"
                )
            };
        }
        // Each statement names all four parameters: the caller binds them alike.
        match (self.owner, self.status) {
            (None, None) => list!("AND (?3, ?4) IS (NULL, NULL)"),
            (Some(_), None) => list!("AND owner = ?3 AND ?4 IS NULL"),
            (None, Some(_)) => list!("AND status = ?4 AND ?3 IS NULL"),
            (Some(_), Some(_)) => list!("AND owner = ?3 AND status = ?4"),
        }
    }
}

/// Returns a page of accounts, in the order of their openings: the accounts opened after position `after`.
pub(in crate::read_side) fn accounts(
    db: &Connection,
    filter: &Filter<'_>,
    after: u64,
    limit: u64,
) -> Queried<Vec<u8>> {
    let position = position_of(db, Accounts::NAME)?;
    let mut list = List::new("{\"accounts\":[".to_owned());
    let mut last = 0;
    let mut query = db.prepare_cached(filter.sql())?;
    // A row beyond the limit shows that a next page exists.
    let mut rows = query.query(params![after, limit + 1, filter.owner, filter.status])?;
    let mut next_cursor = None;
    while let Some(row) = rows.next()? {
        if list.is_full(limit) {
            next_cursor = Some(cursor::encode(&filter.scope(), last));
            break;
        }
        last = row.get(0)?;
        list.push(&account_view(row, Uuid::from_bytes(row.get(8)?))?)?;
    }
    Ok(At { position, value: list.finish(next_cursor.as_deref()) })
}
