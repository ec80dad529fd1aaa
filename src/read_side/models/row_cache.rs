//! A cache of recently changed rows: a transaction with a hundred events of an account reads the row once and
//! writes the row once.
//!
//! The cache is there for refills and rebuilds. Of `accounts` alone, over 1 000 accounts, a refill in plain SQL took
//! 520 000 events/s, and with the cache 1 000 000; over 10 000 accounts 170 000, and with the cache 430 000. Where
//! 100 000 accounts took turns, so that hardly a row was found in memory, the cache was of no use (130 000, and
//! in plain SQL 170 000 without the three indexes). Measure with `cargo test --release --lib plain_and_cached_rate --
//! --ignored --nocapture`.
//!
//! **Invariant:** between two transactions, cached and stored rows are equal. When a transaction fails, the
//! projector drops the projection and the cache.
//!
//! Read next: `accounts.rs`, the first user.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::account_tail::{Opening, no_account, opened_twice};
use crate::account::AccountCreated;
use crate::es::{ProjectionError, RecordedEvent};

/// Rows kept between two transactions: some 3 MiB.
const MAX_ROWS: usize = 16_384;

/// The rows of a table, by account.
#[derive(Debug)]
pub(super) struct RowCache<R> {
    /// Selects the row of the account `?1`.
    select: String,
    read: fn(&Row<'_>) -> rusqlite::Result<R>,
    rows: HashMap<Uuid, Cached<R>>,
    changed: Vec<Uuid>,
}

#[derive(Debug)]
struct Cached<R> {
    row: R,
    /// `Some` until the row is inserted into the database.
    opening: Option<Opening>,
    is_changed: bool,
}

impl<R> RowCache<R> {
    pub(super) fn new(select: String, read: fn(&Row<'_>) -> rusqlite::Result<R>) -> Self {
        Self { select, read, rows: HashMap::new(), changed: Vec::new() }
    }

    /// Adds the row of a new account.
    pub(super) fn open(
        &mut self,
        db: &Connection,
        event: &RecordedEvent<'_>,
        created: AccountCreated,
        row: impl FnOnce() -> Result<R, ProjectionError>,
    ) -> Result<(), ProjectionError> {
        // The INSERT would fail too, but only at the flush, without the position of the event.
        if self.find(db, event.stream_id)?.is_some() {
            return Err(opened_twice());
        }
        let opening = Some(Opening::of(event, created));
        self.rows.insert(event.stream_id, Cached { row: row()?, opening, is_changed: true });
        self.changed.push(event.stream_id);
        Ok(())
    }

    /// Returns the row of the event's account for a change.
    pub(super) fn change(
        &mut self,
        db: &Connection,
        event: &RecordedEvent<'_>,
    ) -> Result<&mut R, ProjectionError> {
        let (changed, cached) = self.find(db, event.stream_id)?.ok_or_else(no_account)?;
        // Listed once a transaction, however many events change the row.
        if !std::mem::replace(&mut cached.is_changed, true) {
            changed.push(event.stream_id);
        }
        Ok(&mut cached.row)
    }

    /// Returns the list of changed rows, and the account's row from the cache or the database.
    fn find(
        &mut self,
        db: &Connection,
        account_id: Uuid,
    ) -> rusqlite::Result<Option<(&mut Vec<Uuid>, &mut Cached<R>)>> {
        let cached = match self.rows.entry(account_id) {
            Entry::Occupied(cached) => Some(cached.into_mut()),
            Entry::Vacant(vacant) => {
                let mut select = db.prepare_cached(&self.select)?;
                let stored = select.query_row([account_id.as_bytes()], self.read).optional()?;
                stored.map(|row| vacant.insert(Cached { row, opening: None, is_changed: false }))
            }
        };
        Ok(cached.map(|cached| (&mut self.changed, cached)))
    }

    /// Writes each changed row: `write` inserts a row with an opening, and updates every other row.
    pub(super) fn flush(
        &mut self,
        mut write: impl FnMut(&Uuid, &R, Option<Opening>) -> rusqlite::Result<usize>,
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
