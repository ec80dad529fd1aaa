//! The projector's promises, each with the fault against the promise.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::checked_page::PageRequest;
use super::definition::LIVE_LAG_EVENTS as NEAR;
use super::status::{Changed, RebuildOutcome};
use crate::es::fixtures::{Log, LogFeed, TempPath};
use crate::es::*;

mod faults;
mod files;
mod pausing;
mod running;
mod upstream;

/// Sums the numbers of each stream. `null` is poison; rows wait in memory until the flush.
struct Sums {
    insert: String,
    pending: Vec<(u128, i64)>,
}

impl Projection for Sums {
    const NAME: &'static str = "sums";
    const VERSION: u32 = 1;
    const TABLES: &'static [&'static str] = &["sums"];

    fn new(names: &Names) -> Self {
        let table = names.table("sums");
        let insert = format!(
            "INSERT INTO {table} (stream, sum) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET sum = sum + ?2"
        );
        Self { insert, pending: Vec::new() }
    }

    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
        let (table, index) = (names.table("sums"), names.index("by_sum"));
        db.execute_batch(&format!(
            "CREATE TABLE {table} (stream INTEGER PRIMARY KEY, sum INTEGER NOT NULL) STRICT;
             CREATE INDEX {index} ON {table} (sum);"
        ))
    }

    fn apply(&mut self, _db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        let number = event.data.parse().map_err(|_| ProjectionError::Impossible("no number".into()))?;
        self.pending.push((event.stream_id.as_u128(), number));
        Ok(())
    }

    fn flush(&mut self, db: &Connection) -> Result<(), ProjectionError> {
        for (stream, number) in self.pending.drain(..) {
            db.execute(&self.insert, params![stream as u64, number])?;
        }
        Ok(())
    }
}

/// Sums of another program: of another version, or able to read `null`.
macro_rules! another_build_of_sums {
    ($name:ident, $version:literal, $read:expr) => {
        struct $name(Sums);

        impl Projection for $name {
            const NAME: &'static str = Sums::NAME;
            const VERSION: u32 = $version;
            const TABLES: &'static [&'static str] = Sums::TABLES;

            fn new(names: &Names) -> Self {
                Self(Sums::new(names))
            }

            fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
                Sums::create(db, names)
            }

            fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
                Projection::apply(&mut self.0, db, &RecordedEvent { data: $read(event.data), ..*event })
            }

            fn flush(&mut self, db: &Connection) -> Result<(), ProjectionError> {
                Projection::flush(&mut self.0, db)
            }
        }
    };
}
another_build_of_sums!(SumsV2, 2, |data| data);
another_build_of_sums!(Tolerant, 1, |data| if data == "null" { "0" } else { data });

/// Counts events, and takes anything.
struct Count(String);

impl Projection for Count {
    const NAME: &'static str = "count";
    const VERSION: u32 = 1;
    const TABLES: &'static [&'static str] = &["count"];

    fn new(names: &Names) -> Self {
        Self(format!("UPDATE {} SET events = events + 1", names.table("count")))
    }

    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
        let table = names.table("count");
        db.execute_batch(&format!("CREATE TABLE {table} (events INTEGER); INSERT INTO {table} VALUES (0);"))
    }

    fn apply(&mut self, db: &Connection, _event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        db.execute(&self.0, [])?;
        Ok(())
    }
}

pub(in crate::es) fn definitions() -> [Definition; 2] {
    [Definition::of::<Sums>(), Definition::of::<Count>()]
}

pub(in crate::es) fn log_of(numbers: &[&str]) -> Log {
    let mut log = Log::new(1);
    for number in numbers {
        log.append(7, "Added", number);
    }
    log
}

fn open(path: &TempPath) -> Projector {
    Projector::open(path, &definitions()).unwrap()
}

fn caught_up(path: &TempPath, feed: &mut LogFeed) -> Projector {
    let mut projector = open(path);
    projector.catch_up(feed, u64::MAX).unwrap();
    projector
}

fn number(path: &TempPath, sql: &str) -> i64 {
    Connection::open(&**path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

fn sum(path: &TempPath) -> i64 {
    number(path, "SELECT coalesce(sum(sum), 0) FROM sums")
}

fn count(path: &TempPath) -> i64 {
    number(path, "SELECT events FROM count")
}

fn refusal(projector: &mut Projector, feed: &mut LogFeed) -> String {
    projector.catch_up(feed, u64::MAX).unwrap_err().to_string()
}

#[test]
fn rows_and_checkpoint_move_together() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2", "3"])));
    let projector = caught_up(&path, &mut feed);
    assert_eq!((sum(&path), count(&path)), (6, 3));
    assert_eq!(number(&path, "SELECT sum(position) FROM checkpoints"), 6);
    assert!(projector.status().iter().all(|status| status.state == ProjectionState::Live));
}

#[test]
fn a_restart_goes_on_at_the_checkpoint() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    caught_up(&path, &mut feed);
    feed.append(7, "Added", "4");
    feed.asked.lock().unwrap().clear();
    caught_up(&path, &mut feed);
    assert_eq!((sum(&path), count(&path)), (7, 3));
    assert_eq!(
        feed.asked.lock().unwrap()[..2],
        [1, 3],
        "nothing is read twice but the last event, for its hash"
    );
}

