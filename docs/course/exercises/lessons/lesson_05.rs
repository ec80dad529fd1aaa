//! The tests of lesson 5: whatever fails, each event is counted once.

// Every failure here is to stop the test with its reason.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use course::lesson_05::{apply, checkpoint, create};
use tally::account::{Account, AccountCommand, Currency, Movement};
use tally::es::rusqlite::Connection;
use tally::es::{Context, EventLog, Executor, MemoryDatabase};
use uuid::Uuid;

const ADA: Uuid = Uuid::from_u128(1);

#[test]
fn a_crash_at_either_write_counts_each_event_once() {
    let log = log_of_two_deposits();
    for (table, event_3) in [("checkpoint", "NEW.position = 3"), ("balances", "OLD.cents = 5000")] {
        let file = ReadModel::fresh();
        // The process dies as it writes event 3: this write fails, and nothing after it runs.
        let mut dying = file.open();
        dying
            .execute_batch(&format!(
                "CREATE TEMP TRIGGER death BEFORE UPDATE ON {table} WHEN {event_3}
                 BEGIN SELECT RAISE(ABORT, 'the process was killed'); END"
            ))
            .unwrap();
        follow(&mut dying, &log).unwrap_err();
        drop(dying);

        // A new process goes on behind the checkpoint that it finds.
        let mut db = file.open();
        follow(&mut db, &log).unwrap();
        assert_eq!(
            balance(&db),
            6250,
            "deposits of 5000 and 1250 make 6250. The process was killed as it wrote to `{table}`, and the next \
             process went on at the checkpoint.\nA row and the checkpoint that says so must be committed by one transaction."
        );
    }
}

#[test]
fn a_page_that_is_delivered_twice_is_counted_once() {
    let (log, file) = (log_of_two_deposits(), ReadModel::fresh());
    let mut db = file.open();
    let page = log.page(0, 10, Duration::ZERO).unwrap();
    for _ in 0..2 {
        apply(&mut db, &page.content().unwrap().events).unwrap();
    }
    assert_eq!(
        (balance(&db), checkpoint(&db).unwrap()),
        (6250, 3),
        "the checkpoint says which events are applied: skip the events up to it."
    );
}

/// Asks for the page behind the checkpoint, and applies the page.
fn follow(db: &mut Connection, log: &EventLog) -> Result<(), tally::es::ProjectionError> {
    let page = log.page(checkpoint(db)?, 10, Duration::ZERO).unwrap();
    apply(db, &page.content().unwrap().events)
}

fn balance(db: &Connection) -> i64 {
    db.query_row("SELECT cents FROM balances", [], |row| row.get(0)).unwrap()
}

/// Opened, 5000 in, 1250 in.
fn log_of_two_deposits() -> Arc<EventLog> {
    let log = EventLog::open(MemoryDatabase::default()).unwrap();
    let executor = Executor::start(log.clone(), |_commit| ()).unwrap();
    let deposit = |amount| AccountCommand::Deposit(Movement { amount, description: None, transfer_id: None });
    let open = AccountCommand::Open { owner: "Ada".into(), currency: Currency::default() };
    for command in [open, deposit(5000), deposit(1250)] {
        executor.execute::<Account>(ADA, command, Context::default()).unwrap();
    }
    log
}

/// A database file with the tables of the lesson, removed when dropped.
struct ReadModel(PathBuf);

impl ReadModel {
    fn fresh() -> Self {
        Self(std::env::temp_dir().join(format!("tally-lesson-05-{}.sqlite3", Uuid::now_v7())))
    }

    fn open(&self) -> Connection {
        let db = Connection::open(&self.0).unwrap();
        create(&db).unwrap();
        db
    }
}

impl Drop for ReadModel {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}
