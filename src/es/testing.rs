//! Tests of aggregates and projections in the words "given, when, then".
//!
//! No test here needs a database file, a clock or a thread. An aggregate is tested by its events alone:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # fn main() {
//! use tally::es::testing::Given;
//!
//! let opened = || DoorEvent::Opened(Opened { badge: "ada".into() });
//! Given::<Door>(vec![])
//!     .when(DoorCommand::Open { badge: "ada".into() })
//!     .then(vec![opened()]);
//! Given::<Door>(vec![opened()])
//!     .when(DoorCommand::Open { badge: "bob".into() })
//!     .then_rejected(Rejection::OpenAlready);
//! # }
//! ```
//!
//! A projection is tested by its rows:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/openings.rs"));
//! # fn main() {
//! use tally::es::testing::GivenEvents;
//!
//! let front = uuid::Uuid::from_u128(1);
//! let opened = || DoorEvent::Opened(Opened { badge: "ada".into() });
//! GivenEvents::new()
//!     .of::<Door>(front, vec![opened(), DoorEvent::Closed(Closed {}), opened()])
//!     .project::<Openings>()
//!     .then_rows("SELECT badge, times FROM openings", &[&["ada", "2"]]);
//! # }
//! ```
//!
//! **Invariant:** every event passes through the JSON that is stored, on its way in: a test fails
//! when an event cannot be read back from its own JSON.
//!
//! Read next: `src/account/tests.rs`, the tests of a whole aggregate.

use std::fmt::Debug;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use uuid::Uuid;

use crate::es::aggregate_rules::encode;
use crate::es::{Aggregate, Event, Hash, Names, Projection, RecordedEvent, chain, decode, schema_version};

/// The history of an aggregate, oldest event first. Continue with [`Given::when`].
#[derive(Debug)]
pub struct Given<A: Aggregate>(pub Vec<A::Event>);

impl<A: Aggregate> Given<A> {
    /// Replays the history and has the aggregate decide the command.
    ///
    /// # Panics
    /// When an event, given or decided, is not a JSON object, or a given event cannot be read back.
    #[track_caller]
    pub fn when(self, command: A::Command) -> When<A> {
        // Through JSON, as in a log: an event that cannot be read back fails the test.
        let events = GivenEvents::new().of::<A>(Uuid::nil(), self.0);
        let state = events.decoded::<A>().fold(A::default(), |state, event| state.evolve(&event));
        let decided = state.decide(&command);
        // The executor would refuse an event that is not a JSON object, so the test does too.
        for event in decided.iter().flatten() {
            or_panic(encode(event), "the decision");
        }
        When { decided }
    }
}

/// The decision of an aggregate. Continue with one of the `then` functions.
#[derive(Debug)]
#[must_use = "call one of the `then` functions to compare the decision"]
pub struct When<A: Aggregate> {
    decided: Result<Vec<A::Event>, A::Rejection>,
}

impl<A: Aggregate> When<A>
where
    A::Event: Debug + PartialEq,
    A::Rejection: Debug,
{
    /// Compares the decided events with `expected`.
    ///
    /// # Panics
    /// When they differ, or the command was rejected. The message shows both, line by line.
    #[track_caller]
    pub fn then(self, expected: Vec<A::Event>) {
        match self.decided {
            Ok(events) => assert_alike("events", &expected, &events),
            Err(rejection) => {
                panic!("expected events {expected:#?}, but the command was rejected: {rejection:?}")
            }
        }
    }

    /// Compares the rejection with `expected`.
    ///
    /// # Panics
    /// When they differ, or the command was not rejected.
    #[track_caller]
    pub fn then_rejected(self, expected: A::Rejection)
    where
        A::Rejection: PartialEq,
    {
        match self.decided {
            Err(rejection) => assert_eq!(rejection, expected, "the command was rejected for another reason"),
            Ok(events) => panic!("expected the rejection {expected:?}, but the command gave {events:#?}"),
        }
    }
}

/// Events of one log, in order, for a projection.
#[derive(Debug, Default)]
pub struct GivenEvents {
    events: Vec<Stored>,
}

/// A stored event.
#[derive(Debug)]
struct Stored {
    stream_id: Uuid,
    stream_type: &'static str,
    version: u64,
    event_type: &'static str,
    schema_version: u32,
    data: String,
}

