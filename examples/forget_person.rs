//! Forgetting a person while the log stays whole: the events carry a reference, the name lies beside the log.
//!
//! `cargo run --example forget_person` runs the program; `tests/examples/` runs it with every `cargo test`.
//!
//! Read next: `docs/how-to/forget-a-person.md`, why each step is where it is.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tally::es::{
    Aggregate, Context, Definition, Error, EventLog, ExecuteError, Execution, Executor, Projector,
    SqliteDatabase,
};
use uuid::Uuid;

#[path = "forget_person/people.rs"]
pub(crate) mod people;
#[path = "forget_person/spending.rs"]
pub(crate) mod spending;

use people::{People, failed};
use spending::{Spending, spent};

// The id of the stream is the reference to the person. No event, command or state has a name in it.
tally::es::events! {
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) enum CustomerEvent {
        Registered(Registered) = "CustomerRegistered",
        Ordered(Ordered) = "GoodsOrdered",
        Forgotten(Forgotten) = "PersonForgotten",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Registered {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ordered {
    pub(crate) cents: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Forgotten {}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) enum Customer {
    #[default]
    Unknown,
    Known,
    Forgotten,
}

#[derive(Clone, Debug)]
pub(crate) enum CustomerCommand {
    Register,
    Order { cents: u64 },
    Forget,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum No {
    NotRegistered,
    Forgotten,
}

impl Aggregate for Customer {
    const STREAM_TYPE: &'static str = "customer";
    type Command = CustomerCommand;
    type Event = CustomerEvent;
    type Rejection = No;

    fn decide(&self, command: &CustomerCommand) -> Result<Vec<CustomerEvent>, No> {
        match (self, command) {
            // Each command may be repeated: the state answers the repetition, no idempotency key does.
            (Self::Forgotten, CustomerCommand::Forget) | (Self::Known, CustomerCommand::Register) => {
                Ok(vec![])
            }
            (Self::Unknown, CustomerCommand::Register) => Ok(vec![CustomerEvent::Registered(Registered {})]),
            (Self::Known, CustomerCommand::Order { cents }) => {
                Ok(vec![CustomerEvent::Ordered(Ordered { cents: *cents })])
            }
            (Self::Known, CustomerCommand::Forget) => Ok(vec![CustomerEvent::Forgotten(Forgotten {})]),
            (Self::Unknown, _) => Err(No::NotRegistered),
            (Self::Forgotten, _) => Err(No::Forgotten),
        }
    }

    fn evolve(self, event: &CustomerEvent) -> Self {
        match event {
            CustomerEvent::Registered(_) | CustomerEvent::Ordered(_) => Self::Known,
            CustomerEvent::Forgotten(_) => Self::Forgotten,
        }
    }
}

/// The log, and the names beside it.
pub(crate) struct Shop {
    pub(crate) log: Arc<EventLog>,
    pub(crate) executor: Executor,
    pub(crate) people: People,
}

type Answer = Result<Execution, ExecuteError<No>>;

impl Shop {
    /// Opens both files, and finishes what a crash cut off: a name without a known person goes.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        let log = EventLog::open(SqliteDatabase::open(directory.join("log"))?)?;
        let executor = Executor::start(Arc::clone(&log), |_commit| ())?;
        let people = People::open(&directory.join("people"), log.log_id())?;
        let shop = Self { log, executor, people };
        for person in shop.people.all().map_err(failed)? {
            // A transaction that only looks: a rejection brings the answer out of the closure.
            let looked = shop.executor.transact::<()>(Context::default(), move |work| {
                let is_known = *work.load::<Customer>(person)?.0 == Customer::Known;
                if is_known { Ok(person) } else { Err(ExecuteError::Rejected(())) }
            });
            match looked {
                Ok(_) => {}
                Err(ExecuteError::Rejected(())) => shop.people.erase(person)?,
                Err(ExecuteError::Failed(error)) => return Err(error),
                Err(other) => return Err(Error::Storage(format!("the sweep has stopped: {other:?}"))),
            }
        }
        Ok(shop)
    }

    /// The name first, then the event: an event never refers to a name that was lost in a crash.
    pub(crate) fn register(&self, person: Uuid, name: &str) -> Answer {
        self.people.keep(person, name).map_err(failed)?;
        let answer = self.send(person, CustomerCommand::Register);
        if answer == Err(ExecuteError::Rejected(No::Forgotten)) {
            // The person was forgotten before or meanwhile: this name must not stay.
            self.people.erase(person)?;
        }
        answer
    }

    /// The event first, then the erasure: from the event on, the stream rejects what would bring a name.
    pub(crate) fn forget(&self, person: Uuid) -> Answer {
        let answer = self.send(person, CustomerCommand::Forget)?;
        // Also when the event was recorded before: the erasure after it may have been cut off.
        self.people.erase(person)?;
        Ok(answer)
    }

    pub(crate) fn send(&self, person: Uuid, command: CustomerCommand) -> Answer {
        self.executor.execute::<Customer>(person, command, Context::default())
    }
}

/// Runs the program in a directory of its own.
pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("tally-forget-{}", Uuid::now_v7()));
    std::fs::create_dir_all(&directory)?;
    let (shop, ada, rows) = (Shop::open(&directory)?, Uuid::now_v7(), directory.join("rows"));
    shop.register(ada, "Ada Lovelace")?;
    let ordered = shop.send(ada, CustomerCommand::Order { cents: 1250 })?;
    let mut projector = Projector::open(&rows, &[Definition::of::<Spending>()])?;
    projector.catch_up(&mut shop.log.clone(), ordered.position())?;
    assert_eq!(spent(&rows, &shop.people, ada)?, ("Ada Lovelace".into(), 1250));
    assert!(shop.people.correct(ada, "Ada King")?);

    let forgotten = shop.forget(ada)?;
    projector.catch_up(&mut shop.log.clone(), forgotten.position())?;
    assert_eq!(spent(&rows, &shop.people, ada)?, ("(forgotten)".into(), 1250));
    drop((projector, shop));
    Ok(std::fs::remove_dir_all(&directory)?)
}
