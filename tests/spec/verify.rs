//! `write-service --verify`: a sound log passes, and each kind of damage is named where it is.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::json;
use tally::account::known_kinds;
use tally::es::{MAX_FINDINGS, Report};

use crate::bank::{Bank, NO_REGISTRY, fill};
use crate::support::{Binary, Directory, Ended, Launch};

fn verify(db: &Path) -> Report {
    tally::es::verify(db, &known_kinds()).unwrap()
}

fn run(directory: &Directory) -> Ended {
    Launch::of(Binary::Write, directory).argument("--verify").run()
}

/// A log with accounts, transfers, receipts and a snapshot; nobody has it open.
fn history() -> (Directory, PathBuf) {
    let directory = Directory::fresh();
    let process = Launch::on_free_port(Binary::Write, &directory).flag("--registry", NO_REGISTRY).start();
    let client = process.client();
    let open = |owner: &str| {
        let key = [("Idempotency-Key", owner)];
        let receipt = client.post_with("/accounts", &key, &json!({"owner": owner})).expect(201);
        receipt.json()["stream_id"].as_str().unwrap().to_owned()
    };
    let (ada, bob) = (open("Ada"), open("Bob"));
    (0..40).for_each(|_| {
        client.post(&format!("/accounts/{ada}/deposit"), &json!({"amount": 100})).expect(200);
    });
    let transfer = json!({"from": ada, "to": bob, "amount": 250});
    client.post_with("/transfers", &[("Idempotency-Key", "transfer")], &transfer).expect(200);
    assert_eq!(process.stop().status.code(), Some(0));
    let path = directory.join("write_db.sqlite3");
    (directory, path)
}

