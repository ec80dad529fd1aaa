//! A poison event that is skipped: the projection catches the error, logs it, and goes on.
//!
//! A build does not know the event `PurseSpent`. Its projection reports the error among a thousand other
//! lines and moves the checkpoint past the event. The mended build begins at the checkpoint, so the payment
//! stays lost.
//!
//! Seen in FactCast (issue 4127: the position moves on before an event is handed out, and an exception in
//! between skips the event). Marten (issue 1731) discusses both answers, to stop and to skip.
//!
//! Here: the projection stops before the event, its status says why, the other projections go on, and a mended
//! build continues there (`src/es/projection/table_set.rs`).

use std::path::Path;

use tally::es::rusqlite::{self, Connection};
use tally::es::{
    Context, Definition, EventLog, Names, Projection, ProjectionError, Projector, RecordedEvent, serde_json,
};
use uuid::Uuid;

use super::purse::{Balances, Moved, Purse, PurseCommand, total};
use super::{Pitfall, Result, Scene, Story};

pub(crate) const PITFALL: Pitfall = Pitfall {
    name: "skipped-poison",
    summary: "an event that cannot be applied is logged and skipped",
    tell: || {
        let tell = |[old, mended]: [Shown; 2]| {
            let error = old.error.unwrap_or_else(|| "no error".to_owned());
            format!(
                "the old build shows {} ({error}), the mended build {} of 70 cents",
                old.cents, mended.cents
            )
        };
        Ok(Story { mistake: tell(mistake()?), right_way: tell(right_way()?) })
    },
};

/// What a build shows and reports when it has come as far as it can.
#[derive(Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) cents: u64,
    pub(crate) error: Option<String>,
}

/// Returns how an event changes the sum of all purses. Only a mended build knows what was spent.
fn change(event: &RecordedEvent<'_>, is_mended: bool) -> Result<i64, ProjectionError> {
    let moved: Moved =
        serde_json::from_str(event.data).map_err(|error| ProjectionError::Impossible(error.to_string()))?;
    match event.event_type {
        "PurseFilled" => Ok(moved.cents.cast_signed()),
        "PurseSpent" if is_mended => Ok(-moved.cents.cast_signed()),
        other => Err(ProjectionError::Impossible(format!("unknown event {other}"))),
    }
}

/// Fills 100 cents, spends 40, fills 10.
fn history() -> Result<Scene> {
    let scene = Scene::open()?;
    let purse = Uuid::now_v7();
    for command in [PurseCommand::Fill(100), PurseCommand::Spend(40), PurseCommand::Fill(10)] {
        scene.executor.execute::<Purse>(purse, command, Context::default())?;
    }
    Ok(scene)
}

/// Returns what the old build shows, and after it the mended build.
pub(crate) fn mistake() -> Result<[Shown; 2]> {
    let scene = history()?;
    let rows = scene.directory.join("rows.sqlite3");
    Connection::open(&rows)?.execute_batch(
        "CREATE TABLE balances (cents INTEGER); INSERT INTO balances VALUES (0);
         CREATE TABLE checkpoint (position INTEGER); INSERT INTO checkpoint VALUES (0);",
    )?;
    Ok([project_and_skip(&scene.log, &rows, false)?, project_and_skip(&scene.log, &rows, true)?])
}

fn project_and_skip(log: &EventLog, rows: &Path, is_mended: bool) -> Result<Shown> {
    let db = Connection::open(rows)?;
    let checkpoint = db.query_row("SELECT position FROM checkpoint", [], |row| row.get(0))?;
    for event in log.events_after(checkpoint) {
        let event = event?;
        // An error is logged, and the next event comes.
        if let Ok(cents) = change(&event.as_recorded(), is_mended) {
            db.execute("UPDATE balances SET cents = cents + ?1", [cents])?;
        }
        db.execute("UPDATE checkpoint SET position = ?1", [event.as_recorded().position])?;
    }
    Ok(Shown { cents: total(rows)?, error: None })
}

/// The amount in each purse, by a build that is mended or not.
struct Build<const IS_MENDED: bool>(Balances);

impl<const IS_MENDED: bool> Projection for Build<IS_MENDED> {
    const NAME: &'static str = Balances::NAME;
    const VERSION: u32 = Balances::VERSION;
    const TABLES: &'static [&'static str] = Balances::TABLES;

    fn new(names: &Names) -> Self {
        Self(Balances::new(names))
    }

    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
        Balances::create(db, names)
    }

    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        change(event, IS_MENDED)?;
        self.0.apply(db, event)
    }
}

/// As [`mistake`].
pub(crate) fn right_way() -> Result<[Shown; 2]> {
    let scene = history()?;
    let rows = scene.directory.join("rows.sqlite3");
    Ok([project::<false>(&scene, &rows)?, project::<true>(&scene, &rows)?])
}

fn project<const IS_MENDED: bool>(scene: &Scene, rows: &Path) -> Result<Shown> {
    let mut projector = Projector::open(rows, &[Definition::of::<Build<IS_MENDED>>()])?;
    projector.catch_up(&mut scene.log.clone(), 3)?;
    let error = projector.status().remove(0).error;
    Ok(Shown { cents: total(rows)?, error })
}
