//! Databases that turn read-only under a service, as when an administrator seals them or the system
//! no longer trusts the disk.
//!
//! Permissions would not do: they bind neither the superuser nor a file that is open. The file system's
//! mark `immutable` binds both. The index of the write-ahead log (`-shm`) is left out: it is memory shared
//! through a file, and the system ends a process (SIGBUS) that writes where it may not. That is a crash
//! like any other, and loses nothing.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use super::{Saver, assert_sound, created, write_service};
use crate::support::{Directory, System, wait_until};

/// Files that cannot be written to until this is dropped.
struct Sealed {
    paths: Vec<PathBuf>,
}

impl Sealed {
    /// Seals these files of the directory (`.` is itself). Nothing where the file system cannot.
    fn new(directory: &Directory, files: &[&str]) -> Option<Self> {
        let mut sealed = Self { paths: Vec::new() };
        for path in files.iter().map(|file| directory.join(file)) {
            if !mark("+i", &path) {
                return None;
            }
            sealed.paths.push(path);
        }
        Some(sealed)
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        // All of them first, so that the directory can be removed whatever else fails.
        let writable: Vec<_> = self.paths.iter().map(|path| mark("-i", path)).collect();
        assert!(std::thread::panicking() || writable.iter().all(|&done| done), "{:?}", self.paths);
    }
}

fn mark(how: &str, path: &PathBuf) -> bool {
    Command::new("chattr").arg(how).arg(path).output().is_ok_and(|ended| ended.status.success())
}

/// Whether the mark binds a file that is open already.
fn sealing_works() -> bool {
    let directory = Directory::fresh();
    let mut file = File::create(directory.join("file")).unwrap();
    let Some(_sealed) = Sealed::new(&directory, &["file", "."]) else {
        eprintln!("skipped: no file can be made immutable here (not the superuser, or not this file system)");
        return false;
    };
    let binds = file.write_all(b"x").is_err()
        && OpenOptions::new().append(true).open(directory.join("file")).is_err();
    if !binds {
        eprintln!("skipped: this file system does not bind a file that is open");
    }
    binds
}

const LOG: [&str; 3] = ["write_db.sqlite3", "write_db.sqlite3-wal", "."];

#[test]
fn while_the_log_is_read_only_commands_are_refused_the_feed_goes_on_and_service_resumes() {
    if !sealing_works() {
        return;
    }
    let directory = created();
    let process = write_service(&directory).start();
    let client = process.client();
    let mut saver = Saver::of(client.clone());
    for round in 0..3 {
        (0..5).for_each(|_| drop(saver.deposit().expect(200)));
        let sealed = Sealed::new(&directory, &LOG);
        for _ in 0..10 {
            saver.deposit().expect(503);
            assert_eq!(client.get("/health").expect(503).problem(), "unhealthy");
        }
        saver.check(&client);
        let page = format!("/streams/{}/events?after=1", saver.account);
        assert_eq!(client.get(&page).expect(200).json()["events"].as_array().unwrap().len(), 5 + round * 6);
        drop(sealed);
        wait_until("service resumes", || saver.deposit().status == 200);
        client.get("/health").expect(200);
        saver.check(&client);
    }
    assert_eq!(process.stop().status.code(), Some(0));
    assert_sound(&directory);
}

#[test]
fn a_log_that_is_read_only_is_refused_at_the_start_and_left_as_it_is() {
    if !sealing_works() {
        return;
    }
    for (files, advice) in [
        (&["write_db.sqlite3"][..], "allow this process to write to the file and its directory"),
        (&["write_db.sqlite3", "."], "check the path and the permissions of the file and its directory"),
    ] {
        let directory = created();
        let before = std::fs::read(directory.join(LOG[0])).unwrap();
        let sealed = Sealed::new(&directory, files);
        let refused = write_service(&directory).run();
        assert_eq!((refused.status.code(), refused.stderr.lines().count()), (Some(1), 1), "{refused:?}");
        assert!(refused.stderr.contains(advice), "{refused:?}");
        assert_eq!(std::fs::read(directory.join(LOG[0])).unwrap(), before);
        drop(sealed);
        Saver::of(write_service(&directory).start().client());
    }
}

#[test]
fn while_the_read_models_are_read_only_queries_go_on_and_they_follow_again_when_they_are_not() {
    if !sealing_works() {
        return;
    }
    let (directory, separate) = (Directory::fresh(), Directory::fresh());
    let registry = System::registry(&directory).start();
    let write = System::write(&directory, &registry.url()).start();
    let read = System::read(&separate, &registry.url()).start();
    let (mut saver, queries) = (Saver::of(write.client()), read.client());
    let account = format!("/accounts/{}", saver.account);
    for round in 1..4 {
        queries.get(&format!("{account}?min_position={}&wait=30", saver.sent + 1)).expect(200);
        let sealed = Sealed::new(&separate, &["read_db.sqlite3", "read_db.sqlite3-wal", "."]);
        saver.deposit().expect(200);
        wait_until("it says so", || queries.get("/health").status == 503);
        assert_eq!(queries.get(&account).expect(200).json()["version"], round);
        let stale = queries.get(&format!("{account}?min_position={}&wait=0", saver.sent + 1));
        assert_eq!((stale.status, stale.problem()), (503, "read-model-behind".to_owned()));
        drop(sealed);
        wait_until("it is healthy again", || queries.get("/health").status == 200);
    }
    let reached = queries.get(&format!("{account}?min_position={}&wait=30", saver.sent + 1)).expect(200);
    assert_eq!(reached.json()["balance"], saver.sent);
}
