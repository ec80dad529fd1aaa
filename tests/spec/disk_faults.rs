//! Disks that are full, that fail, files that may not grow: commands are refused with a problem,
//! the feed and queries go on, nothing is half-written, and service resumes by itself.
//!
//! A full disk is a small file system of its own, mounted where only the service sees it; failing
//! calls are made to fail by `strace`; a file that turns read-only while it is open is marked immutable.
//! Where the system does not allow that, a test says so and is skipped.

mod read_only;
mod rebuild;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::bank::NO_REGISTRY;
use crate::support::{Binary, Client, Directory, Launch, Process, Reply, System, wait_until};

/// Commands after which a fault that was to come must have come.
const MANY: u64 = 5_000;

fn write_service(directory: &Directory) -> Launch {
    Launch::on_free_port(Binary::Write, directory).flag("--registry", NO_REGISTRY)
}

/// Whether a process can be started so.
fn is_possible(command: &[&str]) -> bool {
    let directory = Directory::fresh();
    let possible = Launch::of(Binary::Write, &directory).argument("--version").under(command).run();
    if !possible.status.success() {
        eprintln!("skipped: {command:?} is not possible here: {}", possible.stderr.trim());
    }
    possible.status.success()
}

/// One client that deposits 1 after 1, and remembers what it was told.
struct Saver {
    client: Client,
    account: String,
    sent: u64,
    receipts: Vec<(String, Value)>,
}

impl Saver {
    fn of(client: Client) -> Self {
        let opened = client.post("/accounts", &json!({"owner": "Ada"})).expect(201).json();
        let account = opened["stream_id"].as_str().unwrap().to_owned();
        Self { client, account, sent: 0, receipts: Vec::new() }
    }

    /// Sends the next deposit, or the last one again when it was not acknowledged.
    fn deposit(&mut self) -> Reply {
        let key = format!("deposit-{}", self.receipts.len());
        let path = format!("/accounts/{}/deposit", self.account);
        let reply = self.client.post_with(&path, &[("Idempotency-Key", &key)], &json!({"amount": 1}));
        self.sent += 1;
        match reply.status {
            200 => self.receipts.push((key, reply.json())),
            503 => {
                assert!(["storage-failed", "outcome-unknown"].contains(&&*reply.problem()), "{reply:?}");
                assert!(reply.header("Retry-After").is_some(), "{reply:?}");
            }
            _ => panic!("{reply:?}"),
        }
        reply
    }

    /// Deposits until one is refused.
    fn until_refused(&mut self) {
        let refused = (0..MANY).any(|_| self.deposit().status == 503);
        assert!(refused, "the fault did not come");
    }

    /// Checks that each deposit that was acknowledged is recorded once, where its receipt says, and
    /// that there is nothing else.
    fn check(&self, client: &Client) {
        let page = client.get("/events?limit=10000").expect(200).json();
        let events = page["events"].as_array().unwrap();
        assert_eq!(page["head"].as_u64(), Some(events.len() as u64));
        assert_eq!(events.len(), self.receipts.len() + 1, "the account and its deposits");
        for (event, (key, receipt)) in events[1..].iter().zip(&self.receipts) {
            assert_eq!(event["metadata"]["causation_id"], **key, "once, and in order");
            assert_eq!((&event["position"], &event["version"]), (&receipt["position"], &receipt["version"]));
        }
    }
}

fn assert_sound(directory: &Directory) {
    let verified = Launch::of(Binary::Write, directory).argument("--verify").run();
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
}

/// Runs in a small file system that is mounted over its directory, for it alone.
const SMALL_DISK: [&str; 5] = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    "mount -t tmpfs -o size=2m tmpfs . && cd \"$PWD\" && exec \"$0\" \"$@\"",
];

/// The file that takes all space of the file system that the process works in.
struct Filler {
    path: PathBuf,
}

