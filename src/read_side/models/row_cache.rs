//! A cache of recently changed rows: a transaction with a hundred events of an account reads the row once and
//! writes the row once.
//!
//! **Invariant:** between two transactions, cached and stored rows are equal. When a transaction fails, the
//! projector drops the projection and the cache.
//!
//! Read next: `accounts.rs`, the first user.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use uuid::Uuid;

use super::account_tail::Opening;

/// Rows kept between two transactions: some 3 MiB.
const MAX_ROWS: usize = 16_384;

/// The rows of a table, by account.
#[derive(Debug)]
pub(super) struct RowCache<Row> {
    rows: HashMap<Uuid, Cached<Row>>,
    changed: Vec<Uuid>,
}

#[derive(Debug)]
struct Cached<Row> {
    row: Row,
    /// `Some` until the row is inserted into the database.
    opening: Option<Opening>,
    is_changed: bool,
}

impl<Row> RowCache<Row> {
    pub(super) fn empty() -> Self {
        Self { rows: HashMap::new(), changed: Vec::new() }
    }

    /// Returns whether the account has a row, in the cache or in the database, which `load` reads.
    pub(super) fn has(
        &mut self,
        account_id: Uuid,
        load: impl FnOnce() -> rusqlite::Result<Option<Row>>,
    ) -> rusqlite::Result<bool> {
        Self::load(&mut self.rows, account_id, load).map(|cached| cached.is_some())
    }

    /// Returns the account's row for a change.
    pub(super) fn change(
        &mut self,
        account_id: Uuid,
        load: impl FnOnce() -> rusqlite::Result<Option<Row>>,
    ) -> rusqlite::Result<Option<&mut Row>> {
        let Some(cached) = Self::load(&mut self.rows, account_id, load)? else {
            return Ok(None);
        };
        // Listed once a transaction, however many events change the row.
        if !std::mem::replace(&mut cached.is_changed, true) {
            self.changed.push(account_id);
        }
        Ok(Some(&mut cached.row))
    }

    /// Adds the row of a new account.
    pub(super) fn insert(&mut self, account_id: Uuid, row: Row, opening: Opening) {
        self.rows.insert(account_id, Cached { row, opening: Some(opening), is_changed: true });
        self.changed.push(account_id);
    }

    // Borrows the rows alone, not `self`: the caller still needs `changed`.
    fn load(
        rows: &mut HashMap<Uuid, Cached<Row>>,
        account_id: Uuid,
        load: impl FnOnce() -> rusqlite::Result<Option<Row>>,
    ) -> rusqlite::Result<Option<&mut Cached<Row>>> {
        match rows.entry(account_id) {
            Entry::Occupied(cached) => Ok(Some(cached.into_mut())),
            Entry::Vacant(vacant) => {
                Ok(load()?.map(|row| vacant.insert(Cached { row, opening: None, is_changed: false })))
            }
        }
    }

    /// Writes each changed row: `write` inserts a row with an opening, and updates every other row.
    pub(super) fn flush(
        &mut self,
        mut write: impl FnMut(&Uuid, &Row, Option<Opening>) -> rusqlite::Result<usize>,
    ) -> rusqlite::Result<()> {
        // UUIDs of version 7 sort by time: sorted writes touch fewer pages of the table.
        self.changed.sort_unstable();
        for account_id in self.changed.drain(..) {
            if let Some(cached) = self.rows.get_mut(&account_id) {
                write(&account_id, &cached.row, cached.opening.take())?;
                cached.is_changed = false;
            }
        }
        // Dropping all rows is cheaper than a record of their last use, and rare.
        if self.rows.len() > MAX_ROWS {
            self.rows = HashMap::new();
        }
        Ok(())
    }
}
