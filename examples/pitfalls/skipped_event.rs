//! A position that is taken before the commit: the reader skips an event, for ever.
//!
//! A database sequence (`bigserial`, `AUTO_INCREMENT`, `IDENTITY`) gives out its numbers at once, whatever
//! becomes of the transaction. Ada takes number 1 and works on; Bob takes number 2 and commits. A reader sees
//! event 2 and asks from then on for events after 2. Then Ada commits event 1, which the reader never asks for.
//!
//! Seen in Marten (issues 1629 and 4964: the asynchronous daemon loses events under concurrent appends),
//! Eventuous (issue 222), Protean (issue 1088) and SQLStreamStore (issue 121).
//!
//! Here: one counter row, raised in the transaction that appends (`schema.sql`); the one writer thread of
//! `src/es/command/batch_writer.rs` runs one command after another. Positions have no gaps, and become visible
//! in their order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use tally::es::rusqlite::{self, Connection};
use tally::es::{Context, EventLog};
use uuid::Uuid;

use super::purse::{Purse, PurseCommand, TooLittle};
use super::{Directory, Failure, Pitfall, Result, Scene, Story};

pub(crate) const PITFALL: Pitfall = Pitfall {
    name: "skipped-event",
    summary: "a position is taken before the commit, and a reader skips the event",
    tell: || {
        let (wrong, right) = (mistake()?, right_way()?);
        Ok(Story {
            mistake: format!("the log has the events {:?}, the reader saw {:?}", wrong.recorded, wrong.read),
            right_way: format!(
                "the log has the events {:?}, the reader saw {:?}",
                right.recorded, right.read
            ),
        })
    },
};

/// The positions in the log, and the positions that a reader has seen.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) recorded: Vec<u64>,
    pub(crate) read: Vec<u64>,
}

pub(crate) fn mistake() -> Result<Outcome> {
    let directory = Directory::fresh();
    let file = directory.join("events.sqlite3");
    let reader = Connection::open(&file)?;
    reader.execute_batch("CREATE TABLE events (position INTEGER PRIMARY KEY, who TEXT) STRICT")?;
    let sequence = AtomicU64::new(1);
    let take_number = || sequence.fetch_add(1, Ordering::Relaxed);
    let insert = |position, who| {
        Connection::open(&file)?.execute("INSERT INTO events VALUES (?1, ?2)", (position, who))
    };

    let mut read = Vec::new();
    thread::scope(|scope| {
        let (tell_taken, taken) = sync_channel(0);
        let (tell_go, go) = sync_channel::<()>(0);
        let ada = scope.spawn(move || {
            let position = take_number();
            tell_taken.send(())?;
            go.recv()?;
            insert(position, "Ada")?;
            Ok::<_, Failure>(())
        });
        taken.recv()?;
        insert(take_number(), "Bob")?;
        poll(&reader, &mut read)?;
        tell_go.send(())?;
        ada.join().expect("Ada's thread does not panic")?;
        Ok::<_, Failure>(poll(&reader, &mut read)?)
    })?;
    let mut recorded = Vec::new();
    poll(&reader, &mut recorded)?;
    Ok(Outcome { recorded, read })
}

/// Reads the events after the last position that the reader has seen.
fn poll(reader: &Connection, read: &mut Vec<u64>) -> rusqlite::Result<()> {
    let last = read.last().copied().unwrap_or(0);
    let mut events = reader.prepare("SELECT position FROM events WHERE position > ?1 ORDER BY position")?;
    for position in events.query_map([last], |row| row.get(0))? {
        read.push(position?);
    }
    Ok(())
}

pub(crate) fn right_way() -> Result<Outcome> {
    let scene = Scene::open()?;
    let executor = &scene.executor;
    let mut read = Vec::new();
    thread::scope(|scope| {
        let (tell_taken, taken) = sync_channel(0);
        let (tell_go, go) = sync_channel::<()>(0);
        let purse = Uuid::now_v7();
        let ada = scope.spawn(move || {
            executor.transact::<TooLittle>(Context::default(), move |work| {
                work.decide::<Purse>(purse, &PurseCommand::Fill(1))?;
                // The event is staged, and not committed until the reader has read.
                tell_taken.send(()).ok();
                go.recv().ok();
                Ok(purse)
            })
        });
        taken.recv()?;
        // Bob's command waits for Ada's, and cannot come first.
        let bob = scope
            .spawn(|| executor.execute::<Purse>(Uuid::now_v7(), PurseCommand::Fill(1), Context::default()));
        follow(&scene.log, &mut read)?;
        tell_go.send(())?;
        ada.join().expect("Ada's thread does not panic")?;
        bob.join().expect("Bob's thread does not panic")?;
        follow(&scene.log, &mut read)
    })?;
    let mut recorded = Vec::new();
    follow(&scene.log, &mut recorded)?;
    Ok(Outcome { recorded, read })
}

fn follow(log: &EventLog, read: &mut Vec<u64>) -> Result<()> {
    let page = log.page(read.last().copied().unwrap_or(0), 100, Duration::ZERO)?;
    read.extend(page.content()?.events.iter().map(|event| event.position));
    Ok(())
}
