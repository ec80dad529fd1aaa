//! Runs `examples/forget_person.rs`: forgets people in every order, and searches the files for their names.

use std::path::Path;
use std::sync::Barrier;
use std::thread;

use tally::es::rusqlite::Connection;
use tally::es::{
    Definition, Error, ExecuteError, KnownKinds, Projector, backup, decode, verify, verify_projection,
};
use uuid::Uuid;

use crate::directory::Directory;
use crate::quotes;

#[path = "../../examples/forget_person.rs"]
mod program;

use program::people::People;
use program::spending::{Spending, spent};
use program::{Customer, CustomerCommand, CustomerEvent, No, Shop};

const ADA: Uuid = Uuid::from_u128(1);
const BOB: Uuid = Uuid::from_u128(2);

#[test]
fn the_program_runs_to_its_end() {
    program::main().unwrap();
}

#[test]
fn each_file_of_the_program_takes_at_most_200_lines_and_its_page_quotes_it() {
    let shop = include_str!("../../examples/forget_person.rs");
    let people = include_str!("../../examples/forget_person/people.rs");
    assert!(shop.lines().count() <= 200 && people.lines().count() <= 200);
    quotes::check(include_str!("../../docs/how-to/forget-a-person.md"), &(shop.to_owned() + people));
}

/// The rule for an audit: after the forgetting, nothing happens to a person.
fn kinds() -> KnownKinds {
    KnownKinds::new().and::<Customer>(|customer, _event| match customer {
        Customer::Unknown | Customer::Known => Ok(()),
        Customer::Forgotten => Err("a forgotten person".into()),
    })
}

/// Returns the files of the directory that hold the text.
fn files_with(directory: &Path, text: &str) -> Vec<String> {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let holds =
        |path: &std::path::PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains(text);
    let mut found: Vec<_> =
        files.filter(holds).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    found.sort();
    found
}

fn rows_of(shop: &Shop, path: &Path) -> Projector {
    let mut projector = Projector::open(path, &[Definition::of::<Spending>()]).unwrap();
    projector.catch_up(&mut shop.log.clone(), shop.log.head().value()).unwrap();
    projector
}

#[test]
fn a_forgotten_name_is_in_no_file_and_log_rows_and_rebuild_stay_sound() {
    let directory = Directory::fresh();
    let [log, rows, scratch, copy] = ["log", "rows", "scratch", "copy"].map(|name| directory.join(name));
    let shop = Shop::open(directory.path()).unwrap();
    shop.register(ADA, "Ada Lovelace").unwrap();
    shop.register(BOB, "Bob Kahn").unwrap();
    shop.send(ADA, CustomerCommand::Order { cents: 1250 }).unwrap();
    rows_of(&shop, &rows);
    assert!(!files_with(directory.path(), "Ada Lovelace").is_empty(), "the search would find the name");

    let before = verify(&log, &kinds()).unwrap();
    let forgotten = shop.forget(ADA).unwrap();
    assert_eq!(files_with(directory.path(), "Ada Lovelace"), [""; 0]);
    // The projection is behind, and shows no name either.
    assert_eq!(spent(&rows, &shop.people, ADA).unwrap(), ("(no name)".into(), 1250));
    rows_of(&shop, &rows);
    assert_eq!(spent(&rows, &shop.people, ADA).unwrap(), ("(forgotten)".into(), 1250));
    assert_eq!(spent(&rows, &shop.people, BOB).unwrap(), ("Bob Kahn".into(), 0));

    let after = verify(&log, &kinds()).unwrap();
    assert!(before.is_sound() && after.is_sound() && after.unknown.is_empty());
    assert_eq!(after.head, forgotten.position());
    assert!(backup(&log, &copy, &kinds()).unwrap().is_sound());
    let definition = Definition::of::<Spending>();
    let verified = verify_projection(&rows, &scratch, &definition, &mut shop.log.clone()).unwrap();
    assert_eq!((verified.rows, verified.difference), (2, None));
    std::fs::remove_file(&rows).unwrap();
    rows_of(&shop, &rows);
    assert_eq!(spent(&rows, &shop.people, ADA).unwrap(), ("(forgotten)".into(), 1250));
    assert_eq!(files_with(directory.path(), "Ada Lovelace"), [""; 0]);
}

