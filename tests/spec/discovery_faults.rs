//! Discovery that fails, lies or leads to somebody else: the read side keeps answering, says what it
//! sees, never mixes two histories, and goes on by itself.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};

use crate::bank::NO_REGISTRY;
use crate::support::{
    Binary, Client, Directory, Launch, Process, System, free_address, wait_for, wait_until,
};

/// Opens an account, and returns its path and the position of its event.
fn open(commands: &Client) -> (String, u64) {
    let receipt = commands.post("/accounts", &json!({"owner": "Ada"})).expect(201).json();
    (format!("/accounts/{}", receipt["stream_id"].as_str().unwrap()), receipt["position"].as_u64().unwrap())
}

/// A command on one side is seen on the other.
fn is_followed(write: &Process, read: &Process) -> String {
    let (account, position) = open(&write.client());
    let query = format!("{account}?min_position={position}&wait=30");
    wait_until("the command is seen", || read.client().get(&query).status == 200);
    account
}

fn state_of_write_side(read: &Process) -> Value {
    read.client().get("/health").json()["write_side"]["state"].clone()
}

fn write_at(address: &str, directory: &Directory, registry: &str) -> Launch {
    let launch = Launch::of(Binary::Write, directory).flag("--listen", address);
    launch.flag("--registry", registry).flag("--heartbeat-interval", "0.2")
}

#[test]
fn a_registry_that_dies_and_returns_is_missed_by_nobody() {
    let directory = Directory::fresh();
    let launch = Launch::of(Binary::Registry, &directory).flag("--listen", free_address()).flag("--ttl", "2");
    let registry = launch.start();
    let url = registry.url();
    let mut write = System::write(&directory, &url).start();
    let read = System::read(&directory, &url).start();
    is_followed(&write, &read);
    let mut registry = Some(registry);
    for _ in 0..2 {
        registry.take().into_iter().for_each(Process::kill);
        is_followed(&write, &read);
        registry = Some(launch.start());
        // Which knows nobody yet; and then the write side moves.
        write.kill();
        write = System::write(&directory, &url).start();
        is_followed(&write, &read);
        registry.iter().for_each(both_are_registered);
    }
}

fn both_are_registered(registry: &Process) {
    wait_until("both are registered again", || {
        let services = registry.client().get("/services").expect(200).json();
        services["services"].as_object().unwrap().len() == 2
    });
}

#[test]
fn of_two_registries_that_disagree_the_one_with_the_truth_wins_though_the_other_never_learns_it() {
    let directory = Directory::fresh();
    // This one goes on telling where the write side was.
    let stale = Launch::on_free_port(Binary::Registry, &directory).flag("--ttl", "3600").start();
    let gone = free_address();
    let port: u16 = gone.rsplit(':').next().unwrap().parse().unwrap();
    let lie = json!({"name": "write", "host": "127.0.0.1", "port": port});
    stale.client().post("/services", &lie).expect(201);
    let truth = System::registry(&directory).start();
    let write = System::write(&directory, &truth.url()).start();
    let read = System::read(&directory, &format!("{},{}", stale.url(), truth.url())).start();
    is_followed(&write, &read);
}

#[test]
fn a_registry_that_answers_garbage_or_never_holds_up_nobody() {
    for answer in
        [Some("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\0garbage\n"), Some("\u{fffd}\r\n"), None]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || misbehave(&listener, answer));
        let directory = Directory::fresh();
        let truth = System::registry(&directory).start();
        let both = format!("{url},{}", truth.url());
        let write = System::write(&directory, &both).start();
        let read = System::read(&directory, &both).start();
        is_followed(&write, &read);
    }
}

/// Answers every connection with that, or takes it and says nothing for ever.
fn misbehave(listener: &TcpListener, answer: Option<&str>) {
    let mut silent: Vec<TcpStream> = Vec::new();
    for mut stream in listener.incoming().map_while(Result::ok) {
        match answer {
            Some(answer) => drop(stream.write_all(answer.as_bytes())),
            None => silent.push(stream),
        }
    }
}

