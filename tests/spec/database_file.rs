//! A path is not a file: what happens to the file under a running service, second names, second processes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use crate::backup::assert_no_scratch;
use crate::bank::{Bank, NO_REGISTRY};
use crate::support::{Binary, Directory, Ended, Launch, System, wait_for, wait_until};

pub(crate) const LOG: &str = "write_db.sqlite3";
const ROWS: &str = "read_db.sqlite3";
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

pub(crate) fn write_service(directory: &Directory) -> Launch {
    Launch::on_free_port(Binary::Write, directory).flag("--registry", NO_REGISTRY)
}

pub(crate) fn read_service(directory: &Directory) -> Launch {
    Launch::on_free_port(Binary::Read, directory).flag("--registry", NO_REGISTRY)
}

/// The database and what SQLite has beside it.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    SUFFIXES.into_iter().map(beside).filter(|path| path.exists()).collect()
}

fn rename(from: &Path, to: &Path) {
    let to = |suffix: &str| PathBuf::from(format!("{}{suffix}", to.display()));
    for (file, suffix) in files(from).iter().zip(SUFFIXES) {
        std::fs::rename(file, to(suffix)).unwrap();
    }
}

#[track_caller]
pub(crate) fn assert_ended(ended: &Ended, status: i32, reason: &str) {
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(status), 0), "{ended:?}");
    let errors = ended.stderr.lines().filter(|line| !line.contains(" WARN ")).count();
    assert_eq!(errors, 1, "{ended:?}");
    assert!(ended.stderr.contains(reason), "{reason}: {ended:?}");
}

/// Checks that the write service neither records nor claims to be well, and that it says why.
#[track_caller]
fn assert_takes_nothing(bank: &Bank, account: &str, reason: &str) {
    let refused = bank.deposit(account, 1).expect(503);
    assert_eq!(refused.problem(), "storage-failed");
    assert!(refused.text().contains(reason), "{reason}: {}", refused.text());
    let health = bank.client.get("/health").expect(503);
    assert!(health.text().contains(reason), "{reason}: {}", health.text());
    bank.process.wait_for_log(reason);
}

// ------------------------------------------------------- the file under a running write service

#[test]
fn a_file_that_was_removed_is_noticed_before_a_receipt_is_sent() {
    let bank = Bank::start();
    let account = bank.open();
    files(&bank.directory().join(LOG)).iter().for_each(|file| std::fs::remove_file(file).unwrap());
    assert_takes_nothing(&bank, &account, "was removed or renamed");
    assert_eq!(bank.client.get("/events").expect(503).problem(), "storage-failed");
    assert!(!bank.directory().join(LOG).exists(), "nothing is made in its place");
    assert_eq!(bank.process.stderr().matches("needs attention").count(), 1, "{}", bank.process.stderr());
}

#[test]
fn a_file_that_was_removed_is_noticed_without_a_command() {
    let bank = Bank::start();
    std::fs::remove_file(bank.directory().join(LOG)).unwrap();
    bank.process.wait_for_log("was removed or renamed");
    bank.client.get("/health").expect(503);
}

#[test]
fn a_file_that_was_renamed_takes_nothing_until_it_is_back_and_loses_nothing() {
    let bank = Bank::start();
    let account = bank.open_holding(1);
    let (path, elsewhere) = (bank.directory().join(LOG), bank.directory().join("elsewhere"));
    for _ in 0..2 {
        rename(&path, &elsewhere);
        assert_takes_nothing(&bank, &account, "was removed or renamed");
        rename(&elsewhere, &path);
        wait_until("commands are taken again", || bank.deposit(&account, 1).status == 200);
        bank.client.get("/health").expect(200);
    }
    bank.process.wait_for_log("is in order again");
    let events = bank.events();
    let bank = bank.after_a_crash();
    assert_eq!(bank.events(), events);
    assert_eq!(events.len(), 4);
}

