//! An unbounded replay: each command loads the whole stream, and the hundredth costs a hundred times the first.
//!
//! The cost of all commands grows with the square of their number. On a short stream no test notices.
//!
//! Seen in Sequent (zilverline/sequent 303: an aggregate of 1.2 million events could not be loaded any more
//! without its snapshots) and in EventSauce (EventSaucePHP/EventSauce 144: an aggregate root with more than
//! 12,000 messages).
//!
//! Here: the writer keeps states in memory (`src/es/command/cached_states.rs`), and stores a snapshot every 32
//! events (`src/es/command/stream_state.rs`): the first command after a restart folds 31 events at most.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tally::es::rusqlite::{self, Connection};
use tally::es::{Aggregate, Context, EventLog, Executor, MemoryDatabase};
use uuid::Uuid;

use super::purse::{Moved, PurseEvent};
use super::{Failure, Pitfall, Result, Story};

pub(crate) const PITFALL: Pitfall = Pitfall {
    name: "whole-replay",
    summary: "each command replays the whole stream, and a long stream makes every command slow",
    tell: || {
        let (wrong, right) = (mistake()?, right_way()?);
        let tell = |outcome: Outcome| {
            let Outcome { commands, first_after_restart } = outcome;
            format!("100 commands fold {commands} events; the first after a restart {first_after_restart}")
        };
        Ok(Story { mistake: tell(wrong), right_way: tell(right) })
    },
};

/// How many events are folded for 100 commands on one stream, and for one more after a restart, each with
/// the command's own event.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) commands: u64,
    pub(crate) first_after_restart: u64,
}

/// Counts the calls of `evolve`, which has no argument for a counter.
static FOLDED: AtomicU64 = AtomicU64::new(0);
/// Held during a count: two at once would share the counter.
static COUNTING: Mutex<()> = Mutex::new(());

/// A purse that is only filled.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Counted {
    cents: u64,
}

impl Aggregate for Counted {
    const STREAM_TYPE: &'static str = "purse";
    type Command = u64;
    type Event = PurseEvent;
    type Rejection = ();

    fn decide(&self, cents: &u64) -> Result<Vec<PurseEvent>, ()> {
        Ok(vec![PurseEvent::Filled(Moved { cents: *cents })])
    }

    fn evolve(self, event: &PurseEvent) -> Self {
        FOLDED.fetch_add(1, Ordering::Relaxed);
        let (PurseEvent::Filled(moved) | PurseEvent::Spent(moved)) = event;
        Self { cents: self.cents + moved.cents }
    }
}

pub(crate) fn mistake() -> Result<Outcome> {
    let db = Connection::open_in_memory()?;
    db.execute_batch("CREATE TABLE events (version INTEGER PRIMARY KEY, cents INTEGER NOT NULL) STRICT")?;
    let execute = || {
        db.execute("INSERT INTO events (cents) VALUES (1)", [])?;
        let mut replay = db.prepare_cached("SELECT cents FROM events ORDER BY version")?;
        let events = replay.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<u64>>>()?;
        Ok::<_, Failure>(events.len() as u64)
    };
    let mut commands = 0;
    for _ in 0..100 {
        commands += execute()?;
    }
    Ok(Outcome { commands, first_after_restart: execute()? })
}

pub(crate) fn right_way() -> Result<Outcome> {
    let _alone = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    let (database, purse) = (MemoryDatabase::default(), Uuid::now_v7());
    let run = |commands| {
        let before = FOLDED.load(Ordering::Relaxed);
        let executor = Executor::start(EventLog::open(database.clone())?, |_commit| ())?;
        for _ in 0..commands {
            executor.execute::<Counted>(purse, 1, Context::default())?;
        }
        Ok::<_, Failure>(FOLDED.load(Ordering::Relaxed) - before)
    };
    Ok(Outcome { commands: run(100)?, first_after_restart: run(1)? })
}