#[test]
fn a_frozen_write_side_is_said_to_be_away_while_queries_go_on_and_is_followed_when_thawed() {
    let system = System::start();
    let account = is_followed(&system.write, &system.read);
    system.write.signal("STOP");
    wait_until("the read side says so", || {
        system.queries().get(&account).expect(200);
        state_of_write_side(&system.read) == "unreachable"
    });
    system.write.signal("CONT");
    is_followed(&system.write, &system.read);
    assert_eq!(state_of_write_side(&system.read), "reachable");
}

#[test]
fn another_program_on_the_port_of_the_write_side_is_not_taken_for_it() {
    let directory = Directory::fresh();
    let registry = Launch::on_free_port(Binary::Registry, &directory).flag("--ttl", "3600").start();
    let address = free_address();
    let write = write_at(&address, &directory, &registry.url()).start();
    let read = System::read(&directory, &registry.url()).start();
    let account = is_followed(&write, &read);
    write.kill();
    let impostor = Launch::of(Binary::Registry, &directory).flag("--listen", &address).start();
    wait_until("it is noticed", || {
        let health = read.client().get("/health").json();
        health["write_side"]["state"] == "unreachable" && health["write_side"].to_string().contains("404")
    });
    read.client().get(&account).expect(200);
    impostor.kill();
    let write = write_at(&address, &directory, &registry.url()).start();
    is_followed(&write, &read);
}

/// Waits until the read side refuses to follow, and checks that it does so loudly.
fn refuses(read: &Process, why: &str) {
    let health = wait_for("it is refused", || {
        Some(read.client().get("/health"))
            .filter(|health| health.status == 503 && health.text().contains(why))
    });
    let projections = read.client().get("/projections").expect(200).json();
    for projection in projections["projections"].as_array().unwrap() {
        assert_eq!(projection["state"], "stalled", "{projection} {health:?}");
    }
    read.wait_for_log(why);
}

fn refuses_another_history(read: &Process) {
    refuses(read, "but these read models follow log");
}

#[test]
fn another_log_on_the_port_of_the_write_side_is_refused_until_the_right_one_is_back() {
    let (directory, elsewhere) = (Directory::fresh(), Directory::fresh());
    let registry = System::registry(&directory).start();
    let address = free_address();
    let write = write_at(&address, &directory, &registry.url()).start();
    let read = System::read(&directory, &registry.url()).start();
    let account = is_followed(&write, &read);
    write.kill();
    let other = write_at(&address, &elsewhere, &registry.url()).start();
    let foreign = (0..3).map(|_| open(&other.client()).0).last().unwrap();
    refuses_another_history(&read);
    read.client().get(&account).expect(200);
    read.client().get(&foreign).expect(404);
    other.kill();
    let write = write_at(&address, &directory, &registry.url()).start();
    is_followed(&write, &read);
    wait_until("it is healthy again", || read.client().get("/health").status == 200);
}

fn back_up(directory: &Directory, name: &str) {
    let ended = Launch::of(Binary::Write, directory).flag("--backup", name).run();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

/// Puts a backup in the place of the database, and lets it have other events, up to position `head`,
/// where nobody looks for it.
fn restore(directory: &Directory, backup: &str, head: u64) {
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(directory.join(&format!("write_db.sqlite3{suffix}")));
    }
    std::fs::copy(directory.join(backup), directory.join("write_db.sqlite3")).unwrap();
    let write = Launch::on_free_port(Binary::Write, directory).flag("--registry", NO_REGISTRY).start();
    let at = || write.client().get("/events?limit=1").expect(200).json()["head"].as_u64().unwrap();
    while at() < head {
        open(&write.client());
    }
    assert_eq!(at(), head);
    assert_eq!(write.stop().status.code(), Some(0));
}

