//! `write-service --backup PATH`: a copy of a log in use, and what a restored one still knows.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::bank::{Bank, fill};
use crate::support::{Binary, Directory, Ended, Launch, Process, System, wait_until};

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
fn a_backup_touches_no_file_that_it_has_not_made() {
    let bank = Bank::start();
    bank.open();
    let others =
        ["copy-partial", "copy-wal", "copy-shm", "copy-partial-journal", "copy-scratch-1/copy.sqlite3"];
    std::fs::create_dir(bank.directory().join("copy-scratch-1")).unwrap();
    for name in others {
        std::fs::write(bank.directory().join(name), "mine").unwrap();
    }
    // A database whose name is what a copy was called before it was complete.
    let log = Directory::fresh();
    let named = Launch::on_free_port(Binary::Write, &log).flag("--db", "copy-partial").start();
    named.client().post("/accounts", &json!({"owner": "Ada"})).expect(201);
    let ended = Launch::of(Binary::Write, &log).flag("--db", "copy-partial").flag("--backup", "copy").run();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    named.client().post("/accounts", &json!({"owner": "Ada"})).expect(201);

    assert_eq!(back_up(bank.directory(), "copy").status.code(), Some(0));
    for name in others {
        assert_eq!(std::fs::read(bank.directory().join(name)).unwrap(), b"mine", "{name}");
    }
}

#[test]
fn of_overlapping_backups_to_one_name_one_is_made_and_the_others_say_that_it_exists() {
    let bank = Bank::start();
    bank.open_holding(5);
    let launch = Launch::of(Binary::Write, bank.directory()).flag("--backup", "copy");
    let backups: Vec<_> = (0..6).map(|_| launch.spawn()).collect();
    let ended: Vec<_> = backups.into_iter().map(Process::ended).collect();
    let (made, refused): (Vec<_>, Vec<_>) = ended.iter().partition(|ended| ended.status.success());
    assert_eq!(made.len(), 1, "{ended:?}");
    for ended in refused {
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains("overwrites nothing") && ended.stdout.is_empty(), "{ended:?}");
    }
    let verified =
        Launch::of(Binary::Write, bank.directory()).flag("--db", "copy").argument("--verify").run();
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    assert_no_scratch(bank.directory());
}

#[test]
fn a_backup_is_readable_by_those_who_may_read_the_log_and_private_until_it_is_complete() {
    let directory = Bank::start().stopped();
    let log = directory.join("write_db.sqlite3");
    for mode in [0o600, 0o640] {
        std::fs::set_permissions(&log, std::fs::Permissions::from_mode(mode)).unwrap();
        let name = format!("copy-{mode}");
        assert_eq!(back_up(&directory, &name).status.code(), Some(0));
        let copy = std::fs::metadata(directory.join(&name)).unwrap();
        assert_eq!((copy.permissions().mode() & 0o777, copy.nlink()), (mode, 1));
    }
}

pub(crate) fn assert_no_scratch(directory: &Directory) {
    let names = std::fs::read_dir(directory.path()).unwrap().flatten();
    let left: Vec<_> = names.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.contains("-scratch-")), "{left:?}");
}

/// A log that takes a while to verify and to copy: checking its events alone takes some tenths of a second.
fn long_log() -> Directory {
    let directory = Directory::fresh();
    fill(&directory, 20_000);
    directory
}

#[test]
fn a_signal_ends_a_verification_and_a_backup_at_once_and_leaves_nothing_behind() {
    let directory = long_log();
    for (signal, status) in [("TERM", 143), ("INT", 130)] {
        for flags in [&["--verify"][..], &["--backup", "copy"]] {
            let launch = Launch::of(Binary::Write, &directory);
            let running = flags.iter().fold(launch, |launch, flag| launch.argument(flag)).spawn();
            // The handlers are in place when the log is open.
            wait_until("the log is open", || running.has_open("write_db.sqlite3"));
            if flags.len() == 2 {
                wait_until("the copy is begun", || running.has_open("copy.sqlite3"));
            }
            running.signal(signal);
            let ended = running.ended();
            assert_eq!((ended.status.code(), ended.stdout.len()), (Some(status), 0), "{ended:?}");
            assert!(ended.stderr.contains(signal) && ended.stderr.lines().count() == 1, "{ended:?}");
            assert!(!directory.join("copy").exists());
            assert_no_scratch(&directory);
        }
    }
    assert_eq!(back_up(&directory, "copy").status.code(), Some(0));
}

#[test]
fn a_backup_that_was_killed_does_not_stand_in_the_way() {
    let directory = long_log();
    let running = Launch::of(Binary::Write, &directory).flag("--backup", "copy").spawn();
    wait_until("the copy is begun", || running.has_open("copy.sqlite3"));
    running.kill();
    assert!(!directory.join("copy").exists());
    assert_eq!(back_up(&directory, "copy").status.code(), Some(0));
}

#[test]
fn a_signal_ends_the_verification_of_read_models_while_the_log_is_away() {
    let system = System::start();
    system.commands().post("/accounts", &json!({"owner": "Ada"})).expect(201);
    wait_until("the rows are there", || system.queries().get("/position").json()["position"] == 1);
    let System { read, write, registry, directory } = system;
    write.kill();
    let verifying = System::read(&directory, &registry.url()).argument("--verify").spawn();
    // It asks for the log for ten seconds before it gives up.
    wait_until("the replay is begun", || verifying.has_open("replay.sqlite3"));
    verifying.signal("TERM");
    let ended = verifying.ended();
    assert_eq!(ended.status.code(), Some(143), "{ended:?}");
    assert_no_scratch(&directory);
    drop(read);
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
    assert!(!directory.join("copy").exists());
    assert_no_scratch(&directory);
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
