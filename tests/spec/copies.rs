//! A write service on a copy of the log: it does not become the log unasked, and who follows the log
//! tells the two apart.

use serde_json::{Value, json};

use crate::bank::NO_REGISTRY;
use crate::support::{Binary, Client, Directory, Launch, Process, System, free_address, wait_until};

fn open(commands: &Client) -> String {
    let receipt = commands.post("/accounts", &json!({"owner": "Ada"})).expect(201).json();
    format!("/accounts/{}", receipt["stream_id"].as_str().unwrap())
}

/// A directory with a copy of the log as it is now.
fn copy_of(directory: &Directory) -> Directory {
    let copy = Directory::fresh();
    let path = copy.join("write_db.sqlite3");
    let ended = Launch::of(Binary::Write, directory).flag("--backup", &path).run();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    copy
}

fn instances(registry: &Process, name: &str) -> Vec<Value> {
    let answer = registry.client().get(&format!("/services/{name}")).expect(200).json();
    answer["instances"].as_array().unwrap().clone()
}

fn wait_until_registered(registry: &Process, write: &Process) {
    let port: u16 = write.address().rsplit(':').next().unwrap().parse().unwrap();
    let is_there = || instances(registry, "write").iter().any(|instance| instance["port"] == port);
    wait_until("the write service is registered", is_there);
}

fn is_shown(read: &Process, account: &str) {
    wait_until(&format!("{account} is shown"), || read.client().get(account).status == 200);
}

fn not_registered(write: &Process) -> Value {
    write.client().get("/health").expect(200).json()["not_registered"].clone()
}

#[test]
fn what_a_write_service_registers_names_its_log_and_its_head() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let write = System::write(&directory, NO_REGISTRY).start();
    open(&write.client());
    assert_eq!(write.stop().status.code(), Some(0));
    let write = System::write(&directory, &registry.url()).start();
    wait_until_registered(&registry, &write);
    let metadata = instances(&registry, "write")[0]["metadata"].clone();
    let feed = write.client().get("/events").expect(200).json();
    assert_eq!((&metadata["log_id"], &metadata["head_at_registration"]), (&feed["log_id"], &json!("1")));
}

#[test]
fn a_write_service_on_a_copy_of_a_live_log_says_so_and_does_not_register() {
    let System { read, write, registry, directory } = System::start();
    wait_until_registered(&registry, &write);
    open(&write.client());
    let elsewhere = copy_of(&directory);
    let copy = System::write(&elsewhere, &registry.url()).start();
    copy.wait_for_log("not registering");
    copy.wait_for_log(&write.url());
    assert!(not_registered(&copy).as_str().unwrap().contains("--allow-copy"));
    assert_eq!(not_registered(&write), Value::Null);
    assert_eq!(instances(&registry, "write").len(), 1);
    wait_until_registered(&registry, &write);
    // It serves all the same, and ends in order.
    open(&copy.client());
    is_shown(&read, &open(&write.client()));
    assert_eq!(copy.stop().status.code(), Some(0));
}

#[test]
fn a_copy_that_is_not_registered_does_not_keep_the_original_from_coming_back() {
    let System { read, write, registry, directory } = System::start();
    wait_until_registered(&registry, &write);
    open(&write.client());
    let elsewhere = copy_of(&directory);
    let copy = System::write(&elsewhere, &registry.url()).start();
    copy.wait_for_log("not registering");
    write.kill();
    wait_until("the lease has run out", || instances(&registry, "write").is_empty());
    let write = System::write(&directory, &registry.url()).start();
    wait_until_registered(&registry, &write);
    assert_eq!(instances(&registry, "write").len(), 1);
    is_shown(&read, &open(&write.client()));
}

#[test]
fn a_write_service_that_is_started_again_is_no_copy_of_itself() {
    let directory = Directory::fresh();
    // The lease of the killed process outlives it.
    let registry = Launch::on_free_port(Binary::Registry, &directory).flag("--ttl", "3600").start();
    let address = free_address();
    let at_one_address = System::write(&directory, &registry.url());
    let same = Launch::of(Binary::Write, &directory).flag("--listen", &address);
    for launch in [same.flag("--registry", registry.url()), at_one_address] {
        let write = launch.start();
        wait_until_registered(&registry, &write);
        write.kill();
        let write = launch.start();
        wait_until_registered(&registry, &write);
        write.wait_for_log("registered as write");
        assert_eq!(not_registered(&write), Value::Null);
        write.kill();
    }
}

#[test]
fn a_new_read_service_follows_the_longer_of_two_copies_whichever_registered_last() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let write = System::write(&directory, &registry.url()).start();
    wait_until_registered(&registry, &write);
    open(&write.client());
    let elsewhere = copy_of(&directory);
    let newest = open(&write.client());
    // What the copy registers is longer than what the original has registered.
    let copy = System::write(&elsewhere, &registry.url()).argument("--allow-copy").start();
    wait_until_registered(&registry, &copy);
    assert_eq!(instances(&registry, "write").len(), 2);
    let read = System::read(&directory, &registry.url()).start();
    is_shown(&read, &newest);
    is_shown(&read, &open(&write.client()));
    read.wait_for_log("2 instances of write have a log that could be followed");
}

#[test]
fn a_read_service_that_met_the_copy_goes_over_to_the_longer_original() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let write = System::write(&directory, NO_REGISTRY).start();
    let early = open(&write.client());
    let elsewhere = copy_of(&directory);
    let late = open(&write.client());
    assert_eq!(write.stop().status.code(), Some(0));
    let copy = System::write(&elsewhere, &registry.url()).start();
    wait_until_registered(&registry, &copy);
    let read = System::read(&directory, &registry.url()).start();
    is_shown(&read, &early);
    read.client().get(&late).expect(404);
    let write = System::write(&directory, &registry.url()).argument("--allow-copy").start();
    is_shown(&read, &late);
    is_shown(&read, &open(&write.client()));
    read.client().get("/health").expect(200);
}

#[test]
fn a_read_service_with_a_pinned_write_side_follows_it_whatever_is_registered() {
    let (directory, elsewhere) = (Directory::fresh(), Directory::fresh());
    let registry = System::registry(&directory).start();
    let stranger = System::write(&elsewhere, &registry.url()).start();
    wait_until_registered(&registry, &stranger);
    (0..3).for_each(|_| drop(open(&stranger.client())));
    let write = System::write(&directory, NO_REGISTRY).start();
    let read = System::read(&directory, &registry.url()).flag("--write-side", write.url()).start();
    is_shown(&read, &open(&write.client()));
    wait_until("the read side registers", || instances(&registry, "read").len() == 1);
    let verified = System::read(&directory, &registry.url()).argument("--verify");
    let verified = verified.flag("--write-side", write.url()).run();
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
}

#[test]
fn a_hundred_and_sixty_fat_strangers_under_its_name_do_not_hide_the_write_side() {
    let directory = Directory::fresh();
    let registry = Launch::on_free_port(Binary::Registry, &directory).flag("--ttl", "3600").start();
    let write = System::write(&directory, &registry.url()).start();
    wait_until_registered(&registry, &write);
    let metadata: serde_json::Map<String, Value> =
        (0..7).map(|key| (key.to_string(), "x".repeat(256).into())).collect();
    let port: u16 = free_address().rsplit(':').next().unwrap().parse().unwrap();
    let stranger = json!({"name": "write", "host": "127.0.0.1", "port": port, "metadata": metadata});
    for _ in 0..160 {
        registry.client().post("/services", &stranger).expect(201);
    }
    let read = System::read(&directory, &registry.url()).start();
    is_shown(&read, &open(&write.client()));
}