/// The log id is the same, and nothing new comes that would not fit.
#[test]
fn a_log_that_was_restored_is_refused_at_once_also_at_exactly_the_position_that_was_read() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let launch = write_at(&free_address(), &directory, &registry.url());
    let write = launch.start();
    let mut read = System::read(&directory, &registry.url()).start();
    is_followed(&write, &read);
    back_up(&directory, "early.sqlite3");
    let accounts = [(); 3].map(|()| is_followed(&write, &read));
    back_up(&directory, "late.sqlite3");
    write.kill();
    for (head, what) in [(4, "event 4 of the feed is not the one that was read"), (3, "it has lost events")] {
        restore(&directory, "early.sqlite3", head);
        let write = launch.start();
        refuses(&read, what);
        // Also when it meets it at its start.
        assert_eq!(read.stop().status.code(), Some(0));
        read = System::read(&directory, &registry.url()).start();
        refuses(&read, what);
        read.client().get(&accounts[2]).expect(200);
        write.kill();
    }
    restore(&directory, "late.sqlite3", 4);
    let write = launch.start();
    is_followed(&write, &read);
    wait_until("it is healthy again", || read.client().get("/health").status == 200);
}

#[test]
fn the_right_log_is_found_at_another_port_though_the_wrong_one_stays() {
    let (directory, elsewhere) = (Directory::fresh(), Directory::fresh());
    let registry = System::registry(&directory).start();
    let address = free_address();
    let write = write_at(&address, &directory, &registry.url()).start();
    let read = System::read(&directory, &registry.url()).start();
    is_followed(&write, &read);
    write.kill();
    let _other = write_at(&address, &elsewhere, &registry.url()).start();
    refuses_another_history(&read);
    let write = System::write(&directory, &registry.url()).start();
    is_followed(&write, &read);
    wait_until("it is healthy again", || read.client().get("/health").status == 200);
}

/// Waits until it logs `text` once more than before `act`.
fn logs_again<T>(read: &Process, text: &str, act: impl FnOnce() -> T) -> T {
    let times = || read.stderr().matches(text).count();
    let before = times();
    let done = act();
    wait_until(&format!("{text:?} is logged again"), || times() > before);
    done
}

#[test]
fn the_right_log_is_found_at_another_port_also_when_the_wrong_one_was_away_and_is_back() {
    let (directory, elsewhere) = (Directory::fresh(), Directory::fresh());
    let registry = System::registry(&directory).start();
    let address = free_address();
    let write = write_at(&address, &directory, &registry.url()).start();
    let read = System::read(&directory, &registry.url()).start();
    is_followed(&write, &read);
    write.kill();
    let other = write_at(&address, &elsewhere, &registry.url());
    let process = other.start();
    refuses_another_history(&read);
    logs_again(&read, "the write side is away", || process.kill());
    let _other = logs_again(&read, "following the write side", || other.start());
    let write = System::write(&directory, &registry.url()).start();
    is_followed(&write, &read);
}

#[test]
fn a_registry_that_answers_late_holds_up_no_query_and_no_feed() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let write = System::write(&directory, &registry.url()).start();
    let read = System::read(&directory, &registry.url()).start();
    is_followed(&write, &read);
    registry.signal("STOP");
    // Late enough to have been asked in vain.
    read.wait_for_log("keeping the last known address");
    for _ in 0..5 {
        is_followed(&write, &read);
    }
    registry.signal("CONT");
    both_are_registered(&registry);
    assert_eq!(write.stop().status.code(), Some(0));
}

#[test]
fn a_verification_without_a_write_side_says_whom_it_asked_and_what_it_needs() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let write = System::write(&directory, &registry.url()).start();
    let read = System::read(&directory, &registry.url()).start();
    is_followed(&write, &read);
    let url = registry.url();
    registry.kill();
    let ended = System::read(&directory, &url).argument("--verify").run();
    assert_eq!(ended.status.code(), Some(1));
    for said in ["a write side must answer", &format!("no registry answers (asked {url})"), "--write-side"] {
        assert!(ended.stderr.contains(said), "{said}: {}", ended.stderr);
    }
}
