//! The tests of lesson 7: every account of the past is one that existed.

// Every failure here is to stop the test with its reason.
#![allow(clippy::unwrap_used)]

use course::lesson_07::{as_of, at_version};
use tally::account::{Account, AccountCommand, AccountEvent, Currency, Movement};
use tally::es::{Aggregate, Context, EventLog, Executor, MemoryDatabase, OwnedEvent, RecordedEvent, decode};
use uuid::Uuid;

const NOON: &str = "2026-01-31T12:00:00.000000Z";
const EVENING: &str = "2026-01-31T18:00:00.000000Z";

#[test]
fn a_version_counts_the_events_of_the_account_and_not_those_of_the_log() {
    let history = history();
    let events: Vec<RecordedEvent<'_>> = history.iter().map(OwnedEvent::as_recorded).collect();
    assert_eq!(events[2].position, 5, "Bob's events lie between");
    assert_eq!(
        at_version(&events, 3).unwrap(),
        replay(&events[..3]),
        "version 3 of Ada's account is at position 5: a version and a position are different numbers."
    );
}

#[test]
fn an_event_of_that_very_moment_has_happened() {
    let history = history();
    let times = ["2026-01-31T09:00:00.000000Z", "2026-01-31T11:00:00.000000Z", NOON, EVENING, EVENING];
    let events: Vec<RecordedEvent<'_>> = history
        .iter()
        .zip(times)
        .map(|(event, recorded_at)| RecordedEvent { recorded_at, ..event.as_recorded() })
        .collect();
    assert_eq!(
        as_of(&events, NOON).unwrap(),
        replay(&events[..3]),
        "an event was recorded at exactly {NOON}, and belongs to the account as of that time."
    );
}

#[test]
fn events_with_the_same_time_keep_the_order_of_the_log() {
    let history = history();
    // The clock was set back by hours, and the service restarted: the log keeps the last time until the clock has
    // caught up, and new ids, which are made from the clock, sort before old ones.
    let events: Vec<RecordedEvent<'_>> = history
        .iter()
        .zip(1..)
        .map(|(event, number)| RecordedEvent {
            recorded_at: NOON,
            event_id: Uuid::from_u128(100 - number),
            ..event.as_recorded()
        })
        .collect();
    assert_eq!(
        as_of(&events, EVENING).unwrap(),
        replay(&events),
        "the events were put into another order than that of the log: some money was withdrawn before it was there.\n\
         Neither times nor ids order events. The position does, and within one stream the version."
    );
}

/// The history of Ada's account (opened, 50 in, 50 out, 20 in, 5 out), with Bob's events between in the log.
fn history() -> Vec<OwnedEvent> {
    let log = EventLog::open(MemoryDatabase::default()).unwrap();
    let executor = Executor::start(log.clone(), |_commit| ()).unwrap();
    let [ada, bob] = [1, 2].map(Uuid::from_u128);
    let open = |owner: &str| AccountCommand::Open { owner: owner.into(), currency: Currency::default() };
    let movement = |amount| Movement { amount, description: None, transfer_id: None };
    for (account, command) in [
        (ada, open("Ada")),
        (bob, open("Bob")),
        (ada, AccountCommand::Deposit(movement(50))),
        (bob, AccountCommand::Deposit(movement(700))),
        (ada, AccountCommand::Withdraw(movement(50))),
        (ada, AccountCommand::Deposit(movement(20))),
        (ada, AccountCommand::Withdraw(movement(5))),
    ] {
        executor.execute::<Account>(account, command, Context::default()).unwrap();
    }
    log.stream(ada).collect::<Result<_, _>>().unwrap()
}

fn replay(events: &[RecordedEvent<'_>]) -> Account {
    let events: Vec<AccountEvent> = events.iter().map(|event| decode(event).unwrap()).collect();
    events.iter().fold(Account::default(), Account::evolve)
}
