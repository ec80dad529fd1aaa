//! Queries on `accounts`, `summary` and the checkpoints.
//!
//! **Invariant:** rows and the position that they stand for are read in one statement, or with
//! `Database::read_snapshot`, so what an answer says of its freshness is exactly true.
//!
//! Read next: `history.rs`, the queries on `transactions`.

use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::cursor;
use super::views::{AccountView, CurrencyView, List, text};

/// An answer, and the position that its rows contain.
#[derive(Debug)]
pub(super) struct Fresh<T> {
    pub(super) position: u64,
    pub(super) value: T,
}

/// One account as JSON, and its version.
#[derive(Debug)]
pub(super) struct AccountJson {
    pub(super) version: u64,
    pub(super) json: Vec<u8>,
}

impl AccountJson {
    pub(super) fn of(view: &AccountView<'_>) -> rusqlite::Result<Self> {
        let mut json = Vec::with_capacity(320);
        serde_json::to_writer(&mut json, view)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(Self { version: view.version, json })
    }
}

/// The account, if there is one. The whole answer is one statement: this is the query that a
/// bank is asked all day.
pub(super) fn account(db: &Connection, account_id: Uuid) -> rusqlite::Result<Fresh<Option<AccountJson>>> {
    let mut query = db.prepare_cached(
        "SELECT c.position, a.owner, a.currency, a.balance, a.status, a.version, a.opened_at, a.updated_at
         FROM checkpoints c LEFT JOIN accounts a ON a.account_id = ?1 WHERE c.name = 'accounts'",
    )?;
    query.query_row([account_id.as_bytes()], |row| {
        let found = row.get_ref(1)? != rusqlite::types::ValueRef::Null;
        let json = found.then(|| AccountJson::of(&account_view(row, account_id)?)).transpose()?;
        Ok(Fresh { position: row.get(0)?, value: json })
    })
}

/// Columns 1 to 7.
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

/// Which accounts to list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter<'a> {
    pub(super) owner: Option<&'a str>,
    pub(super) status: Option<&'a str>,
}

impl<'a> Filter<'a> {
    /// Names the list for its cursors: absent and empty are not the same filter.
    pub(super) fn scope(&self) -> [&'a str; 5] {
        let given = |filter: Option<&str>| if filter.is_some() { "=" } else { "" };
        let (owner, status) = (self.owner, self.status);
        ["accounts", given(owner), owner.unwrap_or(""), given(status), status.unwrap_or("")]
    }

    /// One statement for each combination, so that each is a range of an index of its own.
    pub(super) fn sql(&self) -> &'static str {
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
        match (self.owner, self.status) {
            (None, None) => list!("AND (?3, ?4) IS (NULL, NULL)"),
            (Some(_), None) => list!("AND owner = ?3 AND ?4 IS NULL"),
            (None, Some(_)) => list!("AND status = ?4 AND ?3 IS NULL"),
            (Some(_), Some(_)) => list!("AND owner = ?3 AND status = ?4"),
        }
    }
}

/// A page of accounts in the order of their opening: those opened after position `after`.
pub(super) fn accounts(
    db: &Connection,
    filter: &Filter<'_>,
    after: u64,
    limit: u64,
) -> rusqlite::Result<Fresh<Vec<u8>>> {
    let position = position_of(db, "accounts")?;
    let mut list = List::new("{\"accounts\":[".to_owned());
    let mut last = 0;
    let mut query = db.prepare_cached(filter.sql())?;
    // One more than asked for tells whether there is a next page.
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
    Ok(Fresh { position, value: list.finish(next_cursor.as_deref()) })
}

/// The bank as a whole, by currency.
pub(super) fn summary(db: &Connection) -> rusqlite::Result<Fresh<Vec<CurrencyView>>> {
    let position = position_of(db, "summary")?;
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
    let value = rows.collect::<rusqlite::Result<_>>()?;
    Ok(Fresh { position, value })
}

/// The position that a read model has reached.
pub(super) fn position_of(db: &Connection, projection: &str) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT position FROM checkpoints WHERE name = ?1")?
        .query_row([projection], |row| row.get(0))
}

/// The position that all read models have reached.
pub(super) fn position_of_all(db: &Connection) -> rusqlite::Result<u64> {
    db.prepare_cached(
        "SELECT min(position) FROM checkpoints WHERE name IN ('accounts', 'transactions', 'summary')",
    )?
    .query_row([], |row| row.get(0))
}
