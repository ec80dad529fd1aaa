//! A replay in the order of the clock: the clock was set back, and an old decision wins.
//!
//! A card's limit is 500, and is lowered to 100 when the card is stolen. Between the two, the clock of the
//! machine is corrected by a minute. Sorted by time, the old limit is the last word.
//!
//! Seen in ddes (Skalar/ddes 67: a commit was stamped 3 ms before its predecessor, and no command on its
//! stream went through any more) and in prooph (prooph/event-store-doctrine-adapter, pull request 19 orders
//! the replay by `created_at`).
//!
//! Here: positions and versions order events. Times never fall along the log either: after a clock was set
//! back, an event gets the time of its predecessor (`src/es/command/batch_writer.rs`).

use serde::{Deserialize, Serialize};
use tally::es::rusqlite::Connection;
use tally::es::{Aggregate, Context, Hash, RecordedEvent, chain, decode};
use uuid::Uuid;

use super::{Pitfall, Result, Scene, Story};

pub(crate) const PITFALL: Pitfall = Pitfall {
    name: "replay-by-time",
    summary: "events are replayed in the order of a clock, which was set back",
    tell: || {
        let (wrong, right) = (mistake()?, right_way()?);
        Ok(Story {
            mistake: format!("the limit of a stolen card was lowered to 100; the replay says {wrong}"),
            right_way: format!("the limit of a stolen card was lowered to 100; the replay says {right}"),
        })
    },
};

/// Returns the limit of the card after a replay, in euros.
pub(crate) fn mistake() -> Result<u64> {
    let db = Connection::open_in_memory()?;
    db.execute_batch(
        "CREATE TABLE events (position INTEGER PRIMARY KEY, euros INTEGER, recorded_at TEXT) STRICT;
         INSERT INTO events VALUES (1, 500, '2026-01-31T12:00:45Z'), (2, 100, '2026-01-31T12:00:10Z');",
    )?;
    let mut replay = db.prepare("SELECT euros FROM events ORDER BY recorded_at")?;
    let limits = replay.query_map([], |row| row.get(0))?;
    limits.last().ok_or("there are events")?.map_err(Into::into)
}

tally::es::events! {
    enum CardEvent {
        LimitSet(LimitSet) = "CardLimitSet",
    }
}

#[derive(Serialize, Deserialize)]
struct LimitSet {
    euros: u64,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Card {
    limit: u64,
}

impl Aggregate for Card {
    const STREAM_TYPE: &'static str = "card";
    type Command = u64;
    type Event = CardEvent;
    type Rejection = ();

    fn decide(&self, euros: &u64) -> Result<Vec<CardEvent>, ()> {
        Ok(vec![CardEvent::LimitSet(LimitSet { euros: *euros })])
    }

    fn evolve(self, CardEvent::LimitSet(set): &CardEvent) -> Self {
        Self { limit: set.euros }
    }
}

/// A time that the clock of this machine has not reached.
const FAR_AHEAD: &str = "2999-01-31T12:00:45.000000Z";

/// As [`mistake`]: the first event was recorded while the clock was ahead.
pub(crate) fn right_way() -> Result<u64> {
    let Scene { executor, log, directory } = Scene::open()?;
    drop((executor, log));
    let card = Uuid::now_v7();
    record_far_ahead(&Connection::open(directory.join("log.sqlite3"))?, card)?;

    let scene = Scene::open_in(directory)?;
    scene.executor.execute::<Card>(card, 100, Context::default())?;
    let mut state = Card::default();
    for event in scene.log.stream(card) {
        let event = event?;
        if event.as_recorded().recorded_at < FAR_AHEAD {
            return Err("the time of an event fell".into());
        }
        state = state.evolve(&decode(&event.as_recorded())?);
    }
    Ok(state.limit)
}

fn record_far_ahead(log: &Connection, card: Uuid) -> Result<()> {
    let mut event = RecordedEvent {
        position: 1,
        event_id: Uuid::now_v7(),
        stream_id: card,
        stream_type: Card::STREAM_TYPE,
        version: 1,
        event_type: CardEvent::EVENT_TYPES[0],
        schema_version: 1,
        data: r#"{"euros":500}"#,
        metadata: "{}",
        recorded_at: FAR_AHEAD,
        hash: Hash::ZERO,
    };
    event.hash = chain(&Hash::ZERO, &event);
    let (event_id, stream_id) = (event.event_id.to_string(), event.stream_id.to_string());
    log.execute(
        "INSERT INTO events VALUES (1, ?1, ?2, ?3, 1, ?4, 1, ?5, ?6, ?7, ?8)",
        (
            event_id,
            stream_id,
            event.stream_type,
            event.event_type,
            event.data,
            event.metadata,
            event.recorded_at,
            event.hash.0,
        ),
    )?;
    Ok(())
}
