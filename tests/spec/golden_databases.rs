//! Databases that earlier versions wrote, kept in `tests/golden/`: they open, verify, say what they
//! said when they were written, and are written to.
//!
//! A golden database is never changed. When a schema version or the form of an event is new, write one
//! more, with the code that is to be released:
//! `cargo test --test spec write_golden -- --ignored`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tally::account::known_kinds;

use crate::history::History;
use crate::support::{Binary, Client, Directory, Launch, System};

/// The schema versions of which there are golden databases: `write_db.v1.sqlite3` and so on.
const WRITE_VERSIONS: [u32; 1] = [1];
const READ_VERSIONS: [u32; 1] = [1];
/// More events than are between two snapshots.
const DEPOSITS: u64 = 40;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A directory with copies of golden databases.
fn copied(files: &[(String, &str)]) -> Directory {
    let directory = Directory::fresh();
    for (from, to) in files {
        std::fs::copy(golden(from), directory.join(to)).unwrap();
    }
    directory
}

fn feed(client: &Client) -> Value {
    client.get("/events?limit=10000").expect(200).json()
}

fn deposit(client: &Client, feed: &Value) {
    let account = feed["events"][0]["stream_id"].as_str().unwrap();
    client.post(&format!("/accounts/{account}/deposit"), &json!({"amount": 1})).expect(200);
}

#[test]
fn a_log_of_every_schema_version_opens_verifies_and_says_what_it_said() {
    for version in WRITE_VERSIONS {
        let directory = copied(&[(format!("write_db.v{version}.sqlite3"), "write_db.sqlite3")]);
        let verify = Launch::of(Binary::Write, &directory).argument("--verify");
        let verified = verify.run();
        assert_eq!(verified.status.code(), Some(0), "{verified:?}");
        let report = tally::es::verify(&directory.join("write_db.sqlite3"), &known_kinds()).unwrap();
        assert_eq!(report.snapshots, 1, "a snapshot of that time has the form that this build reads");
        let write = System::write(&directory, crate::bank::NO_REGISTRY).start();
        let said = std::fs::read(golden(&format!("write_db.v{version}.feed.json"))).unwrap();
        let said: Value = serde_json::from_slice(&said).unwrap();
        assert_eq!(feed(&write.client()), said);
        every_old_key_gives_its_receipt(&write.client(), &said, &directory);
        an_old_transfer_keeps_its_id(&write.client(), &said);
        // And history goes on.
        deposit(&write.client(), &said);
        assert_eq!(write.stop().status.code(), Some(0));
        assert_eq!(verify.run().status.code(), Some(0));
    }
}

/// The commands of [`make_history`] that came with a key, sent again: a fingerprint of that time is the
/// fingerprint of today, and gives the receipt of that time.
fn every_old_key_gives_its_receipt(client: &Client, feed: &Value, directory: &Directory) {
    let stream = |index: usize| feed["events"][index]["stream_id"].clone();
    let rent = json!({"from": stream(0), "to": stream(1), "amount": 700, "description": "rent"});
    let commands = [
        ("golden", "/accounts", json!({"owner": "Ada Lovelace"})),
        ("bob", "/accounts", json!({"owner": "Bob \"☕\" Müller", "currency": "EUR"})),
        ("eve", "/accounts", json!({"owner": "Eve", "currency": "CHF"})),
        ("rent", "/transfers", rent),
    ];
    let database = rusqlite::Connection::open(directory.join("write_db.sqlite3")).unwrap();
    for (key, path, mut body) in commands {
        let again = client.post_with(path, &[("Idempotency-Key", key)], &body);
        assert_eq!(again.header("Idempotency-Replayed"), Some("true"), "{key}");
        let receipt = "SELECT stream_id, version, position FROM receipts WHERE idempotency_key = ?1";
        let kept = database.query_row(receipt, [key], |row| {
            let (stream_id, version, position): (String, u64, u64) = row.try_into()?;
            Ok(json!({"stream_id": stream_id, "version": version, "position": position}))
        });
        assert_eq!(again.json(), kept.unwrap(), "{key}");
        let changed = if path == "/accounts" { "owner" } else { "description" };
        body[changed] = "Mallory".into();
        let reused = client.post_with(path, &[("Idempotency-Key", key)], &body).expect(422);
        assert_eq!(reused.problem(), "idempotency-key-reused", "{key}");
    }
}

