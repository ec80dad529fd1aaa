//! What is made from the list of the read models, in `mod.rs`.
//!
//! Read next: `reading.rs`.

use std::sync::LazyLock;

use rusqlite::Connection;

use super::read_models;
use crate::es::Definition;

/// Returns the projections of the read side.
pub fn projections() -> Vec<Definition> {
    read_models().into_iter().map(|model| model.projection).collect()
}

/// The names of all read models.
pub(in crate::read_side) static NAMES: LazyLock<Vec<&str>> =
    LazyLock::new(|| projections().iter().map(|projection| projection.name).collect());

/// Returns the position of the slowest read model.
pub(in crate::read_side) fn position_of_all(db: &Connection) -> rusqlite::Result<u64> {
    static SLOWEST: LazyLock<String> = LazyLock::new(|| {
        format!("SELECT min(position) FROM checkpoints WHERE name IN ('{}')", NAMES.join("', '"))
    });
    db.prepare_cached(&SLOWEST)?.query_row([], |row| row.get(0))
}
