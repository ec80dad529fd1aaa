//! Damaged files: a clear refusal at the start, and never a silent repair of the log.

use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use serde_json::Value;

use crate::bank::{Bank, NO_REGISTRY};
use crate::support::{Binary, Directory, Ended, Launch};

const DATABASE: &str = "write_db.sqlite3";
const PAGE: usize = 4096;
/// Of a frame in the write-ahead log: its header and a page.
const FRAME: usize = 24 + PAGE;
const WAL_HEADER: usize = 32;

fn launch(directory: &Directory) -> Launch {
    Launch::on_free_port(Binary::Write, directory).flag("--registry", NO_REGISTRY)
}

#[track_caller]
fn assert_refused(ended: &Ended, reason: &str) {
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(1), 0), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.contains(reason) && ended.stderr.contains(DATABASE), "{reason}: {ended:?}");
}

/// The files of a log that was closed in order, and its last event.
fn closed() -> Directory {
    let bank = Bank::start();
    let account = bank.open();
    (0..50).for_each(|_| drop(bank.deposit(&account, 1).expect(200)));
    bank.stopped()
}

/// The files of a log after SIGKILL, all of it in the write-ahead log, and the events that were
/// acknowledged.
fn crashed() -> (Directory, Vec<Value>) {
    let bank = Bank::start();
    let account = bank.open();
    (0..20).for_each(|_| drop(bank.deposit(&account, 1).expect(200)));
    let events = bank.events();
    (bank.crashed(), events)
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_database_that_was_truncated_or_overwritten_is_refused_and_left_as_it_is() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(Damage, &str); 7] = [
        (|bytes| bytes.truncate(bytes.len() / 2 / PAGE * PAGE), "restore a backup"),
        (|bytes| bytes.truncate(bytes.len() - PAGE), "restore a backup"),
        (|bytes| bytes.truncate(100), "restore a backup"),
        (|bytes| bytes.truncate(0), "restore a backup"),
        (|bytes| bytes[..16].fill(0), "restore a backup"),
        (|bytes| bytes[..PAGE].fill(0xAA), "restore a backup"),
        (|bytes| bytes[PAGE..].fill(0), "restore a backup"),
    ];
    for (number, (damage, reason)) in damages.into_iter().enumerate() {
        let directory = closed();
        let path = directory.join(DATABASE);
        change(&path, damage);
        let damaged = std::fs::read(&path).unwrap();
        let ended = launch(&directory).run();
        assert_refused(&ended, reason);
        assert_eq!(std::fs::read(&path).unwrap(), damaged, "damage {number} was repaired");
    }
}

#[test]
fn history_that_was_changed_at_its_end_is_refused_at_the_start() {
    let directory = closed();
    let connection = Connection::open(directory.join(DATABASE)).unwrap();
    let sql = "SELECT sql FROM sqlite_schema WHERE name = 'events_are_never_changed'";
    let trigger: String = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    connection.execute_batch("DROP TRIGGER events_are_never_changed").unwrap();
    connection.execute_batch("UPDATE events SET data = replace(data, '1', '9') WHERE position = 40").unwrap();
    connection.execute_batch(&trigger).unwrap();
    drop(connection);
    assert_refused(&launch(&directory).run(), "hash chain is broken at event 40");
}

#[test]
fn a_foreign_or_newer_file_is_refused() {
    let directory = Directory::fresh();
    let path = directory.join(DATABASE);
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    let ended = launch(&directory).run();
    assert_refused(&ended, "another program");
    assert_eq!(ended.stderr.matches(DATABASE).count(), 1, "the path stands once: {ended:?}");
    std::fs::write(&path, "my notes, longer than the header of a database: ".repeat(30)).unwrap();
    assert_refused(&launch(&directory).run(), "choose another path");
    let directory = closed();
    Connection::open(directory.join(DATABASE)).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    assert_refused(&launch(&directory).run(), "version 99");
}

#[test]
fn a_second_write_service_on_the_same_file_is_refused_and_the_first_goes_on() {
    let bank = Bank::start();
    let account = bank.open();
    assert_refused(&launch(bank.directory()).run(), "another process writes to it");
    bank.deposit(&account, 1).expect(200);
}

#[test]
fn a_file_that_may_not_be_written_is_refused() {
    let directory = closed();
    // Root may write everywhere, so it becomes somebody else, where it can.
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let binary = Launch::of(Binary::Write, &directory).argument("--version");
    let can = Command::new(nobody[0]).args(&nobody[1..]).arg("true").status().is_ok_and(|s| s.success());
    if !can || !binary.clone().under(&nobody).run().status.success() {
        eprintln!("skipped: this user cannot become another one that may run the binary");
        return;
    }
    let ended = launch(&directory).under(&nobody).run();
    assert_refused(&ended, "permission");
}

#[test]
fn an_empty_file_in_the_place_of_a_log_is_known_for_a_loss() {
    let directory = closed();
    change(&directory.join(DATABASE), Vec::clear);
    assert_refused(&launch(&directory).run(), "to begin another log, delete");
    assert_eq!(std::fs::metadata(directory.join(DATABASE)).unwrap().len(), 0, "nothing was made of it");
    std::fs::remove_file(directory.join("write_db.sqlite3-lock")).unwrap();
    launch(&directory).start();
}