/// The trigger stands for any failure between the rows and the checkpoint.
#[test]
fn a_transaction_that_fails_at_the_checkpoint_leaves_no_rows() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let mut projector = open(&path);
    let sabotage = Connection::open(&*path).unwrap();
    let trigger = "CREATE TRIGGER crash BEFORE UPDATE ON checkpoints BEGIN SELECT RAISE(ABORT, 'crash'); END";
    sabotage.execute_batch(trigger).unwrap();
    assert!(refusal(&mut projector, &mut feed).contains("crash"));
    assert_eq!((sum(&path), count(&path)), (0, 0));
    sabotage.execute_batch("DROP TRIGGER crash").unwrap();
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    assert_eq!((sum(&path), count(&path)), (3, 2), "and nothing of what was in memory is applied twice");
}

#[test]
fn a_gap_in_the_feed_stops_the_projector() {
    for missing in [0, 1, 2] {
        let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2", "3", "4"])));
        let removed = feed.log.lock().unwrap().events.remove(missing);
        let error = refusal(&mut open(&path), &mut feed);
        assert!(error.contains(&format!("event {} should come next", missing + 1)), "{error}");
        assert_eq!(count(&path), 0);
        feed.log.lock().unwrap().events.insert(missing, removed);
        caught_up(&path, &mut feed);
        assert_eq!(count(&path), 4, "a sound feed is taken again");
    }
}

/// Another history of the log of [`log_of`].
fn restored(feed: &LogFeed, numbers: &[&str]) {
    *feed.log.lock().unwrap() = log_of(numbers);
}

#[test]
fn an_event_that_was_altered_is_found_and_located() {
    for altered in [2, 3, 4] {
        let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
        caught_up(&path, &mut feed);
        if altered == 2 {
            // Applied events are known by their hash alone.
            restored(&feed, &["1", "20", "3"]);
        } else {
            restored(&feed, &["1", "2", "3", "4"]);
            feed.log.lock().unwrap().events[altered - 1].data = "40".into();
        }
        let error = refusal(&mut open(&path), &mut feed);
        assert!(error.contains(&format!("event {altered} ")), "{error}");
        assert_eq!(sum(&path), 3);
    }
}

#[test]
fn a_log_that_came_to_the_same_position_by_other_events_is_refused_before_the_next_one() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    caught_up(&path, &mut feed);
    restored(&feed, &["1", "20"]);
    for _ in 0..2 {
        let mut restarted = open(&path);
        for _ in 0..2 {
            let error = refusal(&mut restarted, &mut feed);
            assert!(error.contains("event 2 of the feed is not the one that was read"), "{error}");
        }
    }
    restored(&feed, &["1", "2"]);
    open(&path).catch_up(&mut feed, u64::MAX).unwrap();
}

#[test]
fn another_log_is_never_mixed_in() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1"])));
    caught_up(&path, &mut feed);
    let mut other = LogFeed::new(Log::new(2));
    other.append(7, "Added", "1");
    other.append(7, "Added", "1");
    // Also a log with the same first event.
    assert!(refusal(&mut open(&path), &mut other).contains("but these read models follow log"));
    assert_eq!(count(&path), 1);
}

#[test]
fn a_log_that_has_lost_events_is_refused() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    caught_up(&path, &mut feed);
    let error = refusal(&mut open(&path), &mut LogFeed::new(log_of(&["1"])));
    assert!(error.contains("it has lost events"), "{error}");
}

#[test]
fn a_poison_event_stops_its_projection_before_it_and_no_other() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2", "null", "4"])));
    let projector = caught_up(&path, &mut feed);
    assert_eq!((sum(&path), count(&path)), (3, 4));
    let [sums, counts] = &projector.status()[..] else { panic!("two projections") };
    assert_eq!((sums.state, sums.position), (ProjectionState::Stalled, 2));
    assert!(sums.error.as_ref().unwrap().starts_with("event 3 cannot be applied"), "{sums:?}");
    assert_eq!((counts.state, counts.position), (ProjectionState::Live, 4));
}

#[test]
fn poison_in_the_middle_of_a_transaction_of_several_pages_stops_its_projection_right_before_it() {
    let page = MAX_PAGE as usize;
    let mut numbers = vec!["1"; 2 * page + NEAR as usize];
    numbers[page + 5] = "null";
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&numbers)));
    let mut projector = Projector::open(&path, &definitions()[..1]).unwrap();
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    let asked = feed.asked.lock().unwrap().clone();
    assert_eq!(asked[..3], [0, page as u64, 0], "both pages were in one transaction");
    assert_eq!(sum(&path), page as i64 + 5);
    let error = projector.status()[0].error.clone().unwrap();
    assert!(error.starts_with(&format!("event {} cannot be applied", page + 6)), "{error}");
}