#[test]
fn a_name_is_gone_from_pages_that_were_split_meanwhile() {
    let directory = Directory::fresh();
    let path = directory.join("people");
    let people = People::open(&path, Uuid::nil()).unwrap();
    let name = |number: u128| format!("<person {number}>");
    // Longer names no longer fit on their pages: SQLite moves rows to other pages, and old bytes stay.
    let shell = Connection::open(&path).unwrap();
    shell.execute_batch("PRAGMA secure_delete = ON; BEGIN").unwrap();
    for (sql, step, longest) in [
        ("INSERT INTO people VALUES (?1, ?2)", 1, 200),
        ("UPDATE people SET name = ?2 WHERE person = ?1", 2017, 900),
    ] {
        for number in (0..3000).map(|number| number * step % 3000) {
            let longer = name(number) + &"x".repeat((number * 7919 % longest) as usize);
            shell.execute(sql, (Uuid::from_u128(number).to_string(), longer)).unwrap();
        }
    }
    shell.execute_batch("COMMIT").unwrap();
    drop(shell);
    let forgotten = || (0..3000).step_by(60);
    forgotten().for_each(|number| people.erase(Uuid::from_u128(number)).unwrap());
    let left = forgotten().filter(|number| !files_with(directory.path(), &name(*number)).is_empty());
    assert_eq!(left.collect::<Vec<_>>(), [0; 0]);
    assert_eq!(files_with(directory.path(), &name(1)), ["people"], "the others keep their names");
}

#[test]
fn a_forgetting_that_is_not_recorded_erases_nothing() {
    let directory = Directory::fresh();
    let shop = Shop::open(directory.path()).unwrap();
    shop.register(ADA, "Ada Lovelace").unwrap();
    shop.executor.stop();
    assert_eq!(shop.forget(ADA), Err(ExecuteError::Failed(Error::Stopped)));
    assert_eq!(shop.people.name(ADA).unwrap().as_deref(), Some("Ada Lovelace"));
}

#[test]
fn each_command_may_be_repeated_and_none_brings_a_name_back() {
    let directory = Directory::fresh();
    let shop = Shop::open(directory.path()).unwrap();
    assert_eq!(shop.forget(ADA), Err(ExecuteError::Rejected(No::NotRegistered)));
    shop.register(ADA, "Ada Lovelace").unwrap();
    assert_eq!(shop.register(ADA, "Someone Else").unwrap().receipt(), None);
    assert_eq!(shop.people.name(ADA).unwrap().as_deref(), Some("Ada Lovelace"));
    assert!(shop.people.correct(ADA, "Ada King").unwrap());
    assert_eq!(files_with(directory.path(), "Someone Else"), [""; 0]);

    assert_eq!(shop.forget(ADA).unwrap().version(), 2);
    assert_eq!(shop.forget(ADA).unwrap().receipt(), None, "a second forgetting is not an event");
    for command in [CustomerCommand::Register, CustomerCommand::Order { cents: 1 }] {
        assert_eq!(shop.send(ADA, command), Err(ExecuteError::Rejected(No::Forgotten)));
    }
    // A client repeats its first request, which was answered long ago.
    assert_eq!(shop.register(ADA, "Ada Lovelace"), Err(ExecuteError::Rejected(No::Forgotten)));
    assert!(!shop.people.correct(ADA, "Ada Lovelace").unwrap());
    for name in ["Ada Lovelace", "Ada King"] {
        assert_eq!(files_with(directory.path(), name), [""; 0]);
    }
}

#[test]
fn what_a_crash_cut_off_is_finished_at_the_next_start() {
    let directory = Directory::fresh();
    let shop = Shop::open(directory.path()).unwrap();
    shop.register(ADA, "Ada Lovelace").unwrap();
    shop.register(BOB, "Bob Kahn").unwrap();
    // Cut off between the event and the erasure; and between a new name and its event.
    shop.send(ADA, CustomerCommand::Forget).unwrap();
    shop.executor.stop();
    let eve = shop.register(Uuid::from_u128(3), "Eve Orphan");
    assert_eq!(eve, Err(ExecuteError::Failed(Error::Stopped)));
    drop(shop);
    assert_eq!(files_with(directory.path(), "Ada Lovelace"), ["people"]);
    assert_eq!(files_with(directory.path(), "Eve Orphan"), ["people"]);

    let shop = Shop::open(directory.path()).unwrap();
    for name in ["Ada Lovelace", "Eve Orphan"] {
        assert_eq!(files_with(directory.path(), name), [""; 0]);
    }
    assert_eq!(shop.people.name(BOB).unwrap().as_deref(), Some("Bob Kahn"));
}

