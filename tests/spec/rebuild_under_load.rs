//! A rebuild while commands and queries go on: nobody notices, and the new rows are the old ones.
//!
//! `cargo test --release --test spec rebuild_under_load -- --ignored --nocapture`

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::Connection;
use serde_json::{Value, json};
use tally::read_side::projections;

use crate::bank::fill;
use crate::support::{Client, Directory, System, wait_until};

const EVENTS: u64 = 200_000;
const CLIENTS: usize = 4;

#[test]
#[ignore = "slow suite: just rebuild-test"]
fn a_rebuild_under_load_fails_no_query_goes_back_in_no_answer_and_gives_the_same_rows() {
    let directory = Directory::fresh();
    let long = fill(&directory, EVENTS).to_string();
    let system = System::on(directory);
    wait_until("the read side has filled its rows", || position(&system.queries()) >= Some(EVENTS));

    let (ended, queries) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _ended = Ended(&ended);
        for _ in 0..CLIENTS {
            scope.spawn(|| deposit_until(&ended, &system.commands()));
            scope.spawn(|| query_until(&ended, &system.queries(), &long, &queries));
        }
        let before = queries.load(Ordering::Relaxed);
        rebuild_all(&system.queries());
        let meanwhile = queries.load(Ordering::Relaxed) - before;
        eprintln!("{meanwhile} queries were answered while {EVENTS} events were replayed");
        assert!(meanwhile > 0, "nothing was asked meanwhile");
    });

    let head = system.commands().get("/events?limit=1").expect(200).json()["head"].as_u64().unwrap();
    wait_until("the read side has caught up", || position(&system.queries()) == Some(head));
    let rebuilt_and_followed = rows(&system.directory);
    // Another one, that has read the log from its beginning and rebuilt nothing.
    let elsewhere = Directory::fresh();
    let another = System::read(&elsewhere, &system.registry.url()).start();
    wait_until("another read side has caught up", || position(&another.client()) == Some(head));
    assert!(rows(&elsewhere) == rebuilt_and_followed, "the rows differ");
    assert!(rebuilt_and_followed["transactions"].len() as u64 >= EVENTS);
    let tables: usize = projections().iter().map(|projection| projection.tables.len()).sum();
    assert_eq!(rebuilt_and_followed.len(), tables, "tables were left out");
}

/// Ends the load when it goes out of scope, also when the test fails.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// None while the read side fills its rows for the first time: it answers no query then.
fn position(queries: &Client) -> Option<u64> {
    let reply = queries.get("/position");
    if reply.status == 503 {
        assert_eq!(reply.problem(), "read-model-behind", "{reply:?}");
        return None;
    }
    reply.expect(200).json()["position"].as_u64()
}

fn deposit_until(ended: &AtomicBool, commands: &Client) {
    let receipt = commands.post("/accounts", &json!({"owner": "Bob"})).expect(201).json();
    let path = format!("/accounts/{}/deposit", receipt["stream_id"].as_str().unwrap());
    while !ended.load(Ordering::Relaxed) {
        commands.post(&path, &json!({"amount": 1})).expect(200);
    }
}

/// Asks each kind of question in turn; each answer must be at least as new as the one before.
fn query_until(ended: &AtomicBool, queries: &Client, id: &str, count: &AtomicU64) {
    let questions = [
        format!("/accounts/{id}"),
        format!("/accounts/{id}/transactions?limit=5"),
        format!("/accounts/{id}?at_version=1000"),
        "/accounts?limit=5".to_owned(),
        "/summary".to_owned(),
    ];
    let mut newest = HashMap::new();
    for question in questions.iter().cycle() {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let reply = queries.get(question).expect(200);
        let reached: u64 = reply.header("Event-Position").unwrap().parse().unwrap();
        let before = newest.insert(question, reached).unwrap_or(0);
        assert!(reached >= before, "{question} went back from {before} to {reached}");
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Rebuilds one projection after the other, each until it is live again.
fn rebuild_all(queries: &Client) {
    for name in projections().iter().map(|projection| projection.name) {
        queries.post(&format!("/projections/{name}/rebuild"), &json!({})).expect(202);
        wait_until(&format!("{name} is rebuilt"), || {
            let projections = queries.get("/projections").expect(200).json();
            let of_name = |projection: &&Value| projection["name"] == name;
            let projection = projections["projections"].as_array().unwrap().iter().find(of_name).unwrap();
            assert_eq!(projection["error"], Value::Null);
            projection["state"] == "live"
        });
    }
}

/// Every row of every table of the read models, as text, in order.
fn rows(directory: &Directory) -> HashMap<String, Vec<String>> {
    let db = Connection::open(directory.join("read_db.sqlite3")).unwrap();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let tables: Vec<String> =
        db.prepare(tables).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    // The projector's own tables have names of their own: they say how far it is, and may differ.
    let models = projections();
    let of_models =
        |table: &String| models.iter().any(|projection| projection.tables.contains(&table.as_str()));
    tables.into_iter().filter(of_models).map(|table| (table.clone(), rows_of(&db, &table))).collect()
}

fn rows_of(db: &Connection, table: &str) -> Vec<String> {
    let mut statement = db.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
    let columns = statement.column_count();
    let text = |row: &rusqlite::Row<'_>| {
        let values: Vec<_> =
            (0..columns).map(|column| format!("{:?}", row.get_ref(column).unwrap())).collect();
        Ok(values.join("|"))
    };
    statement.query_map([], text).unwrap().map(Result::unwrap).collect()
}