impl GivenEvents {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends events to a stream.
    ///
    /// # Panics
    /// When an event is not a JSON object.
    #[must_use]
    #[track_caller]
    pub fn of<A: Aggregate>(mut self, stream_id: Uuid, events: Vec<A::Event>) -> Self {
        for event in events {
            // Counted over all calls: a test may give a stream in several pieces.
            let before = self.events.iter().filter(|stored| stored.stream_id == stream_id).count();
            let event_type = event.event_type();
            let data = or_panic(encode(&event), "the history");
            self.events.push(Stored {
                stream_id,
                stream_type: A::STREAM_TYPE,
                version: before as u64 + 1,
                event_type,
                schema_version: schema_version::<A::Event>(event_type),
                data,
            });
        }
        self
    }

    /// Applies all events to a projection, in tables in memory; first once under the names of a rebuild, which
    /// must give the same rows.
    ///
    /// # Panics
    /// When the projection cannot apply an event, creates other tables than [`Projection::TABLES`], or takes a
    /// name from elsewhere than [`Names`].
    #[track_caller]
    pub fn project<P: Projection>(&self) -> Rows {
        let (live, next) = (Names::new(Names::LIVE, 1), Names::new(Names::NEXT, 2));
        // Without live tables beside: a literal name finds no table, where a rebuild would change live rows.
        let rebuilt = self.filled::<P>(&next, " under the names of a rebuild: take each name from `Names`");
        let rows = self.filled::<P>(&live, "");
        for table in P::TABLES {
            let all = |names: &Names| format!("SELECT * FROM \"{}\"", names.table(table));
            let (live, rebuilt) = (rows.rows(&all(&live)), rebuilt.rows(&all(&next)));
            assert_alike("rows of a rebuild", &or_panic(live, table), &or_panic(rebuilt, table));
        }
        rows
    }

    #[track_caller]
    fn filled<P: Projection>(&self, names: &Names, under: &str) -> Rows {
        let db = or_panic(Connection::open_in_memory(), "a database in memory");
        or_panic(P::create(&db, names), "the tables of the projection");
        let rows = Rows { db };
        let created = rows.rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name");
        let mut declared: Vec<_> = P::TABLES.iter().map(|table| names.table(table)).collect();
        declared.sort_unstable();
        // SQLite adds tables of its own, for AUTOINCREMENT and statistics.
        let created = or_panic(created, "its tables").into_iter().filter(|name| !name.starts_with("sqlite_"));
        assert_alike("tables", &declared, &created.collect::<Vec<_>>());
        let mut projection = P::new(names);
        for event in self.recorded() {
            let applied = projection.apply(&rows.db, &event);
            applied
                .unwrap_or_else(|error| panic!("event {} cannot be applied{under}: {error}", event.position));
        }
        // As at the end of a transaction: until the flush, a projection may keep changed rows to itself.
        or_panic(projection.flush(&rows.db), "the rows of the projection");
        rows
    }

    fn recorded(&self) -> impl Iterator<Item = RecordedEvent<'_>> {
        let mut hash = Hash::ZERO;
        self.events.iter().zip(1..).map(move |(stored, position)| {
            let mut event = RecordedEvent {
                position,
                event_id: Uuid::from_u128(position.into()),
                stream_id: stored.stream_id,
                stream_type: stored.stream_type,
                version: stored.version,
                event_type: stored.event_type,
                schema_version: stored.schema_version,
                data: &stored.data,
                metadata: "{}",
                recorded_at: "2026-01-31T12:00:00.000000Z",
                // Replaced below: the hash covers all other fields.
                hash,
            };
            event.hash = chain(&hash, &event);
            hash = event.hash;
            event
        })
    }

    #[track_caller]
    fn decoded<A: Aggregate>(&self) -> impl Iterator<Item = A::Event> {
        self.recorded().map(|event| {
            let decoded = decode::<A::Event>(&event);
            decoded.unwrap_or_else(|error| {
                panic!("{} cannot be read as it is written: {error}", event.event_type)
            })
        })
    }
}

/// The tables that a projection has filled.
#[derive(Debug)]
pub struct Rows {
    db: Connection,
}

impl Rows {
    /// Returns the database, for queries of the test's own.
    pub fn db(&self) -> &Connection {
        &self.db
    }

    /// Compares the rows of a query with `expected`: each value as SQLite writes the value as text, `NULL` for
    /// null.
    ///
    /// # Panics
    /// When they differ, or the query fails.
    #[track_caller]
    pub fn then_rows(&self, sql: &str, expected: &[&[&str]]) {
        let expected: Vec<String> = expected.iter().map(|row| row.join(" | ")).collect();
        assert_alike("rows", &expected, &or_panic(self.rows(sql), sql));
    }

