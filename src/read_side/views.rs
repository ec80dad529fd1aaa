//! What queries answer, field by field, borrowed from the rows that they are read from.

use rusqlite::Row;
use serde::Serialize;
use uuid::Uuid;

/// An account, now or then.
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

/// One line of a statement.
#[derive(Debug, Serialize)]
pub(super) struct TransactionView<'a> {
    pub(super) position: u64,
    pub(super) version: u64,
    pub(super) kind: &'a str,
    pub(super) amount: u64,
    pub(super) balance: u64,
    pub(super) description: Option<&'a str>,
    pub(super) transfer_id: Option<Uuid>,
    pub(super) recorded_at: &'a str,
}

/// One currency of the summary.
#[derive(Debug, Serialize)]
pub(super) struct CurrencyView {
    pub(super) currency: String,
    pub(super) accounts: u64,
    pub(super) open_accounts: u64,
    // Decimal text: the sums outgrow the numbers that JSON readers keep exact.
    pub(super) deposited: String,
    pub(super) withdrawn: String,
    pub(super) held: String,
}

/// The answer to `GET /summary`.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) currencies: Vec<CurrencyView>,
}

/// How a projection stands.
#[derive(Debug, Serialize)]
pub(super) struct ProjectionView<'a> {
    pub(super) name: &'a str,
    pub(super) position: u64,
    pub(super) head: u64,
    pub(super) lag_events: u64,
    pub(super) lag_seconds: f64,
    pub(super) state: &'a str,
    pub(super) error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rebuild: Option<RebuildView>,
}

/// How far a rebuild has come.
#[derive(Debug, Serialize)]
pub(super) struct RebuildView {
    pub(super) position: u64,
    pub(super) events_per_second: f64,
    pub(super) seconds_left: Option<f64>,
}

/// The answer to `GET /projections`.
#[derive(Debug, Serialize)]
pub(super) struct Projections<'a> {
    pub(super) projections: Vec<ProjectionView<'a>>,
}

/// The column as text, borrowed.
pub(super) fn text<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<&'r str> {
    Ok(row.get_ref(column)?.as_str()?)
}

/// The column as text, borrowed, or nothing.
pub(super) fn optional_text<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<Option<&'r str>> {
    Ok(row.get_ref(column)?.as_str_or_null()?)
}

/// A page ends with the item that makes it as large as this, in bytes, whatever number of items was asked
/// for: twice what a thousand items of the usual size take. The allocator keeps a few times the largest
/// answer for each of its arenas, so this also bounds what a crowd of clients leaves behind.
const MAX_PAGE_BYTES: usize = 512 << 10;

/// A list in JSON, written item by item.
#[derive(Debug)]
pub(super) struct List {
    json: Vec<u8>,
    length: usize,
}

impl List {
    /// A list that begins with `start`, which ends with `[`.
    pub(super) fn new(start: String) -> Self {
        Self { json: start.into_bytes(), length: 0 }
    }

    pub(super) fn push(&mut self, item: &impl Serialize) -> rusqlite::Result<()> {
        if self.length > 0 {
            self.json.push(b',');
        }
        self.length += 1;
        serde_json::to_writer(&mut self.json, item)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    }

    /// Whether a page of at most `limit` items ends here.
    pub(super) fn is_full(&self, limit: u64) -> bool {
        self.length as u64 >= limit || self.json.len() >= MAX_PAGE_BYTES
    }

    /// The whole object, with the cursor after the list.
    pub(super) fn finish(mut self, next_cursor: Option<&str>) -> Vec<u8> {
        let cursor = next_cursor.map_or_else(|| "null".to_owned(), |cursor| format!("\"{cursor}\""));
        self.json.extend_from_slice(format!("],\"next_cursor\":{cursor}}}").as_bytes());
        self.json
    }
}
