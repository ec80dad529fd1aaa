//! Lesson 5: a read model in plain SQL, which must count each event once.
//!
//! The table `balances` has a row for each account, and `checkpoint` has the position of the last applied event. The
//! lesson begins with an `apply` that works until the process dies at the wrong moment; `just lesson 5` is that moment.
//!
//! Read next: `docs/course/05-projections-and-checkpoints.md`.

use tally::account::AccountEvent;
use tally::es::rusqlite::{self, Connection, params};
use tally::es::{ProjectionError, RecordedEvent, decode};

/// Creates the tables, unless they exist.
///
/// # Errors
/// When the database refuses.
pub fn create(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(
        "CREATE TABLE IF NOT EXISTS balances (account TEXT PRIMARY KEY, cents INTEGER NOT NULL) STRICT;
         CREATE TABLE IF NOT EXISTS checkpoint (position INTEGER NOT NULL) STRICT;
         INSERT INTO checkpoint SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM checkpoint);",
    )
}

/// Returns the position of the last applied event; 0 before the first.
///
/// # Errors
/// When the database refuses.
pub fn checkpoint(db: &Connection) -> rusqlite::Result<u64> {
    db.query_row("SELECT position FROM checkpoint", [], |row| row.get(0))
}

/// Applies a page of the feed. The feed may deliver a page twice: after a lost answer, the consumer asks again.
///
/// # Errors
/// When an event cannot be read, or the database refuses. Rows and checkpoint still agree then.
pub fn apply(db: &mut Connection, page: &[RecordedEvent<'_>]) -> Result<(), ProjectionError> {
    for event in page {
        add_to_balance(db, event)?;
        db.execute("UPDATE checkpoint SET position = ?1", [event.position])?;
    }
    Ok(())
}

fn add_to_balance(db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
    let cents = match decode(event)? {
        AccountEvent::MoneyDeposited(money) => money.amount.cast_signed(),
        AccountEvent::MoneyWithdrawn(money) => -money.amount.cast_signed(),
        _ => 0,
    };
    db.execute(
        "INSERT INTO balances VALUES (?1, ?2) ON CONFLICT DO UPDATE SET cents = cents + excluded.cents",
        params![event.stream_id.to_string(), cents],
    )?;
    Ok(())
}
