//! The read model of `examples/forget_person.rs`: what each person has spent, without a name.
//!
//! **Invariant:** the rows depend on the log alone, so a rebuild gives the same rows after a forgetting.

use std::path::Path;

use tally::es::rusqlite::{self, Connection};
use tally::es::{Names, Projection, ProjectionError, RecordedEvent, decode};
use uuid::Uuid;

use super::CustomerEvent;
use super::people::People;

/// The projection: what each person has spent. It copies no name.
pub(crate) struct Spending {
    update: String,
}

impl Projection for Spending {
    const NAME: &'static str = "spending";
    const VERSION: u32 = 1;
    const TABLES: &'static [&'static str] = &["spending"];

    fn new(names: &Names) -> Self {
        let spending = names.table("spending");
        let update = format!(
            "INSERT INTO {spending} VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET cents = cents + ?2, forgotten = ?3"
        );
        Self { update }
    }

    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
        let spending = names.table("spending");
        db.execute_batch(&format!(
            "CREATE TABLE {spending} (person TEXT PRIMARY KEY, cents INTEGER, forgotten INTEGER) STRICT"
        ))
    }

    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        let (cents, forgotten) = match decode(event)? {
            CustomerEvent::Registered(_) => (0, false),
            CustomerEvent::Ordered(ordered) => (ordered.cents, false),
            CustomerEvent::Forgotten(_) => (0, true),
        };
        db.prepare_cached(&self.update)?.execute((event.stream_id.to_string(), cents, forgotten))?;
        Ok(())
    }
}

/// Returns the name to show, and the cents spent: the row has the reference, and the name is looked up now.
pub(crate) fn spent(rows: &Path, people: &People, person: Uuid) -> rusqlite::Result<(String, u64)> {
    let select = "SELECT cents, forgotten FROM spending WHERE person = ?1";
    let (cents, forgotten): (u64, bool) =
        Connection::open(rows)?
            .query_row(select, [person.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // The row may be behind the erasure. A name that is absent without reason is a file that was lost.
    let name = if forgotten { None } else { people.name(person)? };
    let absent = if forgotten { "(forgotten)" } else { "(no name)" };
    Ok((name.unwrap_or_else(|| absent.into()), cents))
}