/// Changes the file as its owner can: without the triggers, which are put back afterwards.
fn tamper(path: &Path, sql: &str) {
    let connection = Connection::open(path).unwrap();
    let schema = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'";
    let triggers: Vec<(String, String)> = connection
        .prepare(schema)
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (name, _) in &triggers {
        connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    connection.execute_batch(sql).unwrap();
    triggers.iter().for_each(|(_, sql)| connection.execute_batch(sql).unwrap());
}

#[test]
fn a_sound_log_is_found_sound_with_status_0() {
    let (directory, path) = history();
    let before = std::fs::read(&path).unwrap();
    let ended = run(&directory);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let report = ended.stdout.join("\n");
    for words in ["44 events in 2 streams, head 44", "5 receipts, 1 snapshots", "last hash ", "\nsound"] {
        assert!(report.contains(words), "{words} is not in {report}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before, "nothing was written");
}

#[test]
fn each_kind_of_damage_is_named_where_it_is() {
    for (damage, finding) in [
        (
            "UPDATE events SET data = '{\"amount\":1,\"currency\":\"EUR\"}' WHERE position = 7",
            "event 7: its hash",
        ),
        ("UPDATE events SET metadata = '{\"x\":1}' WHERE position = 9", "event 9: its hash"),
        ("DELETE FROM events WHERE position = 20", "event 21 follows event 19"),
        ("DELETE FROM events WHERE position = 44", "the head of the log is 44, but the last event is 43"),
        ("UPDATE log SET head = 50", "the head of the log is 50"),
        ("UPDATE log SET log_id = 'mine'", "identity is no UUID"),
        ("DELETE FROM log", "its row is missing"),
        ("UPDATE events SET version = 99 WHERE position = 12", "version 99 follows version 10"),
        (
            "UPDATE events SET type = 'MoneyBurnt' WHERE position = 3",
            "UNKNOWN: an event type (\"MoneyBurnt\" of \"account\"), 1 events",
        ),
        (
            "UPDATE events SET type = 'MoneyWithdrawn' WHERE position = 3",
            "MoneyWithdrawn cannot have happened",
        ),
        ("UPDATE events SET stream_type = 'pot' WHERE position = 3", "holds a \"pot\""),
        ("UPDATE events SET recorded_at = '2001-01-01T00:00:00.000000Z' WHERE position = 5", "is before"),
        ("UPDATE events SET recorded_at = 'noon' WHERE position = 5", "event 5: its time is malformed"),
        ("UPDATE events SET event_id = 'none' WHERE position = 5", "event 5 cannot be read"),
        ("UPDATE receipts SET position = 45 WHERE idempotency_key = 'Bob'", "the receipt of key \"Bob\""),
        ("UPDATE receipts SET version = 9 WHERE idempotency_key = 'Bob'", "the receipt of key \"Bob\""),
        ("UPDATE snapshots SET state = replace(state, ':', ': 1')", "is not what its events say"),
        ("UPDATE snapshots SET version = 1000", "no such event"),
    ] {
        let (directory, path) = history();
        tamper(&path, damage);
        let ended = run(&directory);
        assert_eq!(ended.status.code(), Some(1), "{damage}: {ended:?}");
        let first = ended.stdout.iter().find(|line| line.starts_with("WRONG: "));
        let report = ended.stdout.join("\n");
        assert!(first.is_some() && report.contains(finding), "{damage}: {report}");
        assert!(ended.stderr.contains("restore a backup"), "{ended:?}");
    }
}

#[test]
fn a_schema_without_one_of_its_triggers_is_not_sound() {
    let (_directory, path) = history();
    Connection::open(&path).unwrap().execute_batch("DROP TRIGGER events_are_never_removed").unwrap();
    assert!(verify(&path).findings[0].contains("schema.sql"));
}

#[test]
fn pages_that_were_overwritten_are_found() {
    let (directory, path) = history();
    let sound = std::fs::read(&path).unwrap();
    for page in 1..sound.len() / 4096 {
        let mut bytes = sound.clone();
        bytes[page * 4096..(page + 1) * 4096].fill(0xAA);
        std::fs::write(&path, bytes).unwrap();
        let ended = run(&directory);
        assert_eq!(ended.status.code(), Some(1), "page {page}: {ended:?}");
        assert!(ended.stdout.join("").contains("WRONG") || ended.stderr.contains("damaged"), "{ended:?}");
    }
}

#[test]
fn the_number_of_findings_is_bounded() {
    let (_directory, path) = history();
    tamper(&path, "UPDATE events SET metadata = '[]'");
    assert_eq!(verify(&path).findings.len(), MAX_FINDINGS);
}

#[test]
fn a_file_that_is_no_log_is_refused_and_not_made() {
    let directory = Directory::fresh();
    let ended = run(&directory);
    assert_eq!((ended.status.code(), ended.stderr.lines().count()), (Some(1), 1), "{ended:?}");
    assert!(!directory.join("write_db.sqlite3").exists());
    Connection::open(directory.join("write_db.sqlite3"))
        .unwrap()
        .execute_batch("CREATE TABLE mine (x)")
        .unwrap();
    let ended = run(&directory);
    assert!(ended.status.code() == Some(1) && ended.stderr.contains("another program"), "{ended:?}");
}

#[test]
fn a_log_is_verified_while_it_is_written_to() {
    let bank = Bank::start();
    let account = bank.open();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| (0..200).for_each(|_| drop(bank.deposit(&account, 1).expect(200))));
        while !writing.is_finished() {
            let ended = run(bank.directory());
            assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        }
    });
}

#[test]
fn a_log_after_a_crash_is_verified_with_its_write_ahead_log() {
    let bank = Bank::start();
    let account = bank.open_holding(5);
    let directory = bank.crashed();
    let report = verify(&directory.join("write_db.sqlite3"));
    assert!(report.is_sound() && report.events == 2, "{report}");
    assert!(directory.join("write_db.sqlite3-wal").exists(), "it was read, not moved");
    let bank = Bank::on(directory);
    bank.withdraw(&account, 5).expect(200);
}

#[test]
fn more_events_than_a_page_are_verified() {
    let directory = Directory::fresh();
    fill(&directory, 2_500);
    let report = verify(&directory.join("write_db.sqlite3"));
    assert!(report.is_sound() && report.events == 2_500, "{report}");
}
