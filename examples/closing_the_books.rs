//! Closing the books: an account as a chain of streams, one for each period.
//!
//! `cargo run --example closing_the_books` runs the program; `tests/examples/` runs it with every `cargo test`.
//!
//! Read next: `docs/how-to/close-the-books.md`, which says when a snapshot is enough.

use std::error::Error;

use serde::{Deserialize, Serialize};
use tally::es::{
    Aggregate, Context, EventLog, ExecuteError, Execution, Executor, MemoryDatabase, Work, decode,
};
use uuid::Uuid;

#[path = "closing_the_books/period.rs"]
pub(crate) mod period;

use period::{Booked, No, Opened, Period, PeriodCommand, PeriodEvent};

// The stream of the account itself says where its open period is: one short event for each period.
tally::es::events! {
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) enum AccountEvent {
        PeriodBegan(PeriodBegan) = "PeriodBegan",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PeriodBegan {
    pub(crate) period: Uuid,
    pub(crate) number: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) period: Option<Uuid>,
    pub(crate) number: u32,
}

impl Aggregate for Account {
    const STREAM_TYPE: &'static str = "account";
    type Command = PeriodBegan;
    type Event = AccountEvent;
    type Rejection = No;

    fn decide(&self, began: &PeriodBegan) -> Result<Vec<AccountEvent>, No> {
        Ok(vec![AccountEvent::PeriodBegan(began.clone())])
    }

    fn evolve(self, AccountEvent::PeriodBegan(began): &AccountEvent) -> Self {
        Self { period: Some(began.period), number: began.number }
    }
}

/// The stream of a period, and its events.
pub(crate) type Chapter = (Uuid, Vec<PeriodEvent>);

type Answer = Result<Execution, ExecuteError<No>>;

/// Begins a period in a new stream, and says so in the stream of the account.
fn begin(work: &mut Work<'_>, opened: Opened, period: Uuid) -> Result<(), ExecuteError<No>> {
    let (account, number) = (opened.account, opened.number);
    work.decide::<Period>(period, &PeriodCommand::Open(opened))?;
    work.decide::<Account>(account, &PeriodBegan { period, number })
}

/// Opens an account with its first period. An account that is open already stays as it is.
pub(crate) fn open(executor: &Executor, account: Uuid) -> Answer {
    let first = Uuid::now_v7();
    executor.transact(Context::default(), move |work| {
        if work.load::<Account>(account)?.0.period.is_none() {
            begin(work, Opened { account, number: 1, balance: 0, previous: None }, first)?;
        }
        Ok(account)
    })
}

/// Books in the open period, whichever that is. `belongs_to` is for an amount of an earlier period.
pub(crate) fn book(executor: &Executor, account: Uuid, cents: i64, belongs_to: Option<u32>) -> Answer {
    executor.transact(Context::default(), move |work| {
        let &Account { period, number } = work.load::<Account>(account)?.0;
        let period = period.ok_or(ExecuteError::Rejected(No::UnknownAccount))?;
        let booked = Booked { cents, belongs_to: belongs_to.unwrap_or(number) };
        work.decide::<Period>(period, &PeriodCommand::Book(booked))?;
        Ok(period)
    })
}

/// Closes period `number`, and opens the next, in one transaction. A period that is closed already stays so.
pub(crate) fn close(executor: &Executor, account: Uuid, number: u32) -> Answer {
    let next = Uuid::now_v7();
    executor.transact(Context::default(), move |work| {
        let open = work.load::<Account>(account)?.0.clone();
        let period = open.period.ok_or(ExecuteError::Rejected(No::UnknownAccount))?;
        if number > open.number {
            return Err(ExecuteError::Rejected(No::PeriodHasNotBegun));
        }
        if number == open.number {
            work.decide::<Period>(period, &PeriodCommand::Close { next })?;
            let balance = work.load::<Period>(period)?.0.balance;
            begin(work, Opened { account, number: number + 1, balance, previous: Some(period) }, next)?;
        }
        Ok(account)
    })
}

/// Returns the whole history of an account: each period's stream and events, from the first to the open one.
///
/// # Errors
/// When two neighbours do not name each other, or disagree about the balance.
pub(crate) fn history(log: &EventLog, account: Uuid) -> Result<Vec<Chapter>, Box<dyn Error>> {
    let mut periods: Vec<Chapter> = Vec::new();
    for event in log.stream(account) {
        let AccountEvent::PeriodBegan(began) = decode(&event?.as_recorded())?;
        let events = log.stream(began.period).map(|event| Ok(decode(&event?.as_recorded())?));
        let events = events.collect::<Result<Vec<PeriodEvent>, Box<dyn Error>>>()?;
        let before = periods.last().map(|(id, events)| (*id, events.last()));
        let fits = match (before, events.first()) {
            (None, Some(PeriodEvent::Opened(opened))) => opened.previous.is_none(),
            (Some((id, Some(PeriodEvent::Closed(closed)))), Some(PeriodEvent::Opened(opened))) => {
                (opened.previous, closed.next, closed.balance) == (Some(id), began.period, opened.balance)
            }
            _ => false,
        };
        if !fits {
            return Err(format!("period {} does not follow the one before", began.number).into());
        }
        periods.push((began.period, events));
    }
    Ok(periods)
}

/// Runs the program: a year of an account, in memory.
pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let log = EventLog::open(MemoryDatabase::default())?;
    let executor = Executor::start(log.clone(), |_commit| ())?;
    let account = Uuid::now_v7();
    open(&executor, account)?;
    for month in 1..=12 {
        for _day in 0..20 {
            book(&executor, account, 100, None)?;
        }
        close(&executor, account, month)?;
    }
    // An invoice of November comes in January: it is booked in January, for November.
    let late = book(&executor, account, -700, Some(11))?;
    assert_eq!(late.version(), 2, "the stream of the new year is short");

    let periods = history(&log, account)?;
    assert_eq!(periods.len(), 13);
    let state = periods[12].1.iter().fold(Period::default(), Period::evolve);
    assert_eq!((state.number, state.balance), (13, 12 * 20 * 100 - 700));
    Ok(())
}
