//! The files of a log beside the database: how large the write-ahead log gets, and what is left when a program
//! drops everything.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tally::es::{Context, Database, Error, EventLog, Executor, SqliteDatabase};
use uuid::Uuid;

use crate::counter::{Count, Counter};
use crate::support::{Directory, wait_until};

const LOG: &str = "log.sqlite3";
const LOCK: &str = "log.sqlite3-lock";

fn open(directory: &Directory) -> SqliteDatabase {
    SqliteDatabase::open(directory.join(LOG)).unwrap()
}

fn files(directory: &Directory) -> Vec<String> {
    let names = std::fs::read_dir(directory.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Descriptors of this process on files in the directory. Each thread of a log holds one at least.
fn open_files(directory: &Directory) -> Vec<String> {
    let directory = std::fs::canonicalize(directory.path()).unwrap();
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let open = links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok());
    open.filter(|path| path.starts_with(&directory)).map(|path| path.display().to_string()).collect()
}

/// Eight threads, each with streams of its own.
fn record(executor: &Executor, commands: usize) {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..commands / 8 {
                    let count = Count::Up(1);
                    executor.execute::<Counter>(Uuid::now_v7(), count, Context::default()).unwrap();
                }
            });
        }
    });
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

#[test]
fn after_everything_is_dropped_the_database_is_the_only_file_and_no_thread_has_it_open() {
    let directory = Directory::fresh();
    let log = EventLog::open(open(&directory)).unwrap();
    let of_the_writer = Arc::new(());
    let kept = Arc::clone(&of_the_writer);
    let executor = Executor::start(Arc::clone(&log), move |_| drop(Arc::clone(&kept))).unwrap();
    record(&executor, 8);
    // While a reader stays in its transaction, the write-ahead log grows.
    log.read(|reader| {
        reader.read(0, 1, &mut |_| {
            record(&executor, 16_000);
            Ok(ControlFlow::Break(()))
        })
    })
    .unwrap();
    assert!(length(&directory.join("log.sqlite3-wal")) > 32 << 20, "a long write-ahead log");
    assert!(!open_files(&directory).is_empty());
    drop(executor);
    assert_eq!(Arc::strong_count(&of_the_writer), 1, "the writer's thread has ended");
    drop(log);
    assert_eq!(files(&directory), [LOG]);
    assert!(open_files(&directory).is_empty(), "{:?}", open_files(&directory));
    let log = EventLog::open(open(&directory)).unwrap();
    assert_eq!(log.head().value(), 16_008);
}

#[test]
fn a_log_can_be_read_after_its_writer_was_dropped() {
    let directory = Directory::fresh();
    let log = EventLog::open(open(&directory)).unwrap();
    let executor = Executor::start(Arc::clone(&log), |_| ()).unwrap();
    record(&executor, 8);
    drop(executor);
    assert_eq!(log.page(0, 10, Duration::ZERO).unwrap().content().unwrap().events.len(), 8);
    let executor = Executor::start(Arc::clone(&log), |_| ()).unwrap();
    record(&executor, 8);
    assert_eq!((log.head().value(), log.check()), (16, Ok(())));
}

#[test]
fn the_write_ahead_log_stays_below_the_limit_under_load() {
    const LIMIT: u64 = 1 << 20;
    let directory = Directory::fresh();
    let log = EventLog::open(open(&directory).with_wal_limit(LIMIT).unwrap()).unwrap();
    let wal = directory.join("log.sqlite3-wal");
    let longest = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let executor = Executor::start(Arc::clone(&log), {
        let (wal, longest) = (wal.clone(), Arc::clone(&longest));
        move |_| {
            longest.fetch_max(length(&wal), Ordering::Relaxed);
        }
    })
    .unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    log.page(0, 100, Duration::ZERO).unwrap();
                }
            });
        }
        record(&executor, 8_000);
        done.store(true, Ordering::Relaxed);
    });
    let longest = longest.load(Ordering::Relaxed);
    assert!((LIMIT / 4..=LIMIT).contains(&longest), "{longest} bytes");
    drop((executor, log));
    assert!(length(&directory.join(LOG)) > LIMIT, "more was written than the limit");
}

#[test]
fn a_reader_of_another_program_that_stays_does_not_hold_up_commits() {
    const LIMIT: u64 = 1 << 20;
    let directory = Directory::fresh();
    let log = EventLog::open(open(&directory).with_wal_limit(LIMIT).unwrap()).unwrap();
    let executor = Executor::start(Arc::clone(&log), |_| ()).unwrap();
    let stranger = rusqlite::Connection::open(directory.join(LOG)).unwrap();
    stranger.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    let begun = Instant::now();
    record(&executor, 4_000);
    // 500 commits; a wait of a tenth of a second for each would take a minute.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(length(&directory.join("log.sqlite3-wal")) > LIMIT, "the log grows while the reader stays");
    drop(stranger);
    wait_until("the log is below its limit again", || {
        record(&executor, 8);
        length(&directory.join("log.sqlite3-wal")) < LIMIT
    });
}

#[test]
fn a_kept_lock_file_makes_a_vanished_database_a_loss() {
    let directory = Directory::fresh();
    drop(open(&directory).keep_lock_file().writer(Arc::default()).unwrap());
    assert_eq!(files(&directory), [LOG, LOCK]);
    std::fs::remove_file(directory.join(LOG)).unwrap();
    let Err(Error::Unusable(what)) = SqliteDatabase::open(directory.join(LOG)) else {
        panic!("another log was begun")
    };
    assert!(what.contains("to begin another log, delete") && what.contains(LOCK), "{what}");
}

#[test]
fn the_lock_file_is_not_removed_when_the_database_is_gone() {
    let directory = Directory::fresh();
    let writer = open(&directory).writer(Arc::default()).unwrap();
    std::fs::remove_file(directory.join(LOG)).unwrap();
    drop(writer);
    assert!(files(&directory).contains(&LOCK.to_owned()));
    assert!(SqliteDatabase::open(directory.join(LOG)).is_err());
}
