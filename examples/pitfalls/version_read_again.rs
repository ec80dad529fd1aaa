//! Optimistic concurrency that checks nothing: the version is read again right before the append.
//!
//! Two clerks see a purse of 100 at version 1. Each decides to spend 80, then asks the store for its version
//! and appends after that. The check compares the store with itself and always passes; the decision is about
//! a state that has gone.
//!
//! Seen in the microservice framework of CJSCommonPlatform (CJSCommonPlatform/microservice_framework_version_6,
//! issue 356: an append without a version asked the database for the next one, so an event that came in
//! between went unnoticed).
//!
//! Here: a command is decided on the writer thread, on the state to which its events are appended
//! (`src/es/command/work.rs`). A client may name the version that it saw, and is refused at any other.

use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;

use tally::es::rusqlite::Connection;
use tally::es::{Context, ExecuteError};
use uuid::Uuid;

use super::purse::{Purse, PurseCommand, TooLittle, cents};
use super::{Pitfall, Result, Scene, Story};

pub(crate) const PITFALL: Pitfall = Pitfall {
    name: "version-read-again",
    summary: "the version is read again right before the append, and the check always passes",
    tell: || {
        let (wrong, right) = (mistake()?, right_way()?);
        let tell = |outcome: Outcome| {
            let Outcome { paid, left } = outcome;
            format!("of 100 cents, {paid} of two payments of 80 went through; {left} cents are left")
        };
        Ok(Story { mistake: tell(wrong), right_way: tell(right) })
    },
};

/// How many of two payments went through, and how many cents are left.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) paid: usize,
    pub(crate) left: i64,
}

/// Runs a clerk in each of two threads; a clerk returns whether the payment went through. The barrier lets
/// both see the purse before either pays.
fn two_clerks(clerk: impl Fn(&Barrier) -> Result<bool> + Sync) -> Result<usize> {
    let both_have_seen = Barrier::new(2);
    thread::scope(|scope| {
        let clerks = [(); 2].map(|()| scope.spawn(|| clerk(&both_have_seen)));
        let mut paid = 0;
        for clerk in clerks {
            paid += usize::from(clerk.join().expect("a clerk does not panic")?);
        }
        Ok(paid)
    })
}

pub(crate) fn mistake() -> Result<Outcome> {
    let db = Connection::open_in_memory()?;
    db.execute_batch(
        "CREATE TABLE events (version INTEGER PRIMARY KEY, cents INTEGER NOT NULL) STRICT;
         INSERT INTO events VALUES (1, 100);",
    )?;
    let store = Mutex::new(db);
    let ask = |sql| {
        let db = store.lock().unwrap_or_else(PoisonError::into_inner);
        db.query_row(sql, [], |row| row.get::<_, i64>(0))
    };
    let paid = two_clerks(|both_have_seen| {
        let seen = ask("SELECT sum(cents) FROM events");
        both_have_seen.wait();
        if seen? < 80 {
            return Ok(false);
        }
        let db = store.lock().unwrap_or_else(PoisonError::into_inner);
        // The primary key would refuse a version that is taken. This one never is.
        let version: i64 = db.query_row("SELECT max(version) FROM events", [], |row| row.get(0))?;
        Ok(db.execute("INSERT INTO events VALUES (?1, -80)", [version + 1]).is_ok())
    })?;
    Ok(Outcome { paid, left: ask("SELECT sum(cents) FROM events")? })
}

pub(crate) fn right_way() -> Result<Outcome> {
    let scene = Scene::open()?;
    let purse = Uuid::now_v7();
    scene.executor.execute::<Purse>(purse, PurseCommand::Fill(100), Context::default())?;
    let paid = two_clerks(|both_have_seen| {
        let seen = scene.log.stream(purse).count() as u64;
        both_have_seen.wait();
        let payment = scene.executor.transact::<TooLittle>(Context::default(), move |work| {
            let (_purse, actual) = work.load::<Purse>(purse)?;
            if actual != seen {
                return Err(ExecuteError::VersionMismatch { stream_id: purse, actual });
            }
            work.decide::<Purse>(purse, &PurseCommand::Spend(80))?;
            Ok(purse)
        });
        match payment {
            Ok(_) => Ok(true),
            Err(ExecuteError::VersionMismatch { actual: 2, .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    })?;
    Ok(Outcome { paid, left: cents(&scene.log, purse)?.cast_signed() })
}