#[test]
fn a_build_that_can_apply_the_poison_carries_on_from_there() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "null"])));
    caught_up(&path, &mut feed);
    feed.append(7, "Added", "3");
    let mut projector = Projector::open(&path, &[Definition::of::<Tolerant>(), definitions()[1]]).unwrap();
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    assert_eq!((sum(&path), count(&path)), (4, 3));
    assert!(projector.status().iter().all(|status| status.state == ProjectionState::Live));
}

#[test]
fn a_rebuild_is_swapped_in_whole_and_makes_good_what_was_wrong() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let mut projector = caught_up(&path, &mut feed);
    Connection::open(&*path).unwrap().execute_batch("UPDATE sums SET sum = 1000").unwrap();
    for _ in 0..2 {
        projector.board.claim_rebuild("sums").unwrap();
        projector.begin_rebuild(0).unwrap();
        assert_eq!(projector.status()[0].state, ProjectionState::Rebuilding);
        projector.catch_up(&mut feed, u64::MAX).unwrap();
        assert_eq!((sum(&path), projector.status()[0].state), (3, ProjectionState::Live));
    }
    feed.append(7, "Added", "5");
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    assert_eq!((sum(&path), count(&path)), (8, 3), "the swapped rows are followed");
    assert_eq!(number(&path, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%next%'"), 0);
}

#[test]
fn a_rebuild_that_is_cut_off_leaves_the_live_rows_and_goes_on_at_the_next_start() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2", "3"])));
    let mut projector = caught_up(&path, &mut feed);
    projector.board.claim_rebuild("sums").unwrap();
    projector.begin_rebuild(0).unwrap();
    let request = projector.wanted_behind().unwrap();
    let page = PageRequest { limit: 2, ..request }.fetch(&mut feed).unwrap();
    projector.process(Some((&request, &page))).unwrap();
    drop(projector);
    assert_eq!(sum(&path), 6, "the live rows");
    assert_eq!(number(&path, "SELECT sum(sum) FROM sums_next"), 3, "the rebuild, half done");
    let mut projector = open(&path);
    assert_eq!(projector.status()[0].rebuild.unwrap().position, 2);
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    assert_eq!((sum(&path), projector.status()[0].state), (6, ProjectionState::Live));
}

#[test]
fn a_rebuild_that_meets_poison_is_given_up_and_says_so() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1"])));
    let mut projector = caught_up(&path, &mut feed);
    feed.append(7, "Added", "null");
    projector.board.claim_rebuild("sums").unwrap();
    projector.begin_rebuild(0).unwrap();
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    let status = &projector.status()[0];
    assert_eq!((status.state, status.rebuild), (ProjectionState::Stalled, None));
    assert_eq!(sum(&path), 1);
}

#[test]
fn rows_of_another_version_stay_until_the_new_ones_replace_them_and_the_others_are_kept() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    caught_up(&path, &mut feed);
    let definitions = [Definition::of::<SumsV2>(), Definition::of::<Count>()];
    let mut projector = Projector::open(&path, &definitions).unwrap();
    let [sums, counts] = &projector.status()[..] else { panic!("two projections") };
    assert_eq!((sums.state, sums.position, sums.filling), (ProjectionState::Rebuilding, 2, true));
    assert_eq!((counts.position, counts.filling), (2, false));
    assert_eq!(sum(&path), 3, "the old rows");
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    assert_eq!((sum(&path), count(&path)), (3, 2));
    let sums = &projector.status()[0];
    assert_eq!((sums.state, sums.filling), (ProjectionState::Live, false));
}

#[test]
fn following_goes_on_while_a_rebuild_has_far_to_go() {
    let far = u64::from(MAX_PAGE) + 1;
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&vec!["1"; far as usize])));
    let mut projector = caught_up(&path, &mut feed);
    projector.board.claim_rebuild("sums").unwrap();
    projector.begin_rebuild(0).unwrap();
    let asked = [projector.wanted_at_front(Duration::ZERO), projector.wanted_behind()];
    assert_eq!(asked.map(|request| request.unwrap().after), [far, 0], "both at once");
    let request = projector.wanted_behind().unwrap();
    projector.process(Some((&request, &request.fetch(&mut feed).unwrap()))).unwrap();
    assert_eq!(projector.wanted_at_front(Duration::ZERO), None, "within a page, the front lets it come");
    assert_eq!(projector.wanted_behind().unwrap().after, far - 1);
}

#[test]
fn the_commit_hook_hears_also_of_the_new_tables_of_a_rebuild() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let phases = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&phases);
    let mut projector =
        caught_up(&path, &mut feed).with_commit_hook(move |phase| seen.lock().unwrap().push(phase));
    projector.board.claim_rebuild("sums").unwrap();
    projector.begin_rebuild(0).unwrap();
    assert_eq!(*phases.lock().unwrap(), [CommitPhase::Begins, CommitPhase::Ended]);
}
