//! The projection `transactions`: every account's history, with the balance after each event.
//!
//! It serves statements and time travel, and it is written for every event, so its tables are
//! made for appending. A row of `transactions` is keyed by its position and names the account's
//! row before it: a statement follows that chain backwards from the account's latest. An index on
//! (account, version) instead would have to be changed all over for every page of events.
//!
//! So that going back far costs the same as going back a little, every [`STRIDE`]th row of an
//! account is a milestone, and only milestones are indexed, by version and by time: any
//! version is fewer than [`STRIDE`] steps behind the milestone after it.
//!
//! Read next: `history.rs`, which reads these tables.

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::memory::{Memory, Write};
use super::step::{Step, no_account, opened_twice};
use crate::account::{AccountCreated, AccountEvent, MoneyMoved};
use crate::es::{Names, Projection, ProjectionError, RecordedEvent, decode};

/// Every so many versions of an account is a milestone. More rows between them make the index
/// smaller and the walk longer: at 32 the walk takes some ten microseconds.
pub(super) const STRIDE: u64 = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct Transactions {
    select: String,
    insert: String,
    update: String,
    append: String,
    add_milestone: String,
    memory: Memory<Row>,
}

/// As much of an account's row as events change.
#[derive(Debug)]
struct Row {
    account: u64,
    step: Step,
    latest: u64,
    /// What is written once, until it is.
    new: Option<New>,
}

#[derive(Debug)]
struct New {
    created: AccountCreated,
    opened_at: String,
}

impl Projection for Transactions {
    const NAME: &'static str = "transactions";
    const VERSION: u32 = 1;
    const TABLES: &'static [&'static str] = &["statements", "transactions", "milestones"];

    fn new(names: &Names) -> Self {
        let [statements, transactions, milestones] =
            ["statements", "transactions", "milestones"].map(|table| names.table(table));
        Self {
            select: format!(
                "SELECT account, version, balance, latest FROM {statements} WHERE account_id = ?1"
            ),
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
            memory: Memory::new(),
        }
    }

    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
        let [statements, transactions, milestones] =
            ["statements", "transactions", "milestones"].map(|table| names.table(table));
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
        match decode(event)? {
            AccountEvent::AccountCreated(created) => self.open(db, event, created),
            AccountEvent::MoneyDeposited(moved) => self.deposit(db, event, &moved),
            AccountEvent::MoneyWithdrawn(moved) => self.withdraw(db, event, &moved),
            AccountEvent::AccountClosed(_) => {
                let entry = self.advance(db, event, |_| Ok(()))?;
                self.append(db, event, &entry, "closed", None)
            }
        }
    }

    fn flush(&mut self, db: &Connection) -> Result<(), ProjectionError> {
        let (mut insert, mut update) = (db.prepare_cached(&self.insert)?, db.prepare_cached(&self.update)?);
        self.memory.flush(|account_id, row, how| {
            let Row { account, step: Step { version, balance }, latest, .. } = *row;
            match (how, row.new.take()) {
                (Write::Insert, Some(New { created, opened_at })) => insert.execute(params![
                    account,
                    account_id.as_bytes(),
                    created.owner,
                    created.currency.as_str(),
                    opened_at,
                    version,
                    balance,
                    latest
                ]),
                (Write::Insert | Write::Update, _) => {
                    update.execute(params![account, version, balance, latest])
                }
            }
            .map(drop)
        })?;
        Ok(())
    }
}

/// Where a new transaction hangs in its account's chain.
struct Entry {
    account: u64,
    previous: u64,
    step: Step,
}

impl Transactions {
    fn open(
        &mut self,
        db: &Connection,
        event: &RecordedEvent<'_>,
        created: AccountCreated,
    ) -> Result<(), ProjectionError> {
        if self.memory.has(event.stream_id, || load(db, &self.select, event.stream_id))? {
            return Err(opened_twice());
        }
        let step = Step::first(event)?;
        let new = Some(New { created, opened_at: event.recorded_at.to_owned() });
        let row = Row { account: event.position, step, latest: event.position, new };
        self.memory.insert(event.stream_id, row);
        self.append(db, event, &Entry { account: event.position, previous: 0, step }, "opened", None)
    }

    fn deposit(
        &mut self,
        db: &Connection,
        event: &RecordedEvent<'_>,
        moved: &MoneyMoved,
    ) -> Result<(), ProjectionError> {
        let entry = self.advance(db, event, |step| step.add(moved.amount))?;
        let kind = if moved.transfer_id.is_some() { "transfer-in" } else { "deposit" };
        self.append(db, event, &entry, kind, Some(moved))
    }

    fn withdraw(
        &mut self,
        db: &Connection,
        event: &RecordedEvent<'_>,
        moved: &MoneyMoved,
    ) -> Result<(), ProjectionError> {
        let entry = self.advance(db, event, |step| step.subtract(moved.amount))?;
        let kind = if moved.transfer_id.is_some() { "transfer-out" } else { "withdrawal" };
        self.append(db, event, &entry, kind, Some(moved))
    }

    /// Takes the account one event further.
    fn advance(
        &mut self,
        db: &Connection,
        event: &RecordedEvent<'_>,
        change: impl FnOnce(&mut Step) -> Result<(), ProjectionError>,
    ) -> Result<Entry, ProjectionError> {
        let row = self.memory.change(event.stream_id, || load(db, &self.select, event.stream_id))?;
        let row = row.ok_or_else(no_account)?;
        row.step.advance(event)?;
        change(&mut row.step)?;
        let previous = std::mem::replace(&mut row.latest, event.position);
        Ok(Entry { account: row.account, previous, step: row.step })
    }

    fn append(
        &self,
        db: &Connection,
        event: &RecordedEvent<'_>,
        entry: &Entry,
        kind: &'static str,
        moved: Option<&MoneyMoved>,
    ) -> Result<(), ProjectionError> {
        db.prepare_cached(&self.append)?.execute(params![
            event.position,
            entry.account,
            event.version,
            entry.previous,
            kind,
            moved.map_or(0, |moved| moved.amount),
            entry.step.balance,
            moved.and_then(|moved| moved.description.as_deref()),
            moved.and_then(|moved| moved.transfer_id.as_ref()).map(|id| id.as_bytes()),
            event.recorded_at,
        ])?;
        if event.version.is_multiple_of(STRIDE) {
            db.prepare_cached(&self.add_milestone)?.execute(params![
                entry.account,
                event.version,
                event.position,
                event.recorded_at
            ])?;
        }
        Ok(())
    }
}

fn load(db: &Connection, select: &str, account_id: Uuid) -> rusqlite::Result<Option<Row>> {
    let row = |row: &rusqlite::Row<'_>| {
        let step = Step { version: row.get(1)?, balance: row.get(2)? };
        Ok(Row { account: row.get(0)?, step, latest: row.get(3)?, new: None })
    };
    db.prepare_cached(select)?.query_row([account_id.as_bytes()], row).optional()
}
