//! The projection `accounts`: each account as it is now.
//!
//! The row's key is the position of the event that opened the account. It is small, it is the
//! order in which accounts are listed, and it is the same after every rebuild.

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::memory::{Memory, Write};
use super::step::{Step, no_account, opened_twice};
use crate::account::{AccountCreated, AccountEvent};
use crate::es::{Names, Projection, ProjectionError, RecordedEvent, decode};

/// See the module.
#[derive(Debug)]
pub(super) struct Accounts {
    select: String,
    insert: String,
    update: String,
    close: String,
    memory: Memory<Row>,
}

/// As much of a row as events change.
#[derive(Debug)]
struct Row {
    opened: u64,
    step: Step,
    is_closed: bool,
    updated_at: String,
    /// What is written once, until it is.
    new: Option<New>,
}

#[derive(Debug)]
struct New {
    created: AccountCreated,
    opened_at: String,
}

pub(super) const OPEN: &str = "open";
pub(super) const CLOSED: &str = "closed";

impl Projection for Accounts {
    const NAME: &'static str = "accounts";
    const VERSION: u32 = 1;
    const TABLES: &'static [&'static str] = &["accounts"];

    fn new(names: &Names) -> Self {
        let table = names.table("accounts");
        Self {
            select: format!(
                "SELECT opened, version, balance, status, updated_at FROM {table} WHERE account_id = ?1"
            ),
            insert: format!(
                "INSERT INTO {table}
                 (opened, account_id, owner, currency, balance, status, version, opened_at, updated_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
            ),
            update: format!(
                "UPDATE {table} SET balance = ?2, version = ?3, updated_at = ?4 WHERE opened = ?1"
            ),
            // To name `status` is to write two indexes again, even when it stays what it was.
            close: format!(
                "UPDATE {table} SET balance = ?2, version = ?3, updated_at = ?4, status = '{CLOSED}' WHERE opened = ?1"
            ),
            memory: Memory::new(),
        }
    }

    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
        let table = names.table("accounts");
        // Each index ends with the key, so that every list is one range of one of them.
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
        match decode(event)? {
            AccountEvent::AccountCreated(created) => self.open(db, event, created),
            AccountEvent::MoneyDeposited(moved) => self.change(db, event, |row| row.step.add(moved.amount)),
            AccountEvent::MoneyWithdrawn(moved) => {
                self.change(db, event, |row| row.step.subtract(moved.amount))
            }
            AccountEvent::AccountClosed(_) => self.change(db, event, |row| {
                row.is_closed = true;
                Ok(())
            }),
        }
    }

    fn flush(&mut self, db: &Connection) -> Result<(), ProjectionError> {
        let mut insert = db.prepare_cached(&self.insert)?;
        let (mut update, mut close) = (db.prepare_cached(&self.update)?, db.prepare_cached(&self.close)?);
        self.memory.flush(|account_id, row, how| {
            let status = if row.is_closed { CLOSED } else { OPEN };
            let Step { version, balance } = row.step;
            match (how, row.new.take()) {
                (Write::Insert, Some(new)) => insert.execute(params![
                    row.opened,
                    account_id.as_bytes(),
                    new.created.owner,
                    new.created.currency.as_str(),
                    balance,
                    status,
                    version,
                    new.opened_at,
                    row.updated_at
                ]),
                (Write::Insert | Write::Update, _) => {
                    let update = if row.is_closed { &mut close } else { &mut update };
                    update.execute(params![row.opened, balance, version, row.updated_at])
                }
            }
            .map(drop)
        })?;
        Ok(())
    }
}

impl Accounts {
    fn open(
        &mut self,
        db: &Connection,
        event: &RecordedEvent<'_>,
        created: AccountCreated,
    ) -> Result<(), ProjectionError> {
        if self.memory.has(event.stream_id, || load(db, &self.select, event.stream_id))? {
            return Err(opened_twice());
        }
        let row = Row {
            opened: event.position,
            step: Step::first(event)?,
            is_closed: false,
            updated_at: event.recorded_at.to_owned(),
            new: Some(New { created, opened_at: event.recorded_at.to_owned() }),
        };
        self.memory.insert(event.stream_id, row);
        Ok(())
    }

    fn change(
        &mut self,
        db: &Connection,
        event: &RecordedEvent<'_>,
        change: impl FnOnce(&mut Row) -> Result<(), ProjectionError>,
    ) -> Result<(), ProjectionError> {
        let row = self.memory.change(event.stream_id, || load(db, &self.select, event.stream_id))?;
        let row = row.ok_or_else(no_account)?;
        row.step.advance(event)?;
        row.updated_at.clear();
        row.updated_at.push_str(event.recorded_at);
        change(row)
    }
}

fn load(db: &Connection, select: &str, account_id: Uuid) -> rusqlite::Result<Option<Row>> {
    let row = |row: &rusqlite::Row<'_>| {
        Ok(Row {
            opened: row.get(0)?,
            step: Step { version: row.get(1)?, balance: row.get(2)? },
            is_closed: row.get_ref(3)?.as_str()? == CLOSED,
            updated_at: row.get(4)?,
            new: None,
        })
    };
    db.prepare_cached(select)?.query_row([account_id.as_bytes()], row).optional()
}
