//! A read database that was deleted, is of an older version, or is rebuilt at the start: no answer denies an
//! account that exists, and none shows an older balance than a client has seen.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tally::http::Route;
use tally::read_side::{self, ReadSide};

use crate::bank::fill;
use crate::support::{Binary, Client, Directory, Launch, Process, System, wait_until};

/// Events to replay, and rounds of deleting the read database, in `cargo test` and in the slow suite.
const QUICK: (u64, u32) = (20_000, 1);
const SLOW: (u64, u32) = (500_000, 5);
const CLIENTS: usize = 4;

struct Bank {
    directory: Directory,
    registry: Process,
    write: Process,
}

impl Bank {
    fn with(events: u64) -> Self {
        let directory = Directory::fresh();
        if events > 0 {
            fill(&directory, events);
        }
        let registry = System::registry(&directory).start();
        let write = System::write(&directory, &registry.url()).start();
        Self { directory, registry, write }
    }

    fn read(&self) -> Launch {
        System::read(&self.directory, &self.registry.url())
    }

    fn delete_read_database(&self) {
        for name in ["read_db.sqlite3", "read_db.sqlite3-wal", "read_db.sqlite3-shm"] {
            // Some of them may not be there.
            let _ = std::fs::remove_file(self.directory.join(name));
        }
    }
}

fn is_caught_up(client: &Client) -> bool {
    client.get("/position").status == 200
}

/// Deposits, and reads every account that it knows, until it is told to stop.
fn use_the_bank(commands: &Client, queries: &dyn Fn() -> Client, stop: &AtomicBool) -> u64 {
    let open = || commands.post("/accounts", &json!({"owner": "Ada"})).expect(201).json();
    let id = |receipt: Value| receipt["stream_id"].as_str().unwrap().to_owned();
    let mut seen: BTreeMap<String, u64> = (0..3).map(|_| (id(open()), 1)).collect();
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        for (account, version) in &mut seen {
            commands.post(&format!("/accounts/{account}/deposit"), &json!({"amount": 1})).expect(200);
            let Ok(reply) = queries().try_get(&format!("/accounts/{account}")) else { continue };
            match reply.status {
                200 => {
                    let now = reply.json()["version"].as_u64().unwrap();
                    assert!(now >= *version, "{account} was at version {version}: {reply:?}");
                    (*version, answered) = (now, answered + 1);
                }
                // Opened just now, and the rows are a moment behind: an eventually consistent answer.
                404 if *version == 1 => {}
                503 => {
                    assert_eq!(reply.problem(), "read-model-behind", "{reply:?}");
                    assert!(reply.header("Retry-After").is_some(), "{reply:?}");
                }
                _ => panic!("{account} was at version {version}: {reply:?}"),
            }
        }
    }
    answered
}

fn delete_and_check((events, rounds): (u64, u32)) {
    let bank = Bank::with(events);
    let read = std::sync::Mutex::new(Some(bank.read().start()));
    let queries = || read.lock().unwrap().as_ref().map(Process::client).unwrap();
    wait_until("the first fill has ended", || is_caught_up(&queries()));
    let stop = AtomicBool::new(false);
    let commands = bank.write.client();
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| use_the_bank(&commands, &queries, &stop))).collect();
        for _ in 0..rounds {
            {
                let mut read = read.lock().unwrap();
                drop(read.take());
                bank.delete_read_database();
                *read = Some(bank.read().start());
            }
            wait_until("the rows answer again", || is_caught_up(&queries()));
        }
        stop.store(true, Ordering::Relaxed);
        let answered: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
        assert!(answered > 0);
        eprintln!("{answered} answers while the read database was deleted {rounds} times");
    });
}

#[test]
fn a_deleted_read_database_denies_no_account_and_shows_no_balance_of_long_ago() {
    delete_and_check(QUICK);
}

#[test]
#[ignore = "slow suite: just refill-test"]
fn a_deleted_read_database_denies_no_account_and_shows_no_balance_of_long_ago_in_a_long_log() {
    delete_and_check(SLOW);
}

#[test]
fn a_new_read_service_without_a_write_side_answers_that_it_is_behind_and_shows_its_state() {
    let directory = Directory::fresh();
    let read = System::read(&directory, crate::bank::NO_REGISTRY).start();
    let client = read.client();
    let account = format!("/accounts/{}", uuid::Uuid::nil());
    // `/projections` shows the state, and is asked below.
    let shows_rows =
        |route: &&Route<ReadSide>| route.query.contains(&"min_position") && route.pattern != "/projections";
    let patterns = read_side::routes().iter().filter(shows_rows).map(|route| route.pattern);
    let queries = patterns.map(|pattern| pattern.replace("/accounts/{id}", &account));
    for query in queries.chain([format!("{account}?at_version=1")]) {
        let reply = client.get(&query).expect(503);
        assert_eq!(reply.problem(), "read-model-behind", "{query}");
        assert!(
            reply.header("Retry-After").is_some() && reply.header("Event-Position") == Some("0"),
            "{query}"
        );
    }
    for shown in ["/projections", "/health", "/metrics"] {
        client.get(shown).expect(200);
    }
}

