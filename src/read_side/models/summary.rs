//! The read model `summary`: the bank as a whole, by currency.
//!
//! `deposited` and `withdrawn` are the sums of all deposits and withdrawals, and `held` is the difference. A
//! transfer consists of a withdrawal and a deposit, and counts in both sums.
//!
//! Sums over many accounts can exceed an SQLite INTEGER (1024 full accounts do): they are computed in 128 bits
//! and stored as text.
//!
//! The totals of a transaction are added up in memory, and written once at its end: with a statement for each event
//! instead, a refill of all models fell from 171 000 to 137 000 events/s (`replay_rate` in `src/read_side/tests.rs`).
//!
//! Read next: `accounts.rs`, a model with a cache.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::account_tail::{impossible, no_account};
use super::read_model::{ReadModel, read};
use crate::account::{AccountEvent, Effect};
use crate::es::{Names, Projection, ProjectionError, RecordedEvent, decode};
use crate::http::{Params, Problem, Request, Response};
use crate::read_side::service::ReadSide;

/// The projection and its query.
pub(super) fn model() -> ReadModel {
    ReadModel::of::<Summary>().with_query("/summary", &["min_position", "wait"], summary)
}

// ---------------------------------------------------------------------------- tables and changes

/// The projection, see the module.
#[derive(Debug)]
struct Summary {
    select: String,
    upsert: String,
    add_account: String,
    find_account: String,
    /// The totals changed by the present transaction, by currency.
    changed: BTreeMap<String, Totals>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    accounts: u64,
    open_accounts: u64,
    // Sums over all accounts may exceed 64 bits, and SQLite has no larger integers: the table has texts.
    deposited: i128,
    withdrawn: i128,
}

impl Projection for Summary {
    const NAME: &'static str = "summary";
    // 2: transfers count. Rows of version 1 are rebuilt.
    const VERSION: u32 = 2;
    const TABLES: &'static [&'static str] = &["summary", "summary_accounts"];

    fn new(names: &Names) -> Self {
        let (summary, accounts) = (names.table("summary"), names.table("summary_accounts"));
        Self {
            select: format!(
                "SELECT accounts, open_accounts, deposited, withdrawn FROM {summary} WHERE currency = ?1"
            ),
            upsert: format!(
                "INSERT INTO {summary} (currency, accounts, open_accounts, deposited, withdrawn, held)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (currency) DO UPDATE SET accounts = ?2, open_accounts = ?3, deposited = ?4,
                 withdrawn = ?5, held = ?6"
            ),
            add_account: format!("INSERT INTO {accounts} (account_id, currency) VALUES (?1, ?2)"),
            find_account: format!("SELECT currency FROM {accounts} WHERE account_id = ?1"),
            changed: BTreeMap::new(),
        }
    }

    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
        let (summary, accounts) = (names.table("summary"), names.table("summary_accounts"));
        db.execute_batch(&format!(
            "CREATE TABLE {summary} (
                 currency TEXT PRIMARY KEY,
                 accounts INTEGER NOT NULL,
                 open_accounts INTEGER NOT NULL,
                 deposited TEXT NOT NULL,
                 withdrawn TEXT NOT NULL,
                 held TEXT NOT NULL
             ) STRICT, WITHOUT ROWID;
             -- A closing does not name its currency, and the rows of another projection may be at another event.
             CREATE TABLE {accounts} (
                 account_id BLOB PRIMARY KEY,
                 currency TEXT NOT NULL
             ) STRICT, WITHOUT ROWID;"
        ))
    }

    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        let account_id = event.stream_id.as_bytes();
        match decode::<AccountEvent>(event)?.into_entry().effect {
            Effect::Opened(created) => {
                let currency = created.currency.as_str();
                db.prepare_cached(&self.add_account)?.execute(params![account_id, currency])?;
                let totals = self.totals(db, currency)?;
                totals.accounts += 1;
                totals.open_accounts += 1;
            }
            Effect::In(moved) => {
                self.totals(db, moved.currency.as_str())?.deposited += i128::from(moved.amount);
            }
            Effect::Out(moved) => {
                self.totals(db, moved.currency.as_str())?.withdrawn += i128::from(moved.amount);
            }
            Effect::Closed => {
                let mut find = db.prepare_cached(&self.find_account)?;
                let found = find.query_row([account_id], |row| row.get(0)).optional()?;
                let currency: String = found.ok_or_else(no_account)?;
                let totals = self.totals(db, &currency)?;
                let open = totals.open_accounts.checked_sub(1);
                totals.open_accounts = open.ok_or_else(|| impossible("no account is open"))?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, db: &Connection) -> Result<(), ProjectionError> {
        let mut upsert = db.prepare_cached(&self.upsert)?;
        // Taken, not kept: between two transactions, the database alone has the totals.
        for (currency, totals) in std::mem::take(&mut self.changed) {
            let Totals { accounts, open_accounts, deposited, withdrawn } = totals;
            let [paid_in, paid_out, held] =
                [deposited, withdrawn, deposited - withdrawn].map(|sum| sum.to_string());
            upsert.execute(params![currency, accounts, open_accounts, paid_in, paid_out, held])?;
        }
        Ok(())
    }
}