impl Filler {
    fn of(process: &Process) -> Self {
        Self { path: PathBuf::from(format!("/proc/{}/cwd/filler", process.id())) }
    }

    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(&self.path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn remove(&self) {
        std::fs::remove_file(&self.path).unwrap();
    }
}

#[test]
fn on_a_full_disk_commands_are_refused_the_feed_goes_on_and_service_resumes_when_there_is_space() {
    if !is_possible(&SMALL_DISK) {
        return;
    }
    let directory = Directory::fresh();
    let process = write_service(&directory).under(&SMALL_DISK).start();
    let client = process.client();
    let mut saver = Saver::of(client.clone());
    let filler = Filler::of(&process);
    for _ in 0..2 {
        // What the log gives back when it is tidied up is taken away as well.
        wait_until("the disk stays full", || {
            filler.fill();
            saver.until_refused();
            filler.fill();
            client.get("/health").status == 503
        });
        assert_eq!(client.get("/health").problem(), "unhealthy");
        saver.check(&client);
        filler.remove();
        wait_until("service resumes", || saver.deposit().status == 200);
        assert_eq!(client.get("/health").status, 200);
        saver.check(&client);
    }
    let copy = Directory::fresh();
    for file in ["write_db.sqlite3", "write_db.sqlite3-wal"] {
        std::fs::copy(format!("/proc/{}/cwd/{file}", process.id()), copy.join(file)).unwrap();
    }
    assert_sound(&copy);
}

#[test]
fn health_tells_that_space_has_come_back_also_when_nobody_sends_a_command() {
    if !is_possible(&SMALL_DISK) {
        return;
    }
    let directory = Directory::fresh();
    let process = write_service(&directory).under(&SMALL_DISK).start();
    let mut saver = Saver::of(process.client());
    let filler = Filler::of(&process);
    wait_until("the disk stays full", || {
        filler.fill();
        saver.until_refused();
        filler.fill();
        process.client().get("/health").status == 503
    });
    filler.remove();
    assert_eq!(process.client().get("/health").status, 200);
}

#[test]
fn at_a_limit_of_the_file_size_commands_are_refused_and_the_process_lives() {
    // 512 bytes each.
    let limited = ["sh", "-c", "ulimit -f 1000 && exec \"$0\" \"$@\""];
    if !is_possible(&limited) {
        return;
    }
    let directory = Directory::fresh();
    let process = write_service(&directory).under(&limited).start();
    let mut saver = Saver::of(process.client());
    wait_until("both files are full", || {
        saver.until_refused();
        process.client().get("/health").status == 503
    });
    saver.check(&process.client());
    assert_eq!(process.stop().status.code(), Some(0));
    assert_sound(&directory);
    let process = write_service(&directory).start();
    saver.check(&process.client());
    saver.client = process.client();
    assert_eq!(saver.deposit().status, 200, "without the limit, it goes on where it was");
}

/// A database that is there, so that a fault meets commands, and not its creation.
fn created() -> Directory {
    let directory = Directory::fresh();
    assert_eq!(write_service(&directory).start().stop().status.code(), Some(0));
    directory
}

/// Makes calls of the system fail; `when` counts those of each thread.
fn failing<'a>(inject: &'a str, calls: &'a str) -> Vec<&'a str> {
    vec!["strace", "-D", "-f", "-qqq", "-o", "/dev/null", "-e", calls, "-e", inject]
}

const SYNC: &str = "trace=fsync,fdatasync";

/// Commands are refused while the disk fails and taken when it works again; every receipt holds, after a
/// crash too.
fn refuses_resumes_and_loses_nothing(command: &[&str]) {
    let directory = created();
    let process = write_service(&directory).under(command).start();
    let mut saver = Saver::of(process.client());
    saver.until_refused();
    while saver.receipts.len() < 30 {
        let reply = saver.deposit();
        assert!(saver.sent < MANY, "service does not resume under {command:?}: {reply:?}");
    }
    saver.check(&process.client());
    process.kill();
    assert_sound(&directory);
    saver.check(&write_service(&directory).start().client());
}

#[test]
fn after_a_failed_sync_nothing_is_lost_that_was_acknowledged_and_nothing_is_recorded_twice() {
    for inject in [
        "inject=fsync,fdatasync:error=EIO:when=10",
        "inject=fsync,fdatasync:error=EIO:when=10..15",
        "inject=fsync,fdatasync:error=EIO:when=8+3",
        "inject=fsync,fdatasync:error=ENOSPC:when=12..13",
    ] {
        let command = failing(inject, SYNC);
        if !is_possible(&command) {
            return;
        }
        refuses_resumes_and_loses_nothing(&command);
    }
}

#[test]
fn a_crash_after_a_failed_sync_leaves_the_command_recorded_once_or_not_at_all() {
    let command = failing("inject=fsync,fdatasync:error=EIO:when=10+", SYNC);
    if !is_possible(&command) {
        return;
    }
    let directory = created();
    let process = write_service(&directory).under(&command).start();
    let mut saver = Saver::of(process.client());
    saver.until_refused();
    saver.check(&process.client());
    assert_eq!(process.client().get("/health").status, 503, "the disk is not mended");
    process.kill();
    let process = write_service(&directory).start();
    // The same key finds out.
    saver.client = process.client();
    assert_eq!(saver.deposit().status, 200);
    saver.check(&process.client());
    assert_sound(&directory);
}

#[test]
fn a_command_whose_failure_is_certain_is_absent_after_a_crash_too() {
    for inject in ["inject=fsync,fdatasync:error=EIO:when=10", "inject=fsync,fdatasync:error=EIO:when=8+3"] {
        let command = failing(inject, SYNC);
        if !is_possible(&command) {
            return;
        }
        let directory = created();
        let process = write_service(&directory).under(&command).start();
        let account = Saver::of(process.client()).account;
        let mut certainly_absent = Vec::new();
        for number in 0..MANY {
            let key = format!("deposit-{number}");
            let path = format!("/accounts/{account}/deposit");
            let sent = [("Idempotency-Key", &*key)];
            let reply = process.client().post_with(&path, &sent, &json!({"amount": 1}));
            if reply.status == 503 {
                certainly_absent.extend((reply.problem() == "storage-failed").then_some(key));
                // Killed before another command could write over what the failed one left.
                break;
            }
        }
        assert_eq!(certainly_absent.len(), 1, "the sync failed, and the log was asked");
        process.kill();
        let process = write_service(&directory).start();
        let page = process.client().get("/events?limit=10000").expect(200);
        for key in &certainly_absent {
            assert!(!page.text().contains(&format!("\"{key}\"")), "{key} was recorded after {inject}");
        }
        assert_sound(&directory);
    }
}

#[test]
fn a_checkpoint_that_fails_makes_the_service_unhealthy_until_one_succeeds() {
    let directory = created();
    // The database itself is written by checkpoints alone; commands go to the write-ahead log.
    let inject = "inject=pwrite64:error=EIO:when=1..4";
    let mut command = failing(inject, "trace=pwrite64");
    let database = directory.join("write_db.sqlite3").display().to_string();
    command.extend(["-P", &database]);
    if !is_possible(&command) {
        return;
    }
    let process = write_service(&directory).under(&command).start();
    let mut saver = Saver::of(process.client());
    let health = || process.client().get("/health");
    for _ in 0..MANY {
        saver.deposit().expect(200);
        if health().status == 503 {
            break;
        }
    }
    let unhealthy = health().expect(503);
    assert_eq!(unhealthy.problem(), "unhealthy");
    assert!(unhealthy.text().contains("the write-ahead log cannot be moved into the database"));
    process.wait_for_log("the write-ahead log cannot be moved into the database");
    let failures = "tally_log_checkpoint_failures_total 0";
    assert!(!process.client().get("/metrics").expect(200).text().contains(failures));
    // The fifth write succeeds, sooner or later also without a command.
    wait_until("a checkpoint succeeds", || health().status == 200);
    saver.check(&process.client());
}

#[test]
fn a_write_that_fails_half_way_through_a_commit_leaves_nothing_behind() {
    // The last: a prime, or a recovery and a command might write just as often, and never get through.
    for when in ["40", "41..47", "40+97"] {
        let inject = format!("inject=pwrite64:error=ENOSPC:when={when}");
        let command = failing(&inject, "trace=pwrite64");
        if !is_possible(&command) {
            return;
        }
        refuses_resumes_and_loses_nothing(&command);
    }
}

#[test]
fn the_read_side_answers_from_a_full_disk_and_follows_again_when_there_is_space() {
    if !is_possible(&SMALL_DISK) {
        return;
    }
    let (directory, small) = (Directory::fresh(), Directory::fresh());
    let registry = System::registry(&directory).start();
    let write = System::write(&directory, &registry.url()).start();
    let read = System::read(&small, &registry.url()).under(&SMALL_DISK).start();
    let mut saver = Saver::of(write.client());
    let queries = read.client();
    let account = format!("/accounts/{}", saver.account);
    queries.get(&format!("{account}?min_position=1&wait=30")).expect(200);
    let filler = Filler::of(&read);
    filler.fill();
    wait_until("the read side is stopped by its disk", || {
        (0..50).for_each(|_| drop(saver.deposit().expect(200)));
        filler.fill();
        queries.get(&account).expect(200);
        queries.get("/health").status == 503
    });
    let stale = queries.get(&format!("{account}?min_position={}&wait=0", saver.sent + 1));
    assert_eq!((stale.status, stale.problem()), (503, "read-model-behind".to_owned()));
    filler.remove();
    let reached = queries.get(&format!("{account}?min_position={}&wait=30", saver.sent + 1)).expect(200);
    assert_eq!(reached.json()["balance"], saver.sent);
    wait_until("it is healthy again", || queries.get("/health").status == 200);
}
