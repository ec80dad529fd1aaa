//! A rebuild in place: the table is emptied and filled again, and queries get wrong answers meanwhile.
//!
//! The rows count what went in and forget what went out. The mended build replays the history. Until the
//! replay has reached the end, a query sees nothing, then a part: minutes or hours on a long log.
//!
//! Seen in Ecotone (ecotoneframework/ecotone-dev 253: a reset shows old states, the longer the more events
//! there are) and in Marten (issue 1720, a request for rebuilds without downtime).
//!
//! Here: the new rows are built in tables beside the old ones and renamed into place when they have come as
//! far, in one transaction (`src/es/projection/rebuild.rs`). A raised `VERSION` starts the rebuild.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tally::es::rusqlite::{self, Connection};
use tally::es::{
    Context, Definition, EventLog, Feed, FeedError, Names, Page, Projection, ProjectionError, Projector,
    RecordedEvent,
};
use uuid::Uuid;

use super::purse::{Balances, Purse, PurseCommand, total};
use super::{Directory, Pitfall, Result, Scene, Story};

pub(crate) const PITFALL: Pitfall = Pitfall {
    name: "rebuild-in-place",
    summary: "a table is emptied to be filled again, and queries see it empty",
    tell: || {
        let (wrong, right) = (mistake()?, right_way()?);
        Ok(Story {
            mistake: format!("queries before, during and after the rebuild: {wrong:?}"),
            right_way: format!("queries before, during and after the rebuild: {right:?}"),
        })
    },
};

/// Returns the answers of a query, asked before each step of the rebuild and at its end.
pub(crate) fn mistake() -> Result<Vec<u64>> {
    let directory = Directory::fresh();
    let rows = directory.join("rows.sqlite3");
    let db = Connection::open(&rows)?;
    db.execute_batch(
        "CREATE TABLE balances (purse INTEGER PRIMARY KEY, cents INTEGER) STRICT;
         INSERT INTO balances VALUES (1, 200);",
    )?;
    let mut answers = vec![total(&rows)?];
    db.execute("DELETE FROM balances", [])?;
    for moved in [100, 100, -50] {
        answers.push(total(&rows)?);
        db.execute(
            "INSERT INTO balances VALUES (1, ?1) ON CONFLICT DO UPDATE SET cents = cents + ?1",
            [moved],
        )?;
    }
    answers.push(total(&rows)?);
    Ok(answers)
}

/// The amount in each purse; before version 2, without what was spent.
struct Versioned<const VERSION: u32>(Balances);

impl<const VERSION: u32> Projection for Versioned<VERSION> {
    const NAME: &'static str = Balances::NAME;
    const VERSION: u32 = VERSION;
    const READABLE_FROM: u32 = 1;
    const TABLES: &'static [&'static str] = Balances::TABLES;

    fn new(names: &Names) -> Self {
        Self(Balances::new(names))
    }

    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
        Balances::create(db, names)
    }

    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        if VERSION < 2 && event.event_type == "PurseSpent" { Ok(()) } else { self.0.apply(db, event) }
    }
}

/// A feed of single events that queries the rows before each of them.
struct Watched {
    log: Arc<EventLog>,
    rows: PathBuf,
    answers: Vec<u64>,
}

impl Feed for Watched {
    fn next_page(&mut self, after: u64, _limit: u32, wait: Duration) -> Result<Page, FeedError> {
        self.answers.push(total(&self.rows).map_err(|error| FeedError::new(error.to_string()))?);
        self.log.next_page(after, 1, wait)
    }
}

/// As [`mistake`].
pub(crate) fn right_way() -> Result<Vec<u64>> {
    let scene = Scene::open()?;
    let purse = Uuid::now_v7();
    for command in [PurseCommand::Fill(100), PurseCommand::Fill(100), PurseCommand::Spend(50)] {
        scene.executor.execute::<Purse>(purse, command, Context::default())?;
    }
    let rows = scene.directory.join("rows.sqlite3");
    project::<1>(&rows, &mut scene.log.clone())?;

    let mut feed = Watched { log: scene.log.clone(), rows: rows.clone(), answers: Vec::new() };
    project::<2>(&rows, &mut feed)?;
    feed.answers.push(total(&rows)?);
    Ok(feed.answers)
}

fn project<const VERSION: u32>(rows: &Path, feed: &mut dyn Feed) -> Result<()> {
    Ok(Projector::open(rows, &[Definition::of::<Versioned<VERSION>>()])?.catch_up(feed, 3)?)
}
