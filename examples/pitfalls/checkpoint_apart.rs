//! A checkpoint in its own transaction: a crash between the two commits, and an event counts twice or not at
//! all.
//!
//! Rows first, checkpoint second: after the crash the event is applied again. Checkpoint first: the event is
//! lost. No order is right, because the process can die between any two commits.
//!
//! Seen in the sample code of *Hands-On Domain-Driven Design with .NET Core* (the book's repository, issue 17)
//! and in prooph (prooph/proophessor-do-symfony 17: a killed projection applied its last events again).
//!
//! Here: the projector opens the transaction, and writes rows and checkpoint in it
//! (`src/es/projection/projector.rs`, `commit_rows`). A projection cannot commit by itself.

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use tally::es::rusqlite::{Connection, OptionalExtension};
use tally::es::{CommitPhase, Context, Definition, Projector};
use uuid::Uuid;

use super::purse::{Balances, Purse, PurseCommand, total};
use super::{Directory, Failure, Pitfall, Result, Scene, Story};

pub(crate) const PITFALL: Pitfall = Pitfall {
    name: "checkpoint-apart",
    summary: "rows and checkpoint are committed one after the other, and the process dies between",
    tell: || {
        let ([rows_first, checkpoint_first], [before, after]) = (mistake()?, right_way()?);
        Ok(Story {
            mistake: format!(
                "100 cents became {rows_first} (rows first) or {checkpoint_first} (checkpoint first)"
            ),
            right_way: format!(
                "killed before the commit, then restarted: {before:?}; killed after the commit: {after:?}"
            ),
        })
    },
};

#[derive(Clone, Copy)]
enum Step {
    Rows,
    Checkpoint,
}

/// Returns what is shown of 100 cents after a crash and a restart: with the rows committed first, and with the
/// checkpoint committed first.
pub(crate) fn mistake() -> Result<[u64; 2]> {
    let shown = |order: [Step; 2]| {
        let directory = Directory::fresh();
        let rows = directory.join("rows.sqlite3");
        Connection::open(&rows)?.execute_batch(
            "CREATE TABLE balances (purse INTEGER PRIMARY KEY, cents INTEGER) STRICT;
             CREATE TABLE checkpoint (position INTEGER) STRICT;
             INSERT INTO balances VALUES (1, 0); INSERT INTO checkpoint VALUES (0);",
        )?;
        // The first process dies after one of the two steps.
        project(&rows, &order[..1])?;
        project(&rows, &order)?;
        Ok::<_, Failure>(total(&rows)?)
    };
    Ok([shown([Step::Rows, Step::Checkpoint])?, shown([Step::Checkpoint, Step::Rows])?])
}

/// Applies the only event of the log, if the checkpoint is before it. Each step is a transaction.
fn project(rows: &Path, steps: &[Step]) -> Result<()> {
    let db = Connection::open(rows)?;
    let is_due = db.query_row("SELECT 1 FROM checkpoint WHERE position < 1", [], |_| Ok(())).optional()?;
    for step in steps.iter().filter(|_| is_due.is_some()) {
        db.execute_batch(match step {
            Step::Rows => "UPDATE balances SET cents = cents + 100",
            Step::Checkpoint => "UPDATE checkpoint SET position = 1",
        })?;
    }
    Ok(())
}

/// Returns what is shown of 100 cents after a crash, and after a restart: killed right before the commit, and
/// right after it.
pub(crate) fn right_way() -> Result<[[u64; 2]; 2]> {
    Ok([killed(CommitPhase::Begins)?, killed(CommitPhase::Ended)?])
}

fn killed(at: CommitPhase) -> Result<[u64; 2]> {
    let scene = Scene::open()?;
    scene.executor.execute::<Purse>(Uuid::now_v7(), PurseCommand::Fill(100), Context::default())?;
    let (rows, mut log) = (scene.directory.join("rows.sqlite3"), scene.log.clone());

    let mut first = Projector::open(&rows, &[Definition::of::<Balances>()])?.with_commit_hook(move |phase| {
        if phase == at {
            // Ends the thread on the spot, as a kill ends a process.
            resume_unwind(Box::new("killed"));
        }
    });
    let died = thread::spawn(move || first.catch_up(&mut log, 1));
    died.join().expect_err("the first projector is killed");
    let after_the_crash = total(&rows)?;

    Projector::open(&rows, &[Definition::of::<Balances>()])?.catch_up(&mut scene.log.clone(), 1)?;
    Ok([after_the_crash, total(&rows)?])
}