#[test]
fn a_write_ahead_log_without_its_database_is_not_thrown_away() {
    let (directory, _) = crashed();
    let wal = std::fs::read(directory.join("write_db.sqlite3-wal")).unwrap();
    std::fs::rename(directory.join(DATABASE), directory.join("elsewhere")).unwrap();
    assert_refused(&launch(&directory).run(), "write-ahead log is there");
    assert_eq!(std::fs::read(directory.join("write_db.sqlite3-wal")).unwrap(), wal);
}

#[test]
fn a_backup_is_not_mixed_with_the_write_ahead_log_that_a_crash_has_left() {
    let bank = Bank::start();
    let account = bank.open();
    let backup = Launch::of(Binary::Write, bank.directory()).flag("--backup", "copy").run();
    assert_eq!(backup.status.code(), Some(0));
    (0..20).for_each(|_| drop(bank.deposit(&account, 1).expect(200)));
    let directory = bank.crashed();
    std::fs::copy(directory.join("copy"), directory.join(DATABASE)).unwrap();
    assert_refused(&launch(&directory).run(), "write_db.sqlite3-wal and the -shm file");
    std::fs::remove_file(directory.join("write_db.sqlite3-wal")).unwrap();
    std::fs::remove_file(directory.join("write_db.sqlite3-shm")).unwrap();
    assert_eq!(Bank::on(directory).head(), 1);
}

#[test]
fn what_a_crash_leaves_half_written_is_dropped_and_every_acknowledged_commit_is_there() {
    type Tail = fn(&mut Vec<u8>);
    let tails: [Tail; 4] = [
        |_| (),
        // A frame that was begun, a frame that is torn, garbage.
        |wal| wal.extend_from_within(WAL_HEADER..WAL_HEADER + 100),
        |wal| wal.extend_from_within(WAL_HEADER..WAL_HEADER + FRAME),
        |wal| wal.extend_from_slice(&[0xAA; 3 * FRAME]),
    ];
    for tail in tails {
        let (directory, events) = crashed();
        change(&directory.join("write_db.sqlite3-wal"), tail);
        let bank = Bank::on(directory);
        assert_eq!(bank.events(), events);
        bank.open();
        let directory = bank.stopped();
        let verified = Launch::of(Binary::Write, &directory).argument("--verify").run();
        assert!(verified.status.success(), "{verified:?}");
    }
}

#[test]
fn a_write_ahead_log_that_lost_acknowledged_commits_is_refused_wherever_it_was_damaged() {
    let (directory, _) = crashed();
    let wal_path = directory.join("write_db.sqlite3-wal");
    let sound = std::fs::read(&wal_path).unwrap();
    let frames = (sound.len() - WAL_HEADER) / FRAME;
    let refused = |what: &str, wal: &[u8]| {
        std::fs::write(&wal_path, wal).unwrap();
        let ended = launch(&directory).run();
        assert_refused(&ended, "commits that were acknowledged are missing");
        assert_eq!(std::fs::read(&wal_path).unwrap(), wal, "{what}: left as it was");
    };
    for frame in (0..frames).step_by(frames / 6) {
        let begin = WAL_HEADER + frame * FRAME;
        refused("cut", &sound[..begin]);
        refused("cut in a frame", &sound[..begin + 1000]);
        let mut overwritten = sound.clone();
        overwritten[begin + 500..begin + 600].fill(0xAA);
        refused("overwritten", &overwritten);
    }
    let mut headless = sound.clone();
    headless[..WAL_HEADER].fill(0xAA);
    refused("without a head", &headless);
    refused("empty", &[]);
    std::fs::write(&wal_path, &sound).unwrap();
    launch(&directory).start();
}

#[test]
fn the_operator_may_go_on_without_what_is_lost() {
    let (directory, events) = crashed();
    let wal_path = directory.join("write_db.sqlite3-wal");
    change(&wal_path, |wal| wal.truncate(wal.len() - FRAME));
    assert_refused(&launch(&directory).run(), "write_db.sqlite3-shm");
    std::fs::remove_file(directory.join("write_db.sqlite3-shm")).unwrap();
    let bank = Bank::on(directory);
    let kept = bank.events();
    assert!(
        kept.len() < events.len() && kept[..] == events[..kept.len()],
        "the beginning of the same history"
    );
}

#[test]
fn damage_that_the_start_does_not_see_is_a_problem_of_its_own_account_and_verify_names_it() {
    let bank = Bank::start();
    let (damaged, sound) = (bank.open(), bank.open());
    (0..150).for_each(|_| drop(bank.deposit(&sound, 1).expect(200)));
    let directory = bank.stopped();
    let connection = Connection::open(directory.join(DATABASE)).unwrap();
    let sql = "SELECT sql FROM sqlite_schema WHERE name = 'events_are_never_changed'";
    let trigger: String = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    connection.execute_batch("DROP TRIGGER events_are_never_changed").unwrap();
    connection.execute_batch("UPDATE events SET data = '{\"who\":1}' WHERE position = 1").unwrap();
    connection.execute_batch(&trigger).unwrap();
    drop(connection);
    let bank = Bank::on(directory);
    let refused = bank.deposit(&damaged, 1);
    assert_eq!((refused.status, refused.problem()), (500, "log-damaged".to_owned()));
    bank.deposit(&sound, 1).expect(200);
    let verified = Launch::of(Binary::Write, bank.directory()).argument("--verify").run();
    assert!(verified.stdout.iter().any(|line| line.contains("event 1: its hash")), "{verified:?}");
}
