//! Tools of all queries: a position, a column as text, a list in JSON.
//!
//! Read next: `accounts.rs`, which uses all of them.

use rusqlite::{Connection, Row};
use serde::Serialize;

/// The size in bytes at which a page ends, below the client's limit too: twice the size of a thousand usual
/// items. The allocator keeps a few times the largest answer in each arena, and this limit bounds the sum.
const MAX_PAGE_BYTES: usize = 512 << 10;

/// Returns the position of a read model.
pub(super) fn position_of(db: &Connection, projection: &str) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT position FROM checkpoints WHERE name = ?1")?
        .query_row([projection], |row| row.get(0))
}

/// Returns the column as text, borrowed from the row.
pub(super) fn text<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<&'r str> {
    Ok(row.get_ref(column)?.as_str()?)
}

/// Returns the column as text, borrowed from the row, or `None` for NULL.
pub(super) fn optional_text<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<Option<&'r str>> {
    Ok(row.get_ref(column)?.as_str_or_null()?)
}

/// Appends a value to `json`.
pub(super) fn write_json(json: &mut Vec<u8>, value: &impl Serialize) -> rusqlite::Result<()> {
    serde_json::to_writer(json, value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// A list in JSON, written item by item.
#[derive(Debug)]
pub(super) struct List {
    json: Vec<u8>,
    length: usize,
}

impl List {
    /// Begins a list with `start`, which ends with `[`.
    pub(super) fn new(start: String) -> Self {
        Self { json: start.into_bytes(), length: 0 }
    }

    pub(super) fn push(&mut self, item: &impl Serialize) -> rusqlite::Result<()> {
        if self.length > 0 {
            self.json.push(b',');
        }
        self.length += 1;
        write_json(&mut self.json, item)
    }

    /// Returns whether a page of at most `limit` items ends here.
    pub(super) fn is_full(&self, limit: u64) -> bool {
        self.length as u64 >= limit || self.json.len() >= MAX_PAGE_BYTES
    }

    /// Returns the whole object, with the cursor after the list.
    pub(super) fn finish(mut self, next_cursor: Option<&str>) -> Vec<u8> {
        // A cursor is hexadecimal and needs no escapes.
        let cursor = next_cursor.map_or_else(|| "null".to_owned(), |cursor| format!("\"{cursor}\""));
        self.json.extend_from_slice(format!("],\"next_cursor\":{cursor}}}").as_bytes());
        self.json
    }
}
