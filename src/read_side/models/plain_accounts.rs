//! The read model `accounts` in plain SQL: a table, and a statement for each event. This is the projection to read
//! first, and to copy.
//!
//! The service runs `accounts.rs` instead, for the speed of a refill: `row_cache.rs` has the figures. The test
//! `the_fast_accounts_have_the_rows_of_the_plain_ones` in `tests.rs` holds the fast model to the rows of this one.
//!
//! Read next: `docs/how-to/add-a-projection.md`, which adds a projection of this form with its query; or
//! `accounts.rs`, the fast form.

use rusqlite::{Connection, params};

use super::account_tail::no_account;
use crate::account::{AccountEvent, Effect};
use crate::es::{Names, Projection, ProjectionError, RecordedEvent, decode};

pub(super) struct PlainAccounts {
    open: String,
    change: String,
    close: String,
}

impl Projection for PlainAccounts {
    const NAME: &'static str = "plain_accounts";
    const VERSION: u32 = 1;
    const TABLES: &'static [&'static str] = &["plain_accounts"];

    // The table has another name while it is rebuilt, so statements are made from `names`.
    fn new(names: &Names) -> Self {
        let table = names.table("plain_accounts");
        Self {
            open: format!("INSERT INTO {table} VALUES (?1, ?2, ?3, ?4, 0, 'open', 1, ?5, ?5)"),
            change: format!(
                "UPDATE {table} SET balance = balance + ?2, version = ?3, updated_at = ?4 WHERE account_id = ?1"
            ),
            close: format!(
                "UPDATE {table} SET status = 'closed', version = ?2, updated_at = ?3 WHERE account_id = ?1"
            ),
        }
    }

    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
        db.execute_batch(&format!(
            "CREATE TABLE {} (
                 opened INTEGER PRIMARY KEY,
                 account_id BLOB NOT NULL UNIQUE,
                 owner TEXT NOT NULL,
                 currency TEXT NOT NULL,
                 balance INTEGER NOT NULL CHECK (balance >= 0),
                 status TEXT NOT NULL,
                 version INTEGER NOT NULL,
                 opened_at TEXT NOT NULL,
                 updated_at TEXT NOT NULL
             ) STRICT",
            names.table("plain_accounts")
        ))
    }

    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        let (id, version, now) = (event.stream_id.as_bytes(), event.version, event.recorded_at);
        let change = |by: i64| db.prepare_cached(&self.change)?.execute(params![id, by, version, now]);
        let rows = match decode::<AccountEvent>(event)?.into_entry().effect {
            Effect::Opened(created) => {
                let (owner, currency) = (created.owner, created.currency.as_str());
                db.prepare_cached(&self.open)?.execute(params![event.position, id, owner, currency, now])?
            }
            Effect::In(moved) => change(moved.amount as i64)?,
            Effect::Out(moved) => change(-(moved.amount as i64))?,
            Effect::Closed => db.prepare_cached(&self.close)?.execute(params![id, version, now])?,
        };
        // SQL reports success for an UPDATE of an account that was never opened.
        if rows == 1 { Ok(()) } else { Err(no_account()) }
    }
}
