//! What people point at SQLite files, beside a running service: which are safe, and how the others end.
//!
//! README.md says so to operators; each of its statements is a test here.

use rusqlite::{Connection, TransactionBehavior};
use serde_json::json;

use crate::bank::{Bank, NO_REGISTRY};
use crate::support::{Binary, Directory, Ended, Launch, Reply, wait_until};

const LOG: &str = "write_db.sqlite3";

/// The file as another program opens it.
fn shell(directory: &Directory) -> Connection {
    Connection::open(directory.join(LOG)).unwrap()
}

fn verify(directory: &Directory, name: &str) -> Ended {
    Launch::of(Binary::Write, directory).flag("--db", name).argument("--verify").run()
}

#[track_caller]
fn assert_sound(directory: &Directory, name: &str) {
    let verified = verify(directory, name);
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
}

fn start(directory: &Directory) -> Launch {
    Launch::on_free_port(Binary::Write, directory).flag("--registry", NO_REGISTRY)
}

/// What Litestream makes in a database that it replicates.
const LITESTREAM: &str = "
    CREATE TABLE IF NOT EXISTS _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
    CREATE TABLE IF NOT EXISTS _litestream_lock (id INTEGER);
    INSERT INTO _litestream_seq (id, seq) VALUES (1, 1)
        ON CONFLICT (id) DO UPDATE SET seq = seq + 1;";

#[test]
fn tables_and_views_of_other_programs_are_left_alone() {
    let bank = Bank::start();
    let account = bank.open_holding(5);
    shell(bank.directory()).execute_batch(LITESTREAM).unwrap();
    bank.withdraw(&account, 1).expect(200);
    let own = "CREATE VIEW deposits AS SELECT * FROM events WHERE type = 'MoneyDeposited';
               CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, position REFERENCES events);
               CREATE UNIQUE INDEX notes_by_position ON notes (position);
               CREATE TRIGGER stamped AFTER INSERT ON notes BEGIN SELECT 1; END;";
    shell(bank.directory()).execute_batch(own).unwrap();
    let bank = bank.after_a_restart();
    bank.withdraw(&account, 1).expect(200);
    assert_sound(bank.directory(), LOG);
    let backup = Launch::of(Binary::Write, bank.directory()).flag("--backup", "copy").run();
    assert_eq!(backup.status.code(), Some(0), "{backup:?}");
}

#[test]
fn a_trigger_or_index_of_another_program_on_the_log_is_refused_with_its_name() {
    for (sql, name) in [
        ("CREATE TRIGGER spy AFTER INSERT ON events BEGIN DELETE FROM snapshots; END", "spy"),
        ("CREATE TRIGGER Sly BEFORE INSERT ON EVENTS BEGIN SELECT RAISE(IGNORE); END", "Sly"),
        ("CREATE UNIQUE INDEX one_of_each ON events (type)", "one_of_each"),
    ] {
        let directory = Bank::start().stopped();
        shell(&directory).execute_batch(sql).unwrap();
        let ended = start(&directory).run();
        assert_eq!((ended.status.code(), ended.stderr.lines().count()), (Some(1), 1), "{ended:?}");
        assert!(ended.stderr.contains(&format!("\"{name}\"")), "{ended:?}");
        assert_eq!(verify(&directory, LOG).status.code(), Some(1));
        let verb = if sql.contains("INDEX") { "INDEX" } else { "TRIGGER" };
        shell(&directory).execute_batch(&format!("DROP {verb} \"{name}\"")).unwrap();
        start(&directory).start();
    }
}

#[test]
fn a_shell_with_an_open_read_transaction_stands_in_nobodys_way() {
    let bank = Bank::start();
    let account = bank.open();
    let shell = shell(bank.directory());
    shell.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    (0..50).for_each(|_| drop(bank.deposit(&account, 1).expect(200)));
    bank.client.get("/health").expect(200);
    assert_eq!(bank.head(), 51);
    let seen: u64 = shell.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    assert_eq!(seen, 1, "it goes on seeing the log of its beginning");
    let bank = bank.after_a_restart();
    assert_eq!(bank.head(), 51);
}

fn deposit_with_key(bank: &Bank, account: &str) -> Reply {
    let path = format!("/accounts/{account}/deposit");
    bank.client.post_with(&path, &[("Idempotency-Key", "k")], &json!({"amount": 1}))
}

#[test]
fn commands_wait_for_a_shell_with_an_open_write_transaction() {
    let bank = Bank::start();
    let account = bank.open();
    let mut shell = shell(bank.directory());
    let held = shell.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    std::thread::scope(|scope| {
        // The writer waits with the first ones, and the next one waits for the writer.
        let mut sent = Vec::new();
        wait_until("a command waits", || {
            sent.push(scope.spawn(|| bank.deposit(&account, 1)));
            bank.client.get("/health").expect(200).json()["waiting_commands"].as_u64() > Some(0)
        });
        held.rollback().unwrap();
        let count = sent.len() as u64;
        sent.into_iter().for_each(|command| drop(command.join().unwrap().expect(200)));
        assert_eq!(bank.head(), 1 + count);
    });
}

