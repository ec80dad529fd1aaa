//! Runs `examples/closing_the_books.rs`: closes, books late, and lets bookings race with closings.

use std::sync::{Arc, Barrier};
use std::thread;

use tally::es::{
    Aggregate, Context, EventLog, ExecuteError, Executor, KnownKinds, MemoryDatabase, SqliteDatabase, verify,
};
use uuid::Uuid;

use crate::directory::Directory;
use crate::quotes;

#[path = "../../examples/closing_the_books.rs"]
mod program;

use program::period::{Booked, No, Period, PeriodCommand, PeriodEvent};
use program::{Account, PeriodBegan, book, close, history, open};

const ACCOUNT: Uuid = Uuid::from_u128(1);

#[test]
fn the_program_runs_to_its_end() {
    program::main().unwrap();
}

#[test]
fn each_file_of_the_program_takes_at_most_200_lines_and_its_page_quotes_it() {
    let books = include_str!("../../examples/closing_the_books.rs");
    assert!(books.lines().count() <= 200);
    assert!(include_str!("../../examples/closing_the_books/period.rs").lines().count() <= 200);
    quotes::check(include_str!("../../docs/how-to/close-the-books.md"), books);
}

fn in_memory() -> (Arc<EventLog>, Executor) {
    let log = EventLog::open(MemoryDatabase::default()).unwrap();
    let executor = Executor::start(Arc::clone(&log), |_| ()).unwrap();
    (log, executor)
}

fn bookings(events: &[PeriodEvent]) -> impl Iterator<Item = &Booked> {
    events.iter().filter_map(|event| match event {
        PeriodEvent::Booked(booked) => Some(booked),
        PeriodEvent::Opened(_) | PeriodEvent::Closed(_) => None,
    })
}

#[test]
fn a_close_and_the_next_opening_are_one_transaction() {
    let (log, executor) = in_memory();
    open(&executor, ACCOUNT).unwrap();
    assert_eq!(open(&executor, ACCOUNT).unwrap().receipt(), None);
    book(&executor, ACCOUNT, 1250, None).unwrap();
    let before = log.head().value();
    close(&executor, ACCOUNT, 1).unwrap();
    let types: Vec<_> =
        log.events_after(before).map(|event| event.unwrap().as_recorded().event_type.to_owned()).collect();
    assert_eq!(types, ["PeriodClosed", "PeriodOpened", "PeriodBegan"]);

    let head = log.head().value();
    assert_eq!(close(&executor, ACCOUNT, 3), Err(ExecuteError::Rejected(No::PeriodHasNotBegun)));
    assert_eq!(close(&executor, ACCOUNT, 1).unwrap().receipt(), None, "a repeated close changes nothing");
    assert_eq!(log.head().value(), head);
}

#[test]
fn a_closed_period_takes_no_event_and_a_late_booking_goes_to_the_open_one() {
    let (log, executor) = in_memory();
    open(&executor, ACCOUNT).unwrap();
    book(&executor, ACCOUNT, 1250, None).unwrap();
    close(&executor, ACCOUNT, 1).unwrap();
    let closed = history(&log, ACCOUNT).unwrap()[0].0;
    for command in [
        PeriodCommand::Book(Booked { cents: 1, belongs_to: 1 }),
        PeriodCommand::Close { next: Uuid::from_u128(9) },
    ] {
        let answer = executor.execute::<Period>(closed, command, Context::default());
        assert_eq!(answer, Err(ExecuteError::Rejected(No::NotOpen)));
    }
    book(&executor, ACCOUNT, -50, Some(1)).unwrap();
    let future = book(&executor, ACCOUNT, 1, Some(3));
    assert_eq!(future, Err(ExecuteError::Rejected(No::PeriodHasNotBegun)));
    let overflow = book(&executor, ACCOUNT, i64::MAX, None);
    assert_eq!(overflow, Err(ExecuteError::Rejected(No::BalanceOutOfRange)));

    let periods = history(&log, ACCOUNT).unwrap();
    let late: Vec<_> = bookings(&periods[1].1).collect();
    assert_eq!(late, [&Booked { cents: -50, belongs_to: 1 }]);
    // The balance as it was reported stays; the corrected one is a sum over `belongs_to`.
    assert!(matches!(periods[0].1.last(), Some(PeriodEvent::Closed(closed)) if closed.balance == 1250));
    let all = periods.iter().flat_map(|(_, events)| bookings(events));
    assert_eq!(all.filter(|booked| booked.belongs_to == 1).map(|booked| booked.cents).sum::<i64>(), 1200);
}

#[test]
fn a_broken_chain_is_found() {
    let (log, executor) = in_memory();
    open(&executor, ACCOUNT).unwrap();
    let began = PeriodBegan { period: Uuid::from_u128(9), number: 2 };
    let opened = program::period::Opened { account: ACCOUNT, number: 2, balance: 7, previous: None };
    let command = PeriodCommand::Open(opened);
    executor.execute::<Period>(began.period, command, Context::default()).unwrap();
    executor.execute::<Account>(ACCOUNT, began, Context::default()).unwrap();
    assert!(history(&log, ACCOUNT).unwrap_err().to_string().contains("period 2"));
}

#[test]
fn the_stream_that_commands_replay_stays_as_short_as_a_period() {
    let (log, executor) = in_memory();
    open(&executor, ACCOUNT).unwrap();
    let mut longest = 0;
    for month in 1..=24 {
        for _ in 0..50 {
            let booked = book(&executor, ACCOUNT, 1, None).unwrap();
            longest = longest.max(booked.version());
        }
        close(&executor, ACCOUNT, month).unwrap();
    }
    assert_eq!(longest, 1 + 50);
    let open_period = history(&log, ACCOUNT).unwrap().pop().unwrap();
    assert_eq!(log.stream(open_period.0).count(), 1, "after 1200 bookings");
}

#[test]
fn bookings_that_race_with_closings_are_each_in_one_period_and_the_chain_is_whole() {
    let directory = Directory::fresh();
    let path = directory.join("log");
    let log = EventLog::open(SqliteDatabase::open(&path).unwrap()).unwrap();
    let executor = Executor::start(Arc::clone(&log), |_| ()).unwrap();
    open(&executor, ACCOUNT).unwrap();
    let barrier = Barrier::new(6);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                barrier.wait();
                (0..50).for_each(|_| assert!(book(&executor, ACCOUNT, 1, None).is_ok()));
            });
        }
        // Two clerks close the same periods.
        for _ in 0..2 {
            scope.spawn(|| {
                barrier.wait();
                (1..=10).for_each(|month| assert!(close(&executor, ACCOUNT, month).is_ok()));
            });
        }
    });
    let periods = history(&log, ACCOUNT).unwrap();
    assert_eq!(periods.len(), 11);
    assert_eq!(periods.iter().map(|(_, events)| bookings(events).count()).sum::<usize>(), 200);
    let last = periods[10].1.iter().fold(Period::default(), Period::evolve);
    assert_eq!(last.balance, 200);

    let kinds = KnownKinds::new().and::<Account>(|_, _| Ok(())).and::<Period>(|period, event| match event {
        PeriodEvent::Closed(closed) if closed.balance != period.balance => Err("another balance".into()),
        PeriodEvent::Opened(_) | PeriodEvent::Booked(_) | PeriodEvent::Closed(_) => Ok(()),
    });
    let report = verify(&path, &kinds).unwrap();
    assert!(report.is_sound() && report.unknown.is_empty());
}
