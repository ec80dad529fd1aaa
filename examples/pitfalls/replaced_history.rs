//! A log that is append-only in name: triggers refuse `UPDATE` and `DELETE`, and `INSERT OR REPLACE` rewrites
//! history.
//!
//! `REPLACE` removes the row in the way of the new one. SQLite runs no update trigger for this, because
//! nothing is updated, and delete triggers only under `PRAGMA recursive_triggers = ON`, which each connection
//! must set for itself and which is off by default.
//!
//! Seen in sqlite-chronicle (simonw/sqlite-chronicle 7), sqlite-sync (sqliteai/sqlite-sync, pull request 68)
//! and mareforma (issue 31), whose triggers missed what `REPLACE` removed.
//!
//! Here: `schema.sql` has a trigger before `INSERT` that admits the next position alone, whatever the
//! connection has set. An edit of the file's bytes, which no trigger sees, breaks the hash chain
//! (`src/es/hash_chain.rs`).

use tally::es::Context;
use tally::es::rusqlite::Connection;
use uuid::Uuid;

use super::purse::{Purse, PurseCommand, cents};
use super::{Pitfall, Result, Scene, Story};

pub(crate) const PITFALL: Pitfall = Pitfall {
    name: "replaced-history",
    summary: "triggers refuse UPDATE and DELETE, and INSERT OR REPLACE rewrites an event",
    tell: || {
        let (wrong, right) = (mistake()?, right_way()?);
        let tell = |outcome: Outcome| {
            let [update, delete, replace] = outcome.answers;
            format!(
                "UPDATE: {update}; DELETE: {delete}; REPLACE: {replace}. Of 100 cents the log now says {}",
                outcome.cents
            )
        };
        Ok(Story { mistake: tell(wrong), right_way: tell(right) })
    },
};

/// The answers to UPDATE, DELETE and INSERT OR REPLACE, and the amount in the log afterwards.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) answers: [String; 3],
    pub(crate) cents: u64,
}

/// Sends each statement, as another client with the database's password or a shell would.
fn attack(client: &Connection, statements: [&str; 3]) -> [String; 3] {
    statements.map(|sql| match client.execute(sql, []) {
        Ok(_) => "done".to_owned(),
        Err(error) => error.to_string(),
    })
}

pub(crate) fn mistake() -> Result<Outcome> {
    let db = Connection::open_in_memory()?;
    db.execute_batch(
        "CREATE TABLE events (position INTEGER PRIMARY KEY, cents INTEGER NOT NULL) STRICT;
         CREATE TRIGGER no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
         CREATE TRIGGER no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
         INSERT INTO events VALUES (1, 100);",
    )?;
    let answers = attack(
        &db,
        [
            "UPDATE events SET cents = 1000000",
            "DELETE FROM events",
            "INSERT OR REPLACE INTO events VALUES (1, 1000000)",
        ],
    );
    Ok(Outcome { answers, cents: db.query_row("SELECT sum(cents) FROM events", [], |row| row.get(0))? })
}

pub(crate) fn right_way() -> Result<Outcome> {
    let scene = Scene::open()?;
    let purse = Uuid::now_v7();
    scene.executor.execute::<Purse>(purse, PurseCommand::Fill(100), Context::default())?;
    let client = Connection::open(scene.directory.join("log.sqlite3"))?;
    let answers = attack(
        &client,
        [
            r#"UPDATE events SET data = '{"cents":1000000}'"#,
            "DELETE FROM events",
            r#"INSERT OR REPLACE INTO events
               SELECT position, event_id, stream_id, stream_type, version, type, schema_version,
                      '{"cents":1000000}', metadata, recorded_at, hash FROM events"#,
        ],
    );
    Ok(Outcome { answers, cents: cents(&scene.log, purse)? })
}
