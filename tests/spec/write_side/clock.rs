//! A clock that was set back behind the log.

use serde_json::Value;
use tally::es::{Database, Hash, RecordedEvent, SqliteDatabase, chain};
use uuid::Uuid;

use crate::bank::Bank;
use crate::support::Directory;

const FUTURE: &str = "2999-01-01T00:00:00.000000Z";

/// A log with one event, of no account, from the future.
fn log_of_the_future() -> Directory {
    let directory = Directory::fresh();
    let database = SqliteDatabase::open(directory.join("write_db.sqlite3")).unwrap();
    let mut store = database.writer(std::sync::Arc::default()).unwrap();
    let mut event = RecordedEvent {
        position: 1,
        event_id: Uuid::now_v7(),
        stream_id: Uuid::now_v7(),
        stream_type: "other",
        version: 1,
        event_type: "Other",
        schema_version: 1,
        data: "{}",
        metadata: "{}",
        recorded_at: FUTURE,
        hash: Hash::ZERO,
    };
    event.hash = chain(&Hash::ZERO, &event);
    store.begin().unwrap();
    store.append(&event).unwrap();
    store.commit().unwrap();
    directory
}

#[test]
fn a_log_that_is_ahead_of_the_clock_says_so() {
    let bank = Bank::start();
    bank.open();
    assert_eq!(bank.client.get("/health").expect(200).json()["log_ahead_seconds"], 0);
    let bank = Bank::on(log_of_the_future());
    let ahead = || bank.client.get("/health").expect(200).json()["log_ahead_seconds"].clone();
    let centuries = |seconds: &Value| seconds.as_u64().unwrap() / (100 * 365 * 24 * 3600);
    assert_eq!(centuries(&ahead()), 9);
    bank.process.wait_for_log("ahead of the clock");
    bank.open();
    let page = bank.client.get("/events?after=1").expect(200).json();
    assert_eq!(page["events"][0]["recorded_at"], FUTURE, "times never fall along the log");
    assert_eq!(centuries(&ahead()), 9, "after a commit, too");
    let metrics = bank.client.get("/metrics").expect(200);
    let text = metrics.text();
    let shown = text.lines().find(|line| line.starts_with("tally_log_ahead_of_clock_seconds "));
    assert!(shown.is_some_and(|line| !line.ends_with(" 0")), "{shown:?}");
}
