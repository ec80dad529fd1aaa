//! Runs `examples/unique_email.rs`, and holds its rule against clients that race for an address.

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};
use std::thread;

use tally::es::{Aggregate, EventLog, ExecuteError, Executor, SqliteDatabase, decode};
use uuid::Uuid;

use crate::directory::Directory;
use crate::quotes;

#[path = "../../examples/unique_email.rs"]
mod program;

use program::{Account, AccountCommand, AccountEvent, AddressEvent, Email, No, execute};

#[test]
fn the_program_runs_to_its_end() {
    program::main().unwrap();
}

#[test]
fn the_program_takes_at_most_200_lines_and_its_page_quotes_it() {
    let program = include_str!("../../examples/unique_email.rs");
    assert!(program.lines().count() <= 200);
    quotes::check(include_str!("../../docs/how-to/unique-over-streams.md"), program);
}

struct Fixture {
    log: Arc<EventLog>,
    executor: Executor,
    // Removed after the log is closed.
    _directory: Directory,
}

impl Fixture {
    fn fresh() -> Self {
        let directory = Directory::fresh();
        let log = EventLog::open(SqliteDatabase::open(directory.join("log.sqlite3")).unwrap()).unwrap();
        let executor = Executor::start(Arc::clone(&log), |_| {}).unwrap();
        Self { log, executor, _directory: directory }
    }

    fn execute(&self, account: u128, command: AccountCommand) -> Result<(), ExecuteError<No>> {
        execute(&self.executor, Uuid::from_u128(account), command).map(drop)
    }

    /// Replays the log: who has which address, by the events of the accounts and by those of the addresses.
    fn owners(&self) -> [BTreeMap<Uuid, Uuid>; 2] {
        let (mut address_of, mut owner_of) = (BTreeMap::new(), BTreeMap::new());
        for event in self.log.events_after(0) {
            let event = event.unwrap();
            let event = event.as_recorded();
            if event.stream_type == Account::STREAM_TYPE {
                match decode(&event).unwrap() {
                    AccountEvent::Registered(email) | AccountEvent::EmailChanged(email) => {
                        address_of.insert(event.stream_id, email.stream);
                    }
                    AccountEvent::Closed(_) => drop(address_of.remove(&event.stream_id)),
                }
                continue;
            }
            match decode(&event).unwrap() {
                AddressEvent::Claimed(owner) => {
                    let before = owner_of.insert(event.stream_id, owner.account);
                    assert_eq!(before, None, "claimed twice, at {}", event.position);
                }
                AddressEvent::Released(owner) => {
                    assert_eq!(owner_of.remove(&event.stream_id), Some(owner.account));
                }
            }
        }
        let count = address_of.len();
        let by_accounts: BTreeMap<_, _> =
            address_of.into_iter().map(|(account, address)| (address, account)).collect();
        assert_eq!(by_accounts.len(), count, "two accounts have one address");
        [by_accounts, owner_of]
    }

    /// Runs `client` on eight threads that start together.
    fn race<T: Send>(&self, client: impl Fn(u128) -> T + Sync) -> Vec<T> {
        let start = Barrier::new(8);
        thread::scope(|scope| {
            let clients: Vec<_> = (1..=8)
                .map(|number| {
                    let (start, client) = (&start, &client);
                    scope.spawn(move || {
                        start.wait();
                        client(number)
                    })
                })
                .collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        })
    }
}

fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

fn taken() -> Result<(), ExecuteError<No>> {
    Err(ExecuteError::Rejected(No::Taken))
}

#[test]
fn of_clients_that_race_for_one_address_exactly_one_wins() {
    let fixture = Fixture::fresh();
    for round in 0..25 {
        let answers = fixture.race(|client| {
            // Each in a spelling of its own.
            let text = if client % 2 == 0 { "Ada" } else { "ADA" };
            let address = email(&format!(" {text}.{round}@Example.org"));
            fixture.execute(round * 8 + client, AccountCommand::Register(address))
        });
        let winners = answers.iter().filter(|answer| answer.is_ok()).count();
        let losers = answers.iter().filter(|answer| **answer == taken()).count();
        assert_eq!((winners, losers), (1, 7), "{answers:?}");
    }
    assert_eq!(fixture.log.head().value(), 50, "a loser leaves no event, of its account neither");
    let [by_accounts, by_addresses] = fixture.owners();
    assert_eq!((by_accounts.len(), by_accounts), (25, by_addresses));
}

#[test]
fn however_clients_register_change_and_close_no_address_has_two_owners() {
    let fixture = Fixture::fresh();
    let answers = fixture.race(|client| {
        (0..60).fold(0, |accepted, step| {
            // Five addresses for eight accounts: most commands meet an owner.
            let address = email(&format!("{}@example.org", (client * 7 + step * (client + 2)) % 5));
            let command = match step % 6 {
                0 => AccountCommand::Register(address),
                5 => AccountCommand::Close,
                _ => AccountCommand::ChangeEmail(address),
            };
            accepted + u32::from(fixture.execute(client, command).is_ok())
        })
    });
    assert!(answers.iter().sum::<u32>() > 8, "{answers:?}");
    let [by_accounts, by_addresses] = fixture.owners();
    assert_eq!(by_accounts, by_addresses);
}

#[test]
fn a_change_to_a_taken_address_keeps_the_old_one() {
    let fixture = Fixture::fresh();
    let [ada, bob] = [email("ada@example.org"), email("bob@example.org")];
    fixture.execute(1, AccountCommand::Register(ada.clone())).unwrap();
    fixture.execute(2, AccountCommand::Register(bob.clone())).unwrap();
    let before = fixture.owners();
    assert_eq!(fixture.execute(1, AccountCommand::ChangeEmail(bob.clone())), taken());
    assert_eq!(fixture.execute(2, AccountCommand::ChangeEmail(ada)), taken());
    assert_eq!((fixture.log.head().value(), fixture.owners()), (4, before));
    // A closed account frees its address for others, and for itself.
    fixture.execute(2, AccountCommand::Close).unwrap();
    fixture.execute(1, AccountCommand::ChangeEmail(bob)).unwrap();
    assert_eq!(fixture.owners()[0].len(), 1);
}

#[test]
fn another_spelling_changes_the_account_and_moves_no_reservation() {
    let fixture = Fixture::fresh();
    fixture.execute(1, AccountCommand::Register(email("ada@example.org"))).unwrap();
    fixture.execute(1, AccountCommand::ChangeEmail(email("Ada@Example.org"))).unwrap();
    assert_eq!(fixture.log.head().value(), 3);
}

#[test]
fn the_name_of_an_address_never_changes() {
    // Logs hold reservations under this name: another name would free every address.
    let stream = Uuid::from_u128(0x68e3_5c99_2185_5bfb_8e96_1f0e_d4f2_0858);
    assert_eq!(email("Ada@Example.org").stream, stream);
    for text in ["ada", "@example.org", "ada@", "ada@example@org", ""] {
        assert_eq!(Email::parse(text), None, "{text:?}");
    }
}