#[test]
fn receipts_that_were_given_while_the_file_went_to_and_fro_hold_after_a_crash() {
    let bank = Bank::start();
    let (path, elsewhere) = (bank.directory().join(LOG), bank.directory().join("elsewhere"));
    let accounts: Vec<_> = (0..4).map(|_| bank.open()).collect();
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let receipts: Vec<(u64, String)> = std::thread::scope(|scope| {
        let depositors: Vec<_> = accounts
            .iter()
            .map(|account| scope.spawn(|| deposits_until(&stop, &acknowledged, &bank, account)))
            .collect();
        for _ in 0..20 {
            let before = acknowledged.load(Ordering::Relaxed);
            wait_until("a command is acknowledged", || acknowledged.load(Ordering::Relaxed) > before);
            rename(&path, &elsewhere);
            wait_until("nothing is taken", || bank.client.get("/health").status == 503);
            rename(&elsewhere, &path);
            wait_until("it is well again", || bank.client.get("/health").status == 200);
        }
        stop.store(true, Ordering::Relaxed);
        depositors.into_iter().flat_map(|depositor| depositor.join().unwrap()).collect()
    });
    let bank = bank.after_a_crash();
    let events = bank.events();
    assert!(receipts.len() >= 20, "{}", receipts.len());
    for (position, account) in receipts {
        assert_eq!(events[position as usize - 1]["stream_id"], *account, "event {position}");
    }
    assert_sound(bank.directory());
}

fn assert_sound(directory: &Directory) {
    let verified = Launch::of(Binary::Write, directory).argument("--verify").run();
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
}

/// The positions of the deposits that were acknowledged.
fn deposits_until(
    stop: &AtomicBool,
    acknowledged: &AtomicU64,
    bank: &Bank,
    account: &str,
) -> Vec<(u64, String)> {
    let mut receipts = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let reply = bank.deposit(account, 1);
        match reply.status {
            200 => {
                receipts.push((reply.json()["position"].as_u64().unwrap(), account.to_owned()));
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            503 => assert!(["storage-failed", "outcome-unknown"].contains(&&*reply.problem()), "{reply:?}"),
            _ => panic!("{reply:?}"),
        }
    }
    receipts
}

#[test]
fn a_copy_that_took_the_name_of_the_log_is_never_written_to() {
    let bank = Bank::start();
    let account = bank.open_holding(1);
    let (path, copy) = (bank.directory().join(LOG), bank.directory().join("copy"));
    let backup = Launch::of(Binary::Write, bank.directory()).flag("--backup", "copy").run();
    assert_eq!(backup.status.code(), Some(0), "{backup:?}");
    let before = std::fs::read(&copy).unwrap();
    std::fs::rename(&path, bank.directory().join("original")).unwrap();
    std::fs::rename(&copy, &path).unwrap();
    for _ in 0..3 {
        assert_takes_nothing(&bank, &account, "is another file");
    }
    assert_eq!(bank.client.get("/events").expect(503).problem(), "storage-failed");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    // A second service on the name is refused as long as the first one lives.
    let second = write_service(bank.directory()).run();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    std::fs::rename(bank.directory().join("original"), &path).unwrap();
    wait_until("commands are taken again", || bank.deposit(&account, 1).status == 200);
}

#[test]
fn a_log_that_was_emptied_takes_nothing() {
    let bank = Bank::start();
    let account = bank.open();
    std::fs::File::create(bank.directory().join(LOG)).unwrap();
    assert_takes_nothing(&bank, &account, "was emptied");
}

#[test]
fn a_symbolic_link_that_took_the_name_of_the_log_is_not_the_log() {
    let bank = Bank::start();
    let account = bank.open();
    let (path, elsewhere) = (bank.directory().join(LOG), bank.directory().join("elsewhere"));
    std::fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    // After a restart the write-ahead log would be looked for beside `elsewhere`.
    assert_takes_nothing(&bank, &account, "is another file");
}

#[test]
fn what_is_in_a_write_ahead_log_that_was_removed_is_saved() {
    let ends: [fn(Bank) -> Bank; 2] = [Bank::after_a_restart, Bank::after_a_crash];
    for (suffix, end) in [("-wal", ends[0]), ("-shm", ends[0]), ("-wal", ends[1])] {
        let bank = Bank::start();
        let account = bank.open_holding(5);
        std::fs::remove_file(bank.directory().join(&format!("{LOG}{suffix}"))).unwrap();
        assert_takes_nothing(&bank, &account, "was removed or renamed");
        // The first command has met the fault, and the second finds what was saved then.
        bank.deposit(&account, 1).expect(503);
        let bank = end(bank);
        assert_eq!(bank.head(), 2, "{suffix}: every receipt holds");
        bank.withdraw(&account, 5).expect(200);
    }
}

