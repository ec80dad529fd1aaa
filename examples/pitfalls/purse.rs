//! The purse that most pitfalls use: an amount of whole cents, and a projection of all purses.
//!
//! Read next: `skipped_event.rs`, the first pitfall.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tally::es::rusqlite::{self, Connection};
use tally::es::{Aggregate, EventLog, Names, Projection, ProjectionError, RecordedEvent, decode};
use uuid::Uuid;

tally::es::events! {
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) enum PurseEvent {
        Filled(Moved) = "PurseFilled",
        Spent(Moved) = "PurseSpent",
    }
}

/// Money that went in or out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moved {
    pub(crate) cents: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Purse {
    pub(crate) cents: u64,
}

/// Amounts in cents.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum PurseCommand {
    Fill(u64),
    Spend(u64),
}

/// The purse holds less than the amount.
#[derive(Debug, PartialEq)]
pub(crate) struct TooLittle;

impl Aggregate for Purse {
    const STREAM_TYPE: &'static str = "purse";
    type Command = PurseCommand;
    type Event = PurseEvent;
    type Rejection = TooLittle;

    fn decide(&self, command: &PurseCommand) -> Result<Vec<PurseEvent>, TooLittle> {
        match *command {
            PurseCommand::Fill(cents) => Ok(vec![PurseEvent::Filled(Moved { cents })]),
            PurseCommand::Spend(cents) if cents > self.cents => Err(TooLittle),
            PurseCommand::Spend(cents) => Ok(vec![PurseEvent::Spent(Moved { cents })]),
        }
    }

    fn evolve(self, event: &PurseEvent) -> Self {
        match event {
            PurseEvent::Filled(moved) => Self { cents: self.cents + moved.cents },
            PurseEvent::Spent(moved) => Self { cents: self.cents - moved.cents },
        }
    }
}

/// The amount in each purse, as a table.
pub(crate) struct Balances {
    add: String,
}

impl Projection for Balances {
    const NAME: &'static str = "balances";
    const VERSION: u32 = 1;
    const TABLES: &'static [&'static str] = &["balances"];

    fn new(names: &Names) -> Self {
        let table = names.table("balances");
        Self {
            add: format!("INSERT INTO {table} VALUES (?1, ?2) ON CONFLICT DO UPDATE SET cents = cents + ?2"),
        }
    }

    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
        let table = names.table("balances");
        db.execute_batch(&format!("CREATE TABLE {table} (purse TEXT PRIMARY KEY, cents INTEGER) STRICT"))
    }

    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        let cents = match decode(event)? {
            PurseEvent::Filled(moved) => moved.cents.cast_signed(),
            PurseEvent::Spent(moved) => -moved.cents.cast_signed(),
        };
        db.prepare_cached(&self.add)?.execute((event.stream_id.to_string(), cents))?;
        Ok(())
    }
}

/// Returns the cents in a purse: the fold of its history.
pub(crate) fn cents(log: &EventLog, purse: Uuid) -> super::Result<u64> {
    let mut state = Purse::default();
    for event in log.stream(purse) {
        state = state.evolve(&decode(&event?.as_recorded())?);
    }
    Ok(state.cents)
}

/// Returns the sum over the table `balances` of the database `rows`, in cents.
pub(crate) fn total(rows: &Path) -> rusqlite::Result<u64> {
    Connection::open(rows)?.query_row("SELECT coalesce(sum(cents), 0) FROM balances", [], |row| row.get(0))
}