impl Summary {
    /// Returns the totals of a currency for a change.
    fn totals(&mut self, db: &Connection, currency: &str) -> Result<&mut Totals, ProjectionError> {
        // Not `entry`, which would copy the name of the currency for every event.
        if !self.changed.contains_key(currency) {
            let stored = load(db, &self.select, currency)?.unwrap_or_default();
            self.changed.insert(currency.to_owned(), stored);
        }
        self.changed.get_mut(currency).ok_or_else(|| impossible("no such currency"))
    }
}

fn load(db: &Connection, select: &str, currency: &str) -> Result<Option<Totals>, ProjectionError> {
    let row = |row: &Row<'_>| {
        let sum = |column| {
            row.get_ref(column)?.as_str().map(|text| text.parse::<i128>().ok()).map_err(rusqlite::Error::from)
        };
        Ok((row.get(0)?, row.get(1)?, sum(2)?, sum(3)?))
    };
    match db.prepare_cached(select)?.query_row([currency], row).optional()? {
        None => Ok(None),
        Some((accounts, open_accounts, Some(deposited), Some(withdrawn))) => {
            Ok(Some(Totals { accounts, open_accounts, deposited, withdrawn }))
        }
        Some(_) => Err(impossible(format!("the sums of {currency} are not numbers; rebuild the projection"))),
    }
}

// -------------------------------------------------------------------------------------- query

/// A currency of the summary, field by field as the API answers.
#[derive(Debug, Serialize)]
struct CurrencyView {
    currency: String,
    accounts: u64,
    open_accounts: u64,
    // Decimal text: the sums outgrow the exact numbers of JSON readers.
    deposited: String,
    withdrawn: String,
    held: String,
}

fn summary(service: &ReadSide, _: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Answer {
        currencies: Vec<CurrencyView>,
    }
    read::<Summary, _>(service, params.query(), currencies)?
        .answer(|currencies| Ok(Response::json(200, &Answer { currencies })))
}

/// Returns the bank as a whole, by currency.
fn currencies(db: &Connection) -> rusqlite::Result<Vec<CurrencyView>> {
    let mut query = db.prepare_cached(
        "SELECT currency, accounts, open_accounts, deposited, withdrawn, held FROM summary ORDER BY currency",
    )?;
    let rows = query.query_map([], |row| {
        Ok(CurrencyView {
            currency: row.get(0)?,
            accounts: row.get(1)?,
            open_accounts: row.get(2)?,
            deposited: row.get(3)?,
            withdrawn: row.get(4)?,
            held: row.get(5)?,
        })
    })?;
    rows.collect()
}
