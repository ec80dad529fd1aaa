//! The rows that recent events touched, kept in memory so that an account that is touched a
//! hundred times in a transaction is read once and written once.
//!
//! **Invariant:** between two transactions it holds nothing that the database does not. The
//! projector throws it away, with the projection that owns it, when a transaction fails.

use std::collections::HashMap;

use uuid::Uuid;

/// Rows kept from one transaction to the next: some 3 MiB.
const MOST_ROWS: usize = 16_384;

/// The rows of one table, by account.
#[derive(Debug)]
pub(super) struct Memory<Row> {
    rows: HashMap<Uuid, Kept<Row>>,
    changed: Vec<Uuid>,
}

#[derive(Debug)]
struct Kept<Row> {
    row: Row,
    is_stored: bool,
    is_changed: bool,
}

/// How a row is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Insert,
    Update,
}

impl<Row> Memory<Row> {
    pub(super) fn new() -> Self {
        Self { rows: HashMap::new(), changed: Vec::new() }
    }

    /// Whether there is a row for that account, here or where `load` looks.
    pub(super) fn has(
        &mut self,
        account_id: Uuid,
        load: impl FnOnce() -> rusqlite::Result<Option<Row>>,
    ) -> rusqlite::Result<bool> {
        Self::load(&mut self.rows, account_id, load).map(|kept| kept.is_some())
    }

    /// The account's row, to be changed.
    pub(super) fn change(
        &mut self,
        account_id: Uuid,
        load: impl FnOnce() -> rusqlite::Result<Option<Row>>,
    ) -> rusqlite::Result<Option<&mut Row>> {
        let Some(kept) = Self::load(&mut self.rows, account_id, load)? else {
            return Ok(None);
        };
        if !std::mem::replace(&mut kept.is_changed, true) {
            self.changed.push(account_id);
        }
        Ok(Some(&mut kept.row))
    }

    /// Adds the row of a new account.
    pub(super) fn insert(&mut self, account_id: Uuid, row: Row) {
        self.rows.insert(account_id, Kept { row, is_stored: false, is_changed: true });
        self.changed.push(account_id);
    }

    // Of the rows alone, not of `self`: `changed` stays free for the caller.
    fn load(
        rows: &mut HashMap<Uuid, Kept<Row>>,
        account_id: Uuid,
        load: impl FnOnce() -> rusqlite::Result<Option<Row>>,
    ) -> rusqlite::Result<Option<&mut Kept<Row>>> {
        use std::collections::hash_map::Entry;
        match rows.entry(account_id) {
            Entry::Occupied(kept) => Ok(Some(kept.into_mut())),
            Entry::Vacant(place) => {
                Ok(load()?.map(|row| place.insert(Kept { row, is_stored: true, is_changed: false })))
            }
        }
    }

    /// Writes what has changed, in order of account: neighbours in the tables, as far as ids are
    /// made from the time.
    pub(super) fn flush(
        &mut self,
        mut write: impl FnMut(&Uuid, &mut Row, Write) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        self.changed.sort_unstable();
        for account_id in self.changed.drain(..) {
            if let Some(kept) = self.rows.get_mut(&account_id) {
                let how = if kept.is_stored { Write::Update } else { Write::Insert };
                write(&account_id, &mut kept.row, how)?;
                kept.is_stored = true;
                kept.is_changed = false;
            }
        }
        if self.rows.len() > MOST_ROWS {
            self.rows = HashMap::new();
        }
        Ok(())
    }
}