#[test]
#[ignore = "slow suite: just tools-test"]
fn a_write_transaction_that_stays_open_is_a_503_and_ends_without_a_loss() {
    let bank = Bank::start();
    let account = bank.open();
    let mut shell = shell(bank.directory());
    let held = shell.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let refused = deposit_with_key(&bank, &account).expect(503);
    assert!(["storage-failed", "outcome-unknown"].contains(&&*refused.problem()), "{refused:?}");
    assert_eq!(bank.events().len(), 1, "the feed answers");
    bank.client.get("/health").expect(503);
    held.rollback().unwrap();
    wait_until("commands are taken again", || deposit_with_key(&bank, &account).status == 200);
    assert_eq!(bank.head(), 2);
    bank.client.get("/health").expect(200);
}

#[test]
fn vacuum_in_place_keeps_the_log_and_the_service_goes_on() {
    let bank = Bank::start();
    let account = bank.open();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| (0..100).for_each(|_| drop(bank.deposit(&account, 1).expect(200))));
        while !writing.is_finished() {
            // Busy, now and then: the service is writing.
            let _ = shell(bank.directory()).execute_batch("PRAGMA busy_timeout = 5000; VACUUM");
        }
    });
    shell(bank.directory()).execute_batch("VACUUM").unwrap();
    bank.deposit(&account, 1).expect(200);
    let events = bank.events();
    let bank = bank.after_a_crash();
    assert_eq!(bank.events(), events);
    assert_sound(bank.directory(), LOG);
}

/// The log at that path is whole, and goes on.
#[track_caller]
fn assert_restores(bank: &Bank, copy: &str, events: usize) {
    let restored = Directory::fresh();
    std::fs::copy(bank.directory().join(copy), restored.join(LOG)).unwrap();
    assert_sound(&restored, LOG);
    let restored = Bank::on(restored);
    assert_eq!(restored.events(), bank.events()[..events]);
    restored.open();
}

#[test]
fn vacuum_into_and_the_backup_command_of_the_shell_make_whole_copies() {
    let bank = Bank::start();
    let account = bank.open();
    (0..20).for_each(|_| drop(bank.deposit(&account, 1).expect(200)));
    let into = bank.directory().join("into");
    shell(bank.directory()).execute("VACUUM INTO ?1", [into.to_str().unwrap()]).unwrap();
    // What `.backup` of the sqlite3 shell calls.
    shell(bank.directory())
        .backup(rusqlite::MAIN_DB, bank.directory().join("backup"), None::<fn(_)>)
        .unwrap();
    bank.deposit(&account, 1).expect(200);
    assert_restores(&bank, "into", 21);
    assert_restores(&bank, "backup", 21);
}

#[test]
fn a_copy_of_the_file_alone_lacks_what_is_in_the_write_ahead_log() {
    let bank = Bank::start();
    let account = bank.open();
    (0..20).for_each(|_| drop(bank.deposit(&account, 1).expect(200)));
    let copied = Directory::fresh();
    std::fs::copy(bank.directory().join(LOG), copied.join(LOG)).unwrap();
    assert_sound(&copied, LOG);
    let copied = Bank::on(copied);
    assert!(copied.head() < 21, "events are missing, and nothing says so: {}", copied.head());
}

#[test]
fn a_copy_with_the_write_ahead_log_is_whole_where_no_checkpoint_came_between() {
    let bank = Bank::start();
    let account = bank.open();
    (0..20).for_each(|_| drop(bank.deposit(&account, 1).expect(200)));
    let copied = Directory::fresh();
    for suffix in ["", "-wal"] {
        let name = format!("{LOG}{suffix}");
        std::fs::copy(bank.directory().join(&name), copied.join(&name)).unwrap();
    }
    assert_eq!(Bank::on(copied).events(), bank.events());
}

/// Opens that account, whose place in the index is anywhere.
fn open_anywhere(bank: &Bank, number: u32) {
    let id = format!("{:08x}-0000-4000-8000-{number:012x}", number.wrapping_mul(2_654_435_761));
    bank.client.post("/accounts", &json!({"owner": "Ada", "account_id": id})).expect(201);
}

#[test]
fn a_copy_that_a_checkpoint_tore_is_not_sound() {
    let bank = Bank::start();
    (0..300).for_each(|number| open_anywhere(&bank, number));
    let directory = bank.stopped();
    // `cp` while the service writes: the first half of the file of before, the second of after.
    let before = std::fs::read(directory.join(LOG)).unwrap();
    let bank = Bank::on(directory);
    (300..600).for_each(|number| open_anywhere(&bank, number));
    let directory = bank.stopped();
    let after = std::fs::read(directory.join(LOG)).unwrap();
    let half = before.len() / 2;
    std::fs::write(directory.join("torn"), [&before[..half], &after[half..]].concat()).unwrap();
    let verified = verify(&directory, "torn");
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
}