    fn rows(&self, sql: &str) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.db.prepare(sql)?;
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            let values = (0..columns).map(|column| row.get_ref(column).map(text));
            Ok(values.collect::<rusqlite::Result<Vec<_>>>()?.join(" | "))
        })?;
        rows.collect()
    }
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".into(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

#[track_caller]
fn or_panic<T, E: std::fmt::Display>(result: Result<T, E>, what: &str) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

#[track_caller]
fn assert_alike<T: Debug + PartialEq>(what: &str, expected: &[T], found: &[T]) {
    assert!(expected == found, "other {what} than expected (-) came (+):\n{}", difference(expected, found));
}

/// Returns the lines of both sides in order: common lines indented, `-` before expected, `+` before found.
fn difference<T: Debug>(expected: &[T], found: &[T]) -> String {
    let lines = |items: &[T]| -> Vec<String> {
        let text: String = items.iter().fold(String::new(), |text, item| text + &format!("{item:#?}\n"));
        text.lines().map(str::to_owned).collect()
    };
    let (expected, found) = (lines(expected), lines(found));
    let mut text = String::new();
    let (mut left, mut right) = (&expected[..], &found[..]);
    while let (Some(line), Some(other)) = (left.first(), right.first()) {
        // All lines before the nearest common line differ.
        let (skip_left, skip_right) = nearest_common(left, right);
        if (skip_left, skip_right) == (0, 0) {
            push(&mut text, ' ', line);
            debug_assert_eq!(line, other);
            (left, right) = (&left[1..], &right[1..]);
            continue;
        }
        left[..skip_left].iter().for_each(|line| push(&mut text, '-', line));
        right[..skip_right].iter().for_each(|line| push(&mut text, '+', line));
        (left, right) = (&left[skip_left..], &right[skip_right..]);
    }
    left.iter().for_each(|line| push(&mut text, '-', line));
    right.iter().for_each(|line| push(&mut text, '+', line));
    text
}

/// Returns how many lines to skip on each side to reach a common line; all lines without a common line.
fn nearest_common(left: &[String], right: &[String]) -> (usize, usize) {
    // Quadratic, which is enough for the lines of a failed test.
    let pairs = left
        .iter()
        .enumerate()
        .filter_map(|(at, line)| right.iter().position(|other| other == line).map(|other_at| (at, other_at)));
    pairs.min_by_key(|(at, other_at)| at + other_at).unwrap_or((left.len(), right.len()))
}

fn push(text: &mut String, mark: char, line: &str) {
    text.push(mark);
    text.push(' ');
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::es::ProjectionError;

    #[test]
    fn a_difference_shows_what_is_common_what_is_missing_and_what_is_new() {
        assert_eq!(
            difference(&["a", "b", "c"], &["a", "x", "c", "d"]),
            "  \"a\"\n- \"b\"\n+ \"x\"\n  \"c\"\n+ \"d\"\n"
        );
        assert_eq!(difference(&["a"], &[]), "- \"a\"\n");
    }

    /// Writes into its live table during a rebuild.
    struct Literal;

    impl Projection for Literal {
        const NAME: &'static str = "literal";
        const VERSION: u32 = 1;
        const TABLES: &'static [&'static str] = &["seen"];

        fn new(_: &Names) -> Self {
            Self
        }

        fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
            db.execute_batch(&format!("CREATE TABLE {} (position)", names.table("seen")))
        }

        fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
            db.execute("INSERT INTO seen VALUES (?1)", [event.position])?;
            Ok(())
        }
    }

    #[test]
    #[should_panic(
        expected = "event 1 cannot be applied under the names of a rebuild: take each name from `Names`: no such table: seen"
    )]
    fn a_projection_that_ignores_the_names_of_a_rebuild_fails_its_test() {
        let mut events = GivenEvents::new();
        events.events.push(Stored {
            stream_id: Uuid::nil(),
            stream_type: "test",
            version: 1,
            event_type: "Seen",
            schema_version: 1,
            data: "{}".into(),
        });
        drop(events.project::<Literal>());
    }

    #[test]
    #[should_panic(expected = "(+):\n  \"ada | 2\"\n- \"bob | 1\"\n+ \"bob | NULL\"\n")]
    fn rows_that_differ_stand_beside_the_expected_rows() {
        let rows = Rows { db: Connection::open_in_memory().unwrap() };
        rows.db()
            .execute_batch("CREATE TABLE t (a, b); INSERT INTO t VALUES ('ada', 2), ('bob', NULL)")
            .unwrap();
        rows.then_rows("SELECT a, b FROM t", &[&["ada", "2"], &["bob", "1"]]);
    }
}