/// A version that kept the id of a transfer in its events alone has recorded it: the same again is replayed,
/// another one under that id is refused.
fn an_old_transfer_keeps_its_id(client: &Client, feed: &Value) {
    let events = feed["events"].as_array().unwrap();
    let of_transfer = |event: &&Value| event["data"]["transfer_id"].is_string();
    let halves: Vec<_> = events.iter().filter(of_transfer).take(2).collect();
    let [out, into] = halves[..] else { panic!("there is no transfer in {feed}") };
    let mut body = out["data"].clone();
    body.as_object_mut().unwrap().remove("currency");
    body["from"] = out["stream_id"].clone();
    body["to"] = into["stream_id"].clone();
    let again = client.post("/transfers", &body).expect(200);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(again.json()["position"], into["position"]);
    assert_eq!(again.json()["version"], out["version"]);
    body["amount"] = 1_000_000.into();
    assert_eq!(client.post("/transfers", &body).expect(409).problem(), "transfer-exists");
}

#[test]
fn a_read_database_of_every_version_goes_on_or_heals_by_replay() {
    for version in READ_VERSIONS {
        let directory = copied(&[
            (format!("write_db.v{version}.sqlite3"), "write_db.sqlite3"),
            (format!("read_db.v{version}.sqlite3"), "read_db.sqlite3"),
        ]);
        let system = System::on(directory);
        History::read(&system.commands()).is_answered_by(&system.queries());
        deposit(&system.commands(), &feed(&system.commands()));
        History::read(&system.commands()).is_answered_by(&system.queries());
    }
}

/// Every kind of event, transfers, keys, a snapshot.
fn make_history(client: &Client) {
    let open = |key: &str, body: Value| {
        let opened = client.post_with("/accounts", &[("Idempotency-Key", key)], &body).expect(201);
        opened.json()["stream_id"].as_str().unwrap().to_owned()
    };
    let ada = open("golden", json!({"owner": "Ada Lovelace"}));
    let bob = open("bob", json!({"owner": "Bob \"☕\" Müller", "currency": "EUR"}));
    let eve = open("eve", json!({"owner": "Eve", "currency": "CHF"}));
    for amount in 1..=DEPOSITS {
        let body = json!({"amount": amount, "description": format!("№ {amount}")});
        client.post(&format!("/accounts/{ada}/deposit"), &body).expect(200);
    }
    let traced = [("X-Correlation-Id", "rent"), ("Idempotency-Key", "rent")];
    let transfer = json!({"from": ada, "to": bob, "amount": 700, "description": "rent"});
    client.post_with("/transfers", &traced, &transfer).expect(200);
    client.post(&format!("/accounts/{bob}/withdraw"), &json!({"amount": 699})).expect(200);
    client.post(&format!("/accounts/{eve}/close"), &json!({})).expect(200);
}

#[test]
#[ignore = "writes the golden databases of the latest versions, where there are none"]
fn write_golden_databases() {
    let system = System::start();
    make_history(&system.commands());
    History::read(&system.commands()).is_answered_by(&system.queries());
    let feed = feed(&system.commands());
    let System { read, write, registry, directory } = system;
    for process in [read, write, registry] {
        assert_eq!(process.stop().status.code(), Some(0));
    }
    let keep = |name: String, content: &[u8]| {
        if !golden(&name).exists() {
            std::fs::write(golden(&name), content).unwrap();
        }
    };
    // One file each, without a write-ahead log beside it.
    let file = |name: &str| {
        let connection = rusqlite::Connection::open(directory.join(name)).unwrap();
        connection.pragma_update(None, "journal_mode", "DELETE").unwrap();
        drop(connection);
        std::fs::read(directory.join(name)).unwrap()
    };
    let (write, read) = (WRITE_VERSIONS.last().unwrap(), READ_VERSIONS.last().unwrap());
    keep(format!("write_db.v{write}.sqlite3"), &file("write_db.sqlite3"));
    keep(format!("read_db.v{read}.sqlite3"), &file("read_db.sqlite3"));
    keep(format!("write_db.v{write}.feed.json"), feed.to_string().as_bytes());
}