#[test]
fn a_directory_that_was_renamed_is_noticed_like_the_file_in_it() {
    let outer = Directory::fresh();
    let process = write_service(&outer).flag("--db", "data/log.sqlite3").start();
    let open = || process.client().post("/accounts", &json!({"owner": "Ada"})).status;
    assert_eq!(open(), 201);
    std::fs::rename(outer.join("data"), outer.join("moved")).unwrap();
    assert_eq!(open(), 503);
    std::fs::rename(outer.join("moved"), outer.join("data")).unwrap();
    wait_until("commands are taken again", || open() == 201);
}

// ------------------------------------------------------------------------- the read database

fn account_in(system: &System) -> (String, u64) {
    let receipt = system.commands().post("/accounts", &json!({"owner": "Ada"})).expect(201).json();
    (receipt["stream_id"].as_str().unwrap().to_owned(), receipt["position"].as_u64().unwrap())
}

fn look(system: &System, account: &str, position: u64) -> u16 {
    system.queries().get(&format!("/accounts/{account}?min_position={position}&wait=30")).status
}

#[test]
fn a_read_database_has_one_read_service_whatever_name_it_is_given() {
    let directory = Directory::fresh();
    let first = read_service(&directory).start();
    std::os::unix::fs::symlink(ROWS, directory.join("link")).unwrap();
    let second = read_service(&directory).spawn();
    let third = read_service(&directory).flag("--db", "link").spawn();
    for refused in [second.ended(), third.ended()] {
        assert_ended(&refused, 1, "is the read database of another process");
        assert!(refused.stderr.contains(&format!("process {}", first.id())), "{refused:?}");
    }
    first.client().get("/health").expect(200);
}

#[test]
fn a_read_service_waits_for_the_one_before_it_to_go() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    // On one address, as a restart is.
    let launch = System::read(&directory, &registry.url());
    let first = launch.start();
    let address = first.address().to_owned();
    let again =
        Launch::of(Binary::Read, &directory).flag("--registry", registry.url()).flag("--listen", &address);
    let mut second = again.spawn();
    wait_until("the second looks at the database", || second.has_open(ROWS));
    assert_eq!(first.stop().status.code(), Some(0));
    second.wait_until_ready();
    second.client().get("/health").expect(200);
}

#[test]
fn read_models_are_verified_beside_the_service_that_owns_them() {
    let system = System::start();
    let (account, position) = account_in(&system);
    assert_eq!(look(&system, &account, position), 200);
    let verify = System::read(&system.directory, &system.registry.url()).argument("--verify");
    let ended = verify.run();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_no_scratch(&system.directory);
}

#[test]
fn a_read_database_that_was_removed_answers_503_and_says_so() {
    let system = System::start();
    let (account, position) = account_in(&system);
    assert_eq!(look(&system, &account, position), 200);
    files(&system.directory.join(ROWS)).iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let reply = wait_for("queries are refused", || {
        Some(system.queries().get(&format!("/accounts/{account}"))).filter(|reply| reply.status == 503)
    });
    assert_eq!(reply.problem(), "storage-failed");
    let health = system.queries().get("/health").expect(503);
    assert!(health.text().contains("was removed or renamed"), "{}", health.text());
    system.read.wait_for_log("was removed or renamed");
    // A restart fills a new one.
    let System { read, write, registry, directory } = system;
    assert_eq!(read.stop().status.code(), Some(0));
    let read = System::read(&directory, &registry.url()).start();
    let system = System { read, write, registry, directory };
    wait_until("the rows are there again", || look(&system, &account, position) == 200);
}

#[test]
fn a_copy_that_took_the_name_of_the_read_database_is_neither_read_nor_written() {
    let system = System::start();
    let (account, position) = account_in(&system);
    assert_eq!(look(&system, &account, position), 200);
    let (path, elsewhere) = (system.directory.join(ROWS), system.directory.join("elsewhere"));
    rename(&path, &elsewhere);
    let copy = rusqlite::Connection::open(&path).unwrap();
    copy.execute_batch("CREATE TABLE accounts (account_id, balance)").unwrap();
    drop(copy);
    let copied = std::fs::read(&path).unwrap();
    wait_until("queries are refused", || system.queries().get("/accounts").status == 503);
    let deposit = system.commands().post(&format!("/accounts/{account}/deposit"), &json!({"amount": 1}));
    let position = deposit.expect(200).json()["position"].as_u64().unwrap();
    system.read.wait_for_log("is another file");
    assert_eq!(std::fs::read(&path).unwrap(), copied);
    std::fs::remove_file(&path).unwrap();
    rename(&elsewhere, &path);
    wait_until("it follows again", || look(&system, &account, position) == 200);
    wait_until("it is healthy again", || system.queries().get("/health").status == 200);
}
