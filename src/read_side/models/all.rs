//! The list of the read models. A new model is added here, and in the statement below.

use rusqlite::Connection;

use super::accounts::Accounts;
use super::statements::Transactions;
use super::summary::Summary;
use crate::es::{Definition, Projection};

/// The names of all read models.
pub(in crate::read_side) const MODELS: &[&str] = &[Accounts::NAME, Transactions::NAME, Summary::NAME];

/// Returns the projections of the read side.
pub fn projections() -> [Definition; 3] {
    [Definition::of::<Accounts>(), Definition::of::<Transactions>(), Definition::of::<Summary>()]
}

/// Returns the position of the slowest read model.
pub(in crate::read_side) fn position_of_all(db: &Connection) -> rusqlite::Result<u64> {
    db.prepare_cached(
        "SELECT min(position) FROM checkpoints WHERE name IN ('accounts', 'transactions', 'summary')",
    )?
    .query_row([], |row| row.get(0))
}
