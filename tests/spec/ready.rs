//! `/ready`: whether a service can do its whole job now. Probers look at the status alone.

use serde_json::json;

use crate::bank::NO_REGISTRY;
use crate::support::{Binary, Directory, Launch, Process, System, wait_until};

fn is_ready(process: &Process) -> bool {
    let reply = process.client().get("/ready");
    assert!([200, 503].contains(&reply.status), "{reply:?}");
    if reply.status == 503 {
        assert_eq!(reply.problem(), "not-ready");
        assert!(reply.header("Retry-After").is_some(), "{reply:?}");
    }
    reply.status == 200
}

#[test]
fn a_registry_is_ready_one_ttl_after_its_start() {
    let directory = Directory::fresh();
    let long = Launch::on_free_port(Binary::Registry, &directory).flag("--ttl", "3600").start();
    assert!(!is_ready(&long));
    assert_eq!(long.client().get("/health").json()["ready"], false);
    let short = Launch::on_free_port(Binary::Registry, &directory).flag("--ttl", "0.2").start();
    wait_until("the registry's list is full", || is_ready(&short));
}

#[test]
fn a_write_side_is_ready_while_commands_can_be_recorded() {
    let directory = Directory::fresh();
    let write = System::write(&directory, NO_REGISTRY).start();
    assert!(is_ready(&write));
    assert_eq!(write.client().get("/health").json()["ready"], true);
    let moved = directory.join("moved");
    std::fs::rename(directory.join("write_db.sqlite3"), &moved).unwrap();
    assert_eq!(write.client().get("/ready").status, 503);
    std::fs::rename(&moved, directory.join("write_db.sqlite3")).unwrap();
    wait_until("the file is back", || is_ready(&write));
}

#[test]
fn a_read_side_is_ready_when_it_has_met_a_write_side_and_stays_so_while_that_is_away() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let read = System::read(&directory, &registry.url()).start();
    assert!(!is_ready(&read), "no write side was met");
    let write = System::write(&directory, &registry.url()).start();
    wait_until("the write side is met", || is_ready(&read));
    write.client().post("/accounts", &json!({"owner": "Ada"})).expect(201);
    write.kill();
    wait_until("the loss is noticed", || {
        read.client().get("/health").json()["write_side"]["state"] == "unreachable"
    });
    assert!(is_ready(&read), "its rows are as new as rows can be");
}

#[test]
fn a_read_side_that_is_too_far_behind_is_not_ready() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let write = System::write(&directory, &registry.url()).start();
    let launch = System::read(&directory, &registry.url()).flag("--ready-lag", "0");
    let read = launch.start();
    wait_until("it has caught up", || is_ready(&read));
    // Poison: the read side cannot go on, and the log does.
    let owner = json!({"owner": "Ada"});
    write.client().post("/accounts", &owner).expect(201);
    wait_until("it follows", || is_ready(&read) && read.client().get("/position").json()["position"] == 1);
    drop(read);
    let rows = rusqlite::Connection::open(directory.join("read_db.sqlite3")).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON accounts BEGIN SELECT RAISE(ABORT, 'on purpose'); END";
    rows.execute_batch(full).unwrap();
    drop(rows);
    let read = launch.start();
    write.client().post("/accounts", &owner).expect(201);
    wait_until("the lag is seen", || {
        let reply = read.client().get("/ready");
        reply.status == 503 && reply.text().contains("1 events behind the head 2")
    });
}

#[test]
fn a_paused_read_side_is_ready_until_it_is_behind_by_more_than_its_ready_lag() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let write = System::write(&directory, &registry.url()).start();
    let launch = System::read(&directory, &registry.url()).flag("--ready-lag", "0");
    let read = launch.start();
    wait_until("it has caught up", || is_ready(&read));
    read.client().post("/projections/pause", &json!({})).expect(204);
    assert!(is_ready(&read));
    let opened = write.client().post("/accounts", &json!({"owner": "Ada"})).expect(201).json();
    wait_until("the lag is seen", || {
        let reply = read.client().get("/ready");
        reply.status == 503 && reply.text().contains("behind the head 1; following is paused")
    });
    let late = read.client().get("/position?min_position=1&wait=0.1").expect(503);
    assert!(late.problem() == "read-model-behind" && late.text().contains("following is paused"), "{late:?}");
    let metrics = read.client().get("/metrics").text().to_owned();
    assert!(metrics.contains("tally_following_paused_info 1"), "{metrics}");
    assert_eq!(read.client().get("/health").expect(200).json()["ready"], false);
    // A restart follows again.
    let ended = read.stop();
    let told = ended.stderr.lines().filter(|line| line.contains("following is paused")).count();
    assert_eq!(told, 1, "{}", ended.stderr);
    let read = launch.start();
    let account = format!("/accounts/{}", opened["stream_id"].as_str().unwrap());
    read.client().get(&format!("{account}?min_position=1&wait=30")).expect(200);
}
