//! Money as floating-point numbers: ten times 0.10 is not 1.00.
//!
//! 0.1 has no exact form in binary, and each addition rounds. The fold of the history says
//! 0.9999999999999999, so a payment of 1.00 is refused. SQLite adds with an error correction and says 1.0:
//! the two sides show the same balance, and disagree about it.
//!
//! Seen in the demo of the Rust crate cqrs-es (serverlesstechnology/cqrs, `demo/src/domain/events.rs`: `f64`
//! for amounts and balances); in Hyperion (aeecleclair/Hyperion 295) and in the game Eco
//! (StrangeLoopGames/EcoIssues 19545: who owns 1 credit is told that they need 1 credit).
//!
//! Here: whole cents, `u64`. JSON with `12.1` is refused, because the field is not a float
//! (`src/account/aggregate.rs`; in this example `purse.rs`).

use tally::es::rusqlite::Connection;
use tally::es::{Context, ExecuteError, serde_json};
use uuid::Uuid;

use super::purse::{Moved, Purse, PurseCommand, TooLittle, cents};
use super::{Pitfall, Result, Scene, Story};

pub(crate) const PITFALL: Pitfall = Pitfall {
    name: "float-money",
    summary: "money is a floating-point number, and a payment of all there is gets refused",
    tell: || {
        let (wrong, right) = (mistake()?, right_way()?);
        Ok(Story {
            mistake: format!(
                "ten times 0.10 is {} in the fold and {:?} in SQL; paying 1.00: {}",
                wrong.folded,
                wrong.summed,
                answer(wrong.pays)
            ),
            right_way: format!(
                "ten times 10 cents is {} in the fold and {} in SQL; paying 100: {}",
                right.folded,
                right.summed,
                answer(right.pays)
            ),
        })
    },
};

fn answer(pays: bool) -> &'static str {
    if pays { "accepted" } else { "refused" }
}

/// A balance as the write side folds it and as SQL sums it, and whether it pays for the whole amount.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome<T> {
    pub(crate) folded: T,
    pub(crate) summed: T,
    pub(crate) pays: bool,
}

pub(crate) fn mistake() -> Result<Outcome<f64>> {
    let db = Connection::open_in_memory()?;
    db.execute_batch("CREATE TABLE events (amount REAL NOT NULL) STRICT")?;
    for _ in 0..10 {
        let amount: f64 = serde_json::from_str("0.10")?;
        db.execute("INSERT INTO events VALUES (?1)", [amount])?;
    }
    let history: Vec<f64> = db
        .prepare("SELECT amount FROM events")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let folded = history.iter().sum();
    let summed = db.query_row("SELECT sum(amount) FROM events", [], |row| row.get(0))?;
    Ok(Outcome { folded, summed, pays: folded >= 1.0 })
}

pub(crate) fn right_way() -> Result<Outcome<u64>> {
    let scene = Scene::open()?;
    let purse = Uuid::now_v7();
    let send = |command| scene.executor.execute::<Purse>(purse, command, Context::default());
    serde_json::from_str::<Moved>(r#"{"cents":12.1}"#).expect_err("a part of a cent is not an amount");
    for _ in 0..10 {
        send(PurseCommand::Fill(10))?;
    }
    let folded = cents(&scene.log, purse)?;
    let log = Connection::open(scene.directory.join("log.sqlite3"))?;
    let summed = log.query_row("SELECT sum(data ->> 'cents') FROM events", [], |row| row.get(0))?;
    let pays = match send(PurseCommand::Spend(100)) {
        Ok(_) => true,
        Err(ExecuteError::Rejected(TooLittle)) => false,
        Err(error) => return Err(error.into()),
    };
    Ok(Outcome { folded, summed, pays })
}
