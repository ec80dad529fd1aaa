//! The same promises, while the files under the processes are moved away, replaced, shared and restored.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Bank, Random, SEED, Target, work_and_check};
use crate::support::{Binary, Client, Directory, Launch, System, wait_for, wait_until};

const LOG: &str = "write_db.sqlite3";
/// The database and the files that SQLite keeps beside it.
const LOG_FILES: [&str; 3] = [LOG, "write_db.sqlite3-wal", "write_db.sqlite3-shm"];
/// Commands that are answered before and after a disturbance.
const COMMANDS: u64 = 300;

/// Files that were moved out of the directory of a running process.
struct MovedAway {
    files: Vec<(PathBuf, PathBuf)>,
}

impl MovedAway {
    fn from(directory: &Path, names: &[&str]) -> Self {
        let aside = directory.join("aside");
        std::fs::create_dir_all(&aside).unwrap();
        let files: Vec<_> = names.iter().map(|name| (directory.join(name), aside.join(name))).collect();
        // The database last: without it, SQLite may delete the others.
        files.iter().rev().for_each(|(name, aside)| std::fs::rename(name, aside).unwrap());
        Self { files }
    }

    fn back(self) {
        self.files.iter().for_each(|(name, aside)| std::fs::rename(aside, name).unwrap());
    }
}

fn is_healthy(client: &Client) -> bool {
    client.get("/health").status == 200
}

/// Waits until the write side has noticed that its log has no name any more, and checks that it
/// acknowledges nothing.
fn assert_refuses(client: &Client) {
    wait_until("the write side notices that its file is gone", || !is_healthy(client));
    let refused = client.post("/accounts", &json!({"owner": "Nobody"}));
    assert_eq!((refused.status, refused.problem()), (503, "storage-failed".to_owned()));
}

fn disturb_and_check(mut disturb: impl FnMut(&mut Target, &Bank)) {
    work_and_check(Random::seed_or_new(SEED), Target::start(), |target, bank, _| {
        bank.wait_for(COMMANDS);
        disturb(target, bank);
        bank.wait_for(COMMANDS);
        0
    });
}

#[test]
fn every_promise_is_kept_when_the_log_is_moved_away_under_the_write_side_and_comes_back() {
    for moved in [&LOG_FILES[..], &LOG_FILES[..1], &LOG_FILES[1..2]] {
        disturb_and_check(|target, _| {
            let away = MovedAway::from(target.directory.path(), moved);
            assert_refuses(&target.write().client());
            away.back();
            wait_until("the write side goes on", || is_healthy(&target.write().client()));
        });
    }
}

#[test]
fn every_promise_is_kept_when_another_file_takes_the_name_of_the_log() {
    disturb_and_check(|target, bank| {
        let directory = target.directory.path().to_owned();
        let away = MovedAway::from(&directory, &LOG_FILES);
        std::fs::copy(directory.join("aside").join(LOG), directory.join(LOG)).unwrap();
        let stranger = std::fs::read(directory.join(LOG)).unwrap();
        assert_refuses(&target.write().client());
        let now = std::fs::read(directory.join(LOG)).unwrap();
        assert!(now == stranger, "the write side does not touch the file that took the name");
        // The operator ends the process and puts everything back.
        target.kill_only(Binary::Write);
        std::fs::remove_file(directory.join(LOG)).unwrap();
        away.back();
        target.start_again(Binary::Write, bank);
    });
}

#[test]
fn every_promise_is_kept_when_a_second_read_service_takes_over_the_file_of_one_that_is_killed() {
    disturb_and_check(|target, bank| {
        for _ in 0..3 {
            let mut second = target.launch(Binary::Read).spawn();
            second.wait_for_log("waiting up to 10 s");
            bank.wait_for(COMMANDS);
            target.kill_only(Binary::Read);
            second.wait_until_ready();
            target.put(Binary::Read, second, bank);
        }
    });
}

/// Opens an account and deposits until the log has that many events.
fn fill(write: &Client, events: u64) {
    let account = write.post("/accounts", &json!({"owner": "Ada"})).expect(201).json();
    let path = format!("/accounts/{}/deposit", account["stream_id"].as_str().unwrap());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let deposit =
                    || write.post(&path, &json!({"amount": 1})).expect(200).json()["position"].as_u64();
                while deposit() < Some(events) {}
            });
        }
    });
}

fn restore(directory: &Directory, copy: &Path) {
    for name in LOG_FILES.iter().copied().chain(["write_db.sqlite3-lock"]) {
        // Some of them may not be there.
        let _ = std::fs::remove_file(directory.join(name));
    }
    std::fs::copy(copy, directory.join(LOG)).unwrap();
}

fn projections(read: &Client) -> Vec<Value> {
    read.get("/projections").expect(200).json()["projections"].as_array().unwrap().clone()
}

/// Whatever moment of the replay it hits: the read side either follows the restored log to its own end, or
/// has read what the log has lost, and says so.
#[test]
fn a_log_that_is_restored_to_an_older_copy_in_the_middle_of_a_replay_is_followed_to_its_end_or_refused() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let launch = System::write(&directory, &registry.url());
    let write = launch.start();
    fill(&write.client(), 200);
    let backup = Launch::of(Binary::Write, &directory).flag("--backup", "older").run();
    assert_eq!(backup.status.code(), Some(0), "{backup:?}");
    let older = write.client().get("/events?after=0&limit=1").expect(200).json()["head"].as_u64().unwrap();
    fill(&write.client(), 6_000);
    let newer = Launch::of(Binary::Write, &directory).flag("--backup", "newer").run();
    assert_eq!(newer.status.code(), Some(0), "{newer:?}");
    write.kill();
    for rows in [0, 1, 0] {
        restore(&directory, &directory.join("newer"));
        let write = launch.start();
        let reader = Directory::fresh();
        let read = System::read(&reader, &registry.url()).start();
        let reached = || projections(&read.client()).iter().filter_map(|one| one["position"].as_u64()).max();
        wait_until("the replay has begun", || reached() >= Some(rows));
        write.kill();
        let reached = reached();
        restore(&directory, &directory.join("older"));
        let write = launch.start();
        let said = wait_for("the read side has learnt where the log ends now", || {
            let all = projections(&read.client());
            let live = |one: &Value| one["state"] == "live" && one["head"] == older;
            let refused =
                |one: &Value| one["error"].as_str().is_some_and(|error| error.contains("lost events"));
            all.iter().all(live).then_some("live").or(all.iter().all(refused).then_some("refused"))
        });
        assert!(said == "live" || reached > Some(older), "{said} at {reached:?}");
        eprintln!("restored from 6000 to {older} at {reached:?}: {said}");
        drop(write);
    }
}
