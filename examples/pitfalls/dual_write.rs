//! Two writes without a common transaction: the event is recorded, and the read model never shows it.
//!
//! After the event, the command updates the read model. The second write fails (here its volume is away for a
//! moment), and cannot take the first one back. The next command adds to a balance that is wrong already. No
//! later step compares the balance with the log.
//!
//! Seen in EventFlow (issues 439 and 734: an exception in the read model leaves the event committed and the
//! update dropped) and in the example of a book (dddshelf/ddd-in-php-book-issues 81).
//!
//! Here: a command writes events and nothing else. The projector reads the log from its own checkpoint
//! (`src/es/projection/projector.rs`), so a failure makes rows late, never wrong.

use std::fs;
use std::path::Path;

use tally::es::rusqlite::Connection;
use tally::es::{Context, Definition, Projector};
use uuid::Uuid;

use super::purse::{Balances, Purse, PurseCommand, cents, total};
use super::{Directory, Pitfall, Result, Scene, Story};

pub(crate) const PITFALL: Pitfall = Pitfall {
    name: "dual-write",
    summary: "an event and a read model are written one after the other, and the second write fails",
    tell: || {
        let (wrong, right) = (mistake()?, right_way()?);
        Ok(Story {
            mistake: format!("the log says {} cents, the read model {} for ever", wrong.log, wrong.rows),
            right_way: format!(
                "the log says {} cents, and so does the read model: {}",
                right.log, right.rows
            ),
        })
    },
};

/// The amounts that are recorded and shown, in cents.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) log: u64,
    pub(crate) rows: u64,
}

pub(crate) fn mistake() -> Result<Outcome> {
    let directory = Directory::fresh();
    let (volume, away) = (directory.join("read-side"), directory.join("away"));
    fs::create_dir(&volume)?;
    let rows = volume.join("rows.sqlite3");
    Connection::open(&rows)?.execute_batch(
        "CREATE TABLE balances (purse INTEGER PRIMARY KEY, cents INTEGER); INSERT INTO balances VALUES (1, 0)",
    )?;
    let log = Connection::open(directory.join("log.sqlite3"))?;
    log.execute_batch("CREATE TABLE events (position INTEGER PRIMARY KEY, cents INTEGER)")?;
    let fill = |cents: u64| {
        log.execute("INSERT INTO events (cents) VALUES (?1)", [cents])?;
        Connection::open(&rows)?.execute("UPDATE balances SET cents = cents + ?1", [cents])
    };

    fill(50)?;
    fs::rename(&volume, &away)?;
    // The caller logs the error. The event stays recorded.
    fill(30).expect_err("the volume is away");
    fs::rename(&away, &volume)?;
    fill(20)?;
    let recorded = log.query_row("SELECT sum(cents) FROM events", [], |row| row.get(0))?;
    Ok(Outcome { log: recorded, rows: total(&rows)? })
}

pub(crate) fn right_way() -> Result<Outcome> {
    let scene = Scene::open()?;
    let (volume, away) = (scene.directory.join("read-side"), scene.directory.join("away"));
    fs::create_dir(&volume)?;
    let rows = volume.join("rows.sqlite3");
    let purse = Uuid::now_v7();
    let fill = |cents| scene.executor.execute::<Purse>(purse, PurseCommand::Fill(cents), Context::default());

    fill(50)?;
    project(&scene, &rows)?;
    fs::rename(&volume, &away)?;
    fill(30)?;
    project(&scene, &rows).expect_err("the volume is away");
    fs::rename(&away, &volume)?;
    fill(20)?;
    project(&scene, &rows)?;
    Ok(Outcome { log: cents(&scene.log, purse)?, rows: total(&rows)? })
}

/// Applies the events after the checkpoint, in a projector that is opened anew, as after a restart.
fn project(scene: &Scene, rows: &Path) -> Result<()> {
    let mut projector = Projector::open(rows, &[Definition::of::<Balances>()])?;
    Ok(projector.catch_up(&mut scene.log.clone(), scene.log.head().value())?)
}
