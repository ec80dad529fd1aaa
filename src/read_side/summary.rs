//! The projection `summary`: the bank as a whole, by currency.
//!
//! `deposited` and `withdrawn` are the sums of all deposits and withdrawals. A transfer is one of
//! each, as its events are, so it adds to both; what is `held` is their difference.
//!
//! Sums over many accounts can exceed what an INTEGER holds (1024 full accounts do), so they are
//! added up in 128 bits and stored as text.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::step::{impossible, no_account};
use crate::account::AccountEvent;
use crate::es::{Names, Projection, ProjectionError, RecordedEvent, decode};

/// See the module.
#[derive(Debug)]
pub(super) struct Summary {
    select: String,
    upsert: String,
    add_account: String,
    find_account: String,
    /// Every currency that was met, of at most 26^3.
    totals: BTreeMap<String, (Totals, Change)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    accounts: u64,
    open_accounts: u64,
    deposited: i128,
    withdrawn: i128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Stored,
    Pending,
}

impl Projection for Summary {
    const NAME: &'static str = "summary";
    // 2: transfers count. Rows that were made before are made again.
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
            totals: BTreeMap::new(),
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
             -- A closing does not say its currency, and another projection's rows may be elsewhere.
             CREATE TABLE {accounts} (
                 account_id BLOB PRIMARY KEY,
                 currency TEXT NOT NULL
             ) STRICT, WITHOUT ROWID;"
        ))
    }

    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        match decode(event)? {
            AccountEvent::AccountCreated(created) => {
                let currency = created.currency.as_str();
                let account_id = event.stream_id.as_bytes();
                db.prepare_cached(&self.add_account)?.execute(params![account_id, currency])?;
                let totals = self.totals(db, currency)?;
                totals.accounts += 1;
                totals.open_accounts += 1;
            }
            AccountEvent::MoneyDeposited(moved) => {
                self.totals(db, moved.currency.as_str())?.deposited += i128::from(moved.amount);
            }
            AccountEvent::MoneyWithdrawn(moved) => {
                self.totals(db, moved.currency.as_str())?.withdrawn += i128::from(moved.amount);
            }
            AccountEvent::AccountClosed(_) => {
                let mut find = db.prepare_cached(&self.find_account)?;
                let found = find.query_row([event.stream_id.as_bytes()], |row| row.get(0));
                let currency: String = found.optional()?.ok_or_else(no_account)?;
                let totals = self.totals(db, &currency)?;
                let open = totals.open_accounts.checked_sub(1);
                totals.open_accounts = open.ok_or_else(|| impossible("no account is open"))?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, db: &Connection) -> Result<(), ProjectionError> {
        let mut upsert = db.prepare_cached(&self.upsert)?;
        for (currency, (totals, change)) in &mut self.totals {
            if *change == Change::Pending {
                let Totals { accounts, open_accounts, deposited, withdrawn } = *totals;
                let [paid_in, paid_out, held] =
                    [deposited, withdrawn, deposited - withdrawn].map(|sum| sum.to_string());
                upsert.execute(params![currency, accounts, open_accounts, paid_in, paid_out, held])?;
                *change = Change::Stored;
            }
        }
        Ok(())
    }
}

impl Summary {
    /// The totals of a currency, to be changed.
    fn totals(&mut self, db: &Connection, currency: &str) -> Result<&mut Totals, ProjectionError> {
        if !self.totals.contains_key(currency) {
            let stored = load(db, &self.select, currency)?.unwrap_or_default();
            self.totals.insert(currency.to_owned(), (stored, Change::Stored));
        }
        let (totals, change) = self.totals.get_mut(currency).ok_or_else(|| impossible("no such currency"))?;
        *change = Change::Pending;
        Ok(totals)
    }
}

fn load(db: &Connection, select: &str, currency: &str) -> Result<Option<Totals>, ProjectionError> {
    let row = |row: &rusqlite::Row<'_>| {
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
        Some(_) => Err(impossible(format!("the sums of {currency} are no numbers; rebuild the projection"))),
    }
}
