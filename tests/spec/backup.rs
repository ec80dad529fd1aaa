//! `write-service --backup PATH`: a copy of a log in use, and what a restored one still knows.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::bank::Bank;
use crate::support::{Binary, Directory, Ended, Launch, System, wait_until};

fn back_up(directory: &Directory, to: &str) -> Ended {
    Launch::of(Binary::Write, directory).flag("--backup", to).run()
}

#[test]
fn a_backup_under_load_has_everything_that_was_acknowledged_before_it_and_verifies() {
    let bank = Bank::start();
    let accounts: Vec<_> = (0..4).map(|_| bank.open()).collect();
    let stop = AtomicBool::new(false);
    let before = std::thread::scope(|scope| {
        for (client, account) in accounts.iter().enumerate() {
            let (bank, stop) = (&bank, &stop);
            scope.spawn(move || {
                for number in (0..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    let key = format!("{client}-{number}");
                    let path = format!("/accounts/{account}/deposit");
                    bank.client
                        .post_with(&path, &[("Idempotency-Key", &key)], &json!({"amount": 1}))
                        .expect(200);
                }
            });
        }
        wait_until("the load is on", || bank.head() > 50);
        let before = bank.head();
        let ended = back_up(bank.directory(), "copy.sqlite3");
        stop.store(true, Ordering::Relaxed);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(ended.stdout.iter().any(|line| line == "sound"), "{ended:?}");
        before
    });
    let original = bank.events();
    let restored = Directory::fresh();
    std::fs::copy(bank.directory().join("copy.sqlite3"), restored.join("write_db.sqlite3")).unwrap();
    let leftovers = std::fs::read_dir(bank.directory().path()).unwrap();
    let names: Vec<_> = leftovers.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("copy.")).count(), 1, "{names:?}");

    let restored = Bank::on(restored);
    let head = restored.head();
    assert!(head >= before, "{head} < {before}");
    assert_eq!(restored.events(), original[..head as usize], "the same history, to the hash");
    // A command that was acknowledged before the backup is known by its key.
    let path = format!("/accounts/{}/deposit", accounts[0]);
    let again =
        restored.client.post_with(&path, &[("Idempotency-Key", "0-0")], &json!({"amount": 1})).expect(200);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    assert_eq!(restored.head(), head);
}

#[test]
fn a_backup_overwrites_nothing() {
    let bank = Bank::start();
    bank.open();
    std::fs::write(bank.directory().join("mine"), "precious").unwrap();
    let ended = back_up(bank.directory(), "mine");
    assert_eq!((ended.status.code(), ended.stderr.lines().count()), (Some(1), 1), "{ended:?}");
    assert!(ended.stderr.contains("overwrites nothing"), "{ended:?}");
    assert_eq!(std::fs::read(bank.directory().join("mine")).unwrap(), b"precious");
    let ended = back_up(bank.directory(), "no/such/directory/copy");
    assert_eq!((ended.status.code(), ended.stderr.lines().count()), (Some(1), 1), "{ended:?}");
}

#[test]
fn a_backup_that_was_interrupted_does_not_stand_in_the_way() {
    let bank = Bank::start();
    bank.open();
    std::fs::write(bank.directory().join("copy-partial"), "half of a file").unwrap();
    assert_eq!(back_up(bank.directory(), "copy").status.code(), Some(0));
    assert!(!bank.directory().join("copy-partial").exists());
}

#[test]
fn there_is_no_backup_of_a_log_that_is_not_sound() {
    let bank = Bank::start();
    bank.open();
    let directory = bank.stopped();
    let file = rusqlite::Connection::open(directory.join("write_db.sqlite3")).unwrap();
    file.execute_batch("DROP TRIGGER events_are_never_changed").unwrap();
    let ended = back_up(&directory, "copy");
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stdout.iter().any(|line| line.contains("WRONG")), "{ended:?}");
    assert!(!directory.join("copy").exists() && !directory.join("copy-partial").exists());
}

/// Stops the write side of `system`, puts `copy` in its place, and starts it again on the same
/// address, as an operator would.
fn restore(system: System, copy: &str) -> System {
    let System { read, write, registry, directory } = system;
    let address = write.address().to_owned();
    assert_eq!(write.stop().status.code(), Some(0));
    std::fs::copy(directory.join(copy), directory.join("write_db.sqlite3")).unwrap();
    let write = Launch::of(Binary::Write, &directory)
        .flag("--listen", &address)
        .flag("--registry", registry.url())
        .start();
    System { read, write, registry, directory }
}

fn deposit(system: &System, account: &str) -> u64 {
    let receipt = system.commands().post(&format!("/accounts/{account}/deposit"), &json!({"amount": 1}));
    receipt.expect(200).json()["position"].as_u64().unwrap()
}

fn balance(system: &System, account: &str, position: u64) -> u64 {
    let path = format!("/accounts/{account}?min_position={position}&wait=30");
    system.queries().get(&path).expect(200).json()["balance"].as_u64().unwrap()
}

#[test]
fn the_read_side_goes_on_with_a_restored_log_that_is_no_older_than_what_it_has_read() {
    let system = System::start();
    let opened = system.commands().post("/accounts", &json!({"owner": "Ada"})).expect(201);
    let account = opened.json()["stream_id"].as_str().unwrap().to_owned();
    let position = deposit(&system, &account);
    assert_eq!(balance(&system, &account, position), 1);
    assert_eq!(back_up(&system.directory, "copy").status.code(), Some(0));
    let system = restore(system, "copy");
    let position = deposit(&system, &account);
    assert_eq!(balance(&system, &account, position), 2);
}

#[test]
fn the_read_side_does_not_mix_what_it_has_read_with_a_restored_log_that_is_older() {
    let system = System::start();
    let opened = system.commands().post("/accounts", &json!({"owner": "Ada"})).expect(201);
    let account = opened.json()["stream_id"].as_str().unwrap().to_owned();
    assert_eq!(back_up(&system.directory, "copy").status.code(), Some(0));
    let position = deposit(&system, &account);
    assert_eq!(balance(&system, &account, position), 1);
    let system = restore(system, "copy");
    let unhealthy = || system.queries().get("/health").status == 503;
    wait_until("the read side refuses the log that is behind it", unhealthy);
    // Another history grows to the same position, and beyond.
    let grown = (0..3).map(|_| deposit(&system, &account)).last();
    assert!(grown > Some(position));
    wait_until("it refuses that too", unhealthy);
    let behind = system.queries().get(&format!("/accounts/{account}?min_position={}&wait=1", position + 1));
    assert_eq!(behind.status, 503, "{behind:?}");
    assert!(system.read.stderr().contains("delete this database"), "{}", system.read.stderr());
}