#[test]
fn rows_of_another_version_answer_nothing_wrong_until_they_are_replaced() {
    let bank = Bank::with(0);
    let opened = bank.write.client().post("/accounts", &json!({"owner": "Ada"})).expect(201).json();
    let account = format!("/accounts/{}", opened["stream_id"].as_str().unwrap());
    let read = bank.read().start();
    read.client().get(&format!("{account}?min_position=1&wait=30")).expect(200);
    drop(read);
    let rows = rusqlite::Connection::open(bank.directory.join("read_db.sqlite3")).unwrap();
    rows.execute_batch("UPDATE checkpoints SET version = 0; UPDATE accounts SET balance = 666").unwrap();
    drop(rows);
    bank.write.signal("STOP");
    let read = bank.read().start();
    assert_eq!(read.client().get(&account).problem(), "read-model-behind");
    let shown = read.client().get("/projections").expect(200).json();
    assert_eq!(
        (&shown["projections"][0]["state"], &shown["projections"][0]["position"]),
        (&json!("rebuilding"), &json!(1))
    );
    bank.write.signal("CONT");
    wait_until("the rows answer again", || read.client().get(&account).status == 200);
    assert_eq!(read.client().get(&account).json()["balance"], 0);
}

#[test]
fn a_rebuild_at_the_start_serves_meanwhile_also_while_the_write_side_is_away() {
    let bank = Bank::with(0);
    let opened = bank.write.client().post("/accounts", &json!({"owner": "Ada"})).expect(201).json();
    let account = format!("/accounts/{}", opened["stream_id"].as_str().unwrap());
    let read = bank.read().start();
    read.client().get(&format!("{account}?min_position=1&wait=30")).expect(200);
    drop(read);
    let Bank { directory, registry, write } = bank;
    write.kill();
    let read = System::read(&directory, &registry.url()).argument("--rebuild").start();
    assert_eq!(read.client().get(&account).expect(200).json()["owner"], "Ada");
    let states = || read.client().get("/projections").expect(200).json();
    assert_eq!(states()["projections"][0]["state"], "rebuilding");
    let write = System::write(&directory, &registry.url()).start();
    wait_until("the rebuild has ended", || {
        states()["projections"].as_array().unwrap().iter().all(|shown| shown["state"] == "live")
    });
    drop(write);
}

#[test]
fn a_rebuild_is_given_up_on_request_and_can_be_asked_for_again() {
    let bank = Bank::with(0);
    bank.write.client().post("/accounts", &json!({"owner": "Ada"})).expect(201);
    let read = bank.read().start();
    let client = read.client();
    client.get("/position?min_position=1&wait=30").expect(200);
    let rebuild = "/projections/accounts/rebuild";
    let delete = |path: &str| client.try_send("DELETE", path, &[], None).unwrap();
    assert_eq!(delete(rebuild).expect(404).problem(), "rebuild-not-found");
    assert_eq!(delete("/projections/none/rebuild").expect(404).problem(), "projection-not-found");
    // A write side that stands still keeps the rebuild from ending.
    bank.write.signal("STOP");
    client.post(rebuild, &json!({})).expect(202);
    assert_eq!(client.post(rebuild, &json!({})).expect(409).problem(), "rebuild-running");
    delete(rebuild).expect(204);
    let shown = client.get("/projections").expect(200).json()["projections"][0].clone();
    assert_eq!((shown.get("rebuild"), &shown["error"]), (None, &Value::Null), "{shown}");
    assert_eq!(delete(rebuild).expect(404).problem(), "rebuild-not-found");
    bank.write.signal("CONT");
    client.post(rebuild, &json!({})).expect(202);
    wait_until("the rebuild has ended", || {
        client.get("/projections").json()["projections"][0].get("rebuild").is_none()
    });
}

#[test]
fn a_service_that_is_told_to_stop_takes_no_command_while_it_deregisters() {
    // A registry that takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let directory = Directory::fresh();
    let write = Launch::on_free_port(Binary::Write, &directory).flag("--registry", &url).start();
    write.client().post("/accounts", &json!({"owner": "Ada"})).expect(201);
    write.signal("TERM");
    let address = write.address().to_owned();
    wait_until("no connection is taken any more", || std::net::TcpStream::connect(&address).is_err());
    let ended = write.ended();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}