#[test]
fn an_old_copy_of_the_names_is_cleaned_at_the_start_because_the_log_remembers_the_forgetting() {
    let directory = Directory::fresh();
    let [people, old] = ["people", "old"].map(|name| directory.join(name));
    let shop = Shop::open(directory.path()).unwrap();
    shop.register(ADA, "Ada Lovelace").unwrap();
    let shell = Connection::open(&people).unwrap();
    shell.execute("VACUUM INTO ?1", [old.to_str().unwrap()]).unwrap();
    drop(shell);
    shop.forget(ADA).unwrap();
    drop(shop);
    assert_eq!(files_with(directory.path(), "Ada Lovelace"), ["old"], "a backup of before has the name");

    std::fs::rename(&old, &people).unwrap();
    Shop::open(directory.path()).unwrap();
    assert_eq!(files_with(directory.path(), "Ada Lovelace"), [""; 0]);
}

#[test]
fn a_reader_that_stays_delays_the_erasure_and_the_caller_learns_it() {
    let directory = Directory::fresh();
    let shop = Shop::open(directory.path()).unwrap();
    shop.register(ADA, "Ada Lovelace").unwrap();
    let reader = Connection::open(directory.join("people")).unwrap();
    reader.execute_batch("BEGIN; SELECT name FROM people").unwrap();
    assert!(matches!(shop.forget(ADA), Err(ExecuteError::Failed(Error::Storage(_)))));
    assert!(!files_with(directory.path(), "Ada Lovelace").is_empty());
    reader.execute_batch("COMMIT").unwrap();
    shop.forget(ADA).unwrap();
    assert_eq!(files_with(directory.path(), "Ada Lovelace"), [""; 0]);
}

#[test]
fn a_forgetting_that_races_with_registrations_and_orders_leaves_no_name() {
    let directory = Directory::fresh();
    let shop = Shop::open(directory.path()).unwrap();
    let barrier = Barrier::new(3);
    let name = |person: u128| format!("<person {person}>");
    thread::scope(|scope| {
        let each = |act: fn(&Shop, Uuid, &str)| {
            let (shop, barrier) = (&shop, &barrier);
            scope.spawn(move || {
                for person in 1..=30 {
                    barrier.wait();
                    act(shop, Uuid::from_u128(person), &name(person));
                }
            });
        };
        each(|shop, person, name| drop(shop.register(person, name)));
        each(|shop, person, name| {
            drop(shop.register(person, name));
            drop(shop.send(person, CustomerCommand::Order { cents: 1 }));
        });
        // Forgets as soon as there is a person: while the others are still at it.
        each(|shop, person, _| while shop.forget(person).is_err() {});
    });
    assert_eq!(files_with(directory.path(), "<person "), [""; 0]);
    assert!(verify(&directory.join("log"), &kinds()).unwrap().is_sound());
    let forgotten = shop.log.events_after(0).filter(|event| {
        let event = event.as_ref().unwrap();
        matches!(decode(&event.as_recorded()).unwrap(), CustomerEvent::Forgotten(_))
    });
    assert_eq!(forgotten.count(), 30);
}

#[test]
fn beside_another_log_no_name_is_erased() {
    let directory = Directory::fresh();
    let shop = Shop::open(directory.path()).unwrap();
    shop.register(ADA, "Ada Lovelace").unwrap();
    let log_id = shop.log.log_id();
    drop(shop);
    std::fs::remove_file(directory.join("log")).unwrap();
    assert!(matches!(Shop::open(directory.path()), Err(Error::Unusable(_))), "the log is lost");
    let people = People::open(&directory.join("people"), log_id).unwrap();
    assert_eq!(people.name(ADA).unwrap().as_deref(), Some("Ada Lovelace"));
}
