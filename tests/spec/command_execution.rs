//! Commands on aggregates: group commit, idempotency, isolation of failures, flat cost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use rusqlite::Connection;
use tally::es::{
    Commit, Context, Error, EventLog, ExecuteError, Execution, Executor, IdempotencyKey, Metadata,
    SqliteDatabase,
};
use uuid::Uuid;

use crate::counter::{Count, Counter, Refused};
use crate::support::Directory;

const STREAM: Uuid = Uuid::from_u128(1);

struct Fixture {
    log: Arc<EventLog>,
    executor: Executor,
    directory: Directory,
}

impl Fixture {
    fn fresh() -> Self {
        Self::on(Directory::fresh(), |_| {})
    }

    fn on(directory: Directory, on_commit: impl Fn(&Commit) + Send + 'static) -> Self {
        let database = SqliteDatabase::open(directory.join("write_db.sqlite3")).unwrap();
        let log = EventLog::open(database).unwrap();
        let executor = Executor::start(Arc::clone(&log), on_commit).unwrap();
        Self { log, executor, directory }
    }

    fn restarted(self) -> Self {
        let Self { log, executor, directory } = self;
        drop(executor);
        drop(log);
        Self::on(directory, |_| {})
    }

    fn count(&self, stream_id: Uuid, command: Count) -> Result<Execution, ExecuteError<Refused>> {
        self.executor.execute::<Counter>(stream_id, command, Context::default())
    }

    fn with_key(&self, key: &str, command: u8) -> Result<Execution, ExecuteError<Refused>> {
        let keys = vec![IdempotencyKey { key: key.into(), command: [command; 32] }];
        let context = Context { keys, metadata: Metadata::default() };
        self.executor.execute::<Counter>(STREAM, Count::Up(1), context)
    }

    fn database(&self) -> Connection {
        Connection::open(self.directory.join("write_db.sqlite3")).unwrap()
    }
}

fn position(execution: &Result<Execution, ExecuteError<Refused>>) -> u64 {
    execution.as_ref().unwrap().position()
}

#[test]
fn a_receipt_says_where_the_command_was_recorded() {
    let fixture = Fixture::fresh();
    fixture.count(Uuid::from_u128(2), Count::Up(1)).unwrap();
    let execution = fixture.count(STREAM, Count::Up(3)).unwrap();
    let receipt = execution.receipt().unwrap();
    assert_eq!((receipt.stream_id, receipt.version, receipt.position), (STREAM, 3, 4));
    let page = fixture.log.page(0, 100, Duration::ZERO).unwrap();
    let content = page.content().unwrap();
    assert_eq!((content.events.len(), content.head), (4, 4));
    assert_eq!(content.events[3].data, r#"{"to":3}"#);
}

#[test]
fn concurrent_commands_on_one_stream_are_each_recorded_once_in_one_order() {
    let fixture = Fixture::fresh();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| (0..50).for_each(|_| assert!(fixture.count(STREAM, Count::Up(1)).is_ok())));
        }
    });
    let page = fixture.log.page(0, 10_000, Duration::ZERO).unwrap();
    let content = page.content().unwrap();
    assert_eq!(content.events.len(), 800);
    for (index, event) in content.events.iter().enumerate() {
        let next = index as u64 + 1;
        assert_eq!((event.position, event.version), (next, next), "dense and in commit order");
        assert_eq!(event.data, format!("{{\"to\":{next}}}"), "each command saw all earlier ones");
    }
}

#[test]
fn commands_that_wait_together_share_a_commit() {
    let (commits, commands) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let fixture = Fixture::on(Directory::fresh(), {
        let (commits, commands) = (Arc::clone(&commits), Arc::clone(&commands));
        move |commit| {
            commits.fetch_add(1, Ordering::Relaxed);
            commands.fetch_add(commit.commands as u64, Ordering::Relaxed);
        }
    });
    // The writer is held up by a first command until 30 others have queued behind it.
    let (running, queued) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    std::thread::scope(|scope| {
        let (running_in_command, queued_in_command) = (Arc::clone(&running), Arc::clone(&queued));
        let executor = &fixture.executor;
        scope.spawn(move || {
            executor
                .transact(Context::default(), move |work| {
                    running_in_command.wait();
                    queued_in_command.wait();
                    work.decide::<Counter>(STREAM, &Count::Up(1))?;
                    Ok(STREAM)
                })
                .unwrap()
        });
        running.wait();
        for stream in 0..30 {
            scope.spawn(move || {
                executor
                    .execute::<Counter>(Uuid::from_u128(stream), Count::Up(1), Context::default())
                    .unwrap()
            });
        }
        crate::support::wait_until("all are queued", || executor.waiting() == 30);
        queued.wait();
    });
    assert_eq!((commits.load(Ordering::Relaxed), commands.load(Ordering::Relaxed)), (2, 31));
}

#[test]
fn a_refused_or_panicking_command_does_not_disturb_its_neighbours() {
    let fixture = Fixture::fresh();
    std::thread::scope(|scope| {
        for worker in 0..12_u64 {
            let fixture = &fixture;
            scope.spawn(move || {
                for _ in 0..20 {
                    match worker % 3 {
                        0 => assert!(fixture.count(STREAM, Count::Up(1)).is_ok()),
                        1 => {
                            let refused = fixture.count(STREAM, Count::Refuse);
                            assert!(matches!(refused, Err(ExecuteError::Rejected(_))));
                        }
                        _ => assert_eq!(
                            fixture.count(STREAM, Count::Panic),
                            Err(ExecuteError::Failed(Error::Panicked))
                        ),
                    }
                }
            });
        }
    });
    let last = fixture.count(STREAM, Count::Refuse);
    assert_eq!(last, Err(ExecuteError::Rejected(Refused { at: 80 })));
}

#[test]
fn a_command_on_two_streams_is_recorded_whole_or_not_at_all() {
    let fixture = Fixture::fresh();
    let other = Uuid::from_u128(2);
    let both = |second: Count| {
        fixture.executor.transact(Context::default(), move |work| {
            work.decide::<Counter>(STREAM, &Count::Up(1))?;
            work.decide::<Counter>(other, &second)?;
            Ok(STREAM)
        })
    };
    let receipt = *both(Count::Up(1)).unwrap().receipt().unwrap();
    assert_eq!((receipt.stream_id, receipt.version, receipt.position), (STREAM, 1, 2));
    assert!(both(Count::Refuse).is_err());
    assert!(both(Count::Panic).is_err());
    assert_eq!(position(&both(Count::Up(1))), 4, "the refused ones left nothing behind");
    assert_eq!(fixture.count(STREAM, Count::Refuse), Err(ExecuteError::Rejected(Refused { at: 2 })));
}

#[test]
fn the_same_key_with_the_same_command_gives_the_first_receipt_again() {
    let fixture = Fixture::fresh();
    let first = fixture.with_key("key", 1).unwrap();
    fixture.with_key("another", 1).unwrap();
    let again = fixture.with_key("key", 1).unwrap();
    assert!(matches!(again, Execution::Replayed(_)));
    assert_eq!(again.receipt(), first.receipt());
    let after_restart = fixture.restarted();
    assert_eq!(after_restart.with_key("key", 1).unwrap(), again);
    assert_eq!(after_restart.log.head().value(), 2, "nothing was recorded twice");
}

#[test]
fn the_same_key_with_another_command_is_refused() {
    let fixture = Fixture::fresh();
    fixture.with_key("key", 1).unwrap();
    assert_eq!(fixture.with_key("key", 2), Err(ExecuteError::KeyReused { key: "key".into() }));
}

#[test]
fn a_refused_command_leaves_its_key_free() {
    let fixture = Fixture::fresh();
    let key = |command| Context {
        keys: vec![IdempotencyKey { key: "key".into(), command: [command; 32] }],
        metadata: Metadata::default(),
    };
    assert!(fixture.executor.execute::<Counter>(STREAM, Count::Refuse, key(1)).is_err());
    assert!(matches!(
        fixture.executor.execute::<Counter>(STREAM, Count::Up(1), key(2)),
        Ok(Execution::Recorded(_))
    ));
}

#[test]
fn a_command_without_events_has_no_receipt_and_leaves_its_key_free() {
    let fixture = Fixture::fresh();
    let up = |times, key| {
        let keys = vec![IdempotencyKey::of("key", &key).unwrap()];
        let context = Context { keys, metadata: Metadata::default() };
        fixture.executor.execute::<Counter>(STREAM, Count::Up(times), context).unwrap()
    };
    fixture.count(Uuid::from_u128(2), Count::Up(1)).unwrap();
    let unchanged = up(0, "nothing");
    assert_eq!(unchanged, Execution::Unchanged { stream_id: STREAM, version: 0, position: 1 });
    assert_eq!(unchanged.receipt(), None);
    assert!(matches!(up(3, "something"), Execution::Recorded(_)), "the key is free");
    assert!(matches!(up(3, "something"), Execution::Replayed(_)), "and now the key is taken");
    let unchanged = fixture.count(STREAM, Count::Up(0)).unwrap();
    assert_eq!(unchanged, Execution::Unchanged { stream_id: STREAM, version: 3, position: 4 });
    let receipts: u64 =
        fixture.database().query_row("SELECT count(*) FROM receipts", [], |row| row.get(0)).unwrap();
    assert_eq!((receipts, fixture.log.head().value()), (1, 4));
}

#[test]
fn many_clients_with_one_key_record_one_command() {
    let fixture = Fixture::fresh();
    let recorded: Vec<Execution> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16).map(|_| scope.spawn(|| fixture.with_key("key", 1).unwrap())).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(recorded.iter().filter(|execution| matches!(execution, Execution::Recorded(_))).count(), 1);
    assert!(recorded.iter().all(|execution| execution.position() == 1));
}

#[test]
fn a_restart_loses_nothing() {
    let fixture = Fixture::fresh();
    fixture.count(STREAM, Count::Up(100)).unwrap();
    let fixture = fixture.restarted();
    assert_eq!(fixture.count(STREAM, Count::Refuse), Err(ExecuteError::Rejected(Refused { at: 100 })));
    assert_eq!(position(&fixture.count(STREAM, Count::Up(1))), 101);
}

#[test]
fn a_snapshot_is_only_a_head_start() {
    let fixture = Fixture::fresh();
    (0..100).for_each(|_| assert!(fixture.count(STREAM, Count::Up(1)).is_ok()));
    let database = fixture.database();
    let version: u64 = database.query_row("SELECT version FROM snapshots", [], |row| row.get(0)).unwrap();
    assert!((68..=100).contains(&version), "a snapshot is at most 32 events behind: {version}");
    let fixture = fixture.restarted();
    assert_eq!(fixture.count(STREAM, Count::Refuse), Err(ExecuteError::Rejected(Refused { at: 100 })));

    let mut fixture = fixture;
    for damage in [
        "UPDATE snapshots SET shape = 'of another form', state = '{\"count\":7}'",
        "UPDATE snapshots SET state = 'no JSON'",
        "DELETE FROM snapshots",
    ] {
        fixture.database().execute_batch(damage).unwrap();
        fixture = fixture.restarted();
        assert_eq!(
            fixture.count(STREAM, Count::Refuse),
            Err(ExecuteError::Rejected(Refused { at: 100 })),
            "{damage}"
        );
    }
}

#[test]
fn an_event_that_another_writer_appended_is_seen_despite_the_cache() {
    let fixture = Fixture::fresh();
    fixture.count(STREAM, Count::Up(1)).unwrap();
    let stranger = format!(
        "INSERT INTO events SELECT 2, 'e', stream_id, stream_type, 2, type, 1, '{{\"to\":50}}', '{{}}', recorded_at, hash
         FROM events WHERE stream_id = '{STREAM}'"
    );
    let inserted = stranger.replace("'e'", &format!("'{}'", Uuid::now_v7()));
    fixture.database().execute_batch(&inserted).unwrap();
    assert_eq!(fixture.count(STREAM, Count::Refuse), Err(ExecuteError::Rejected(Refused { at: 50 })));
}

#[test]
fn a_history_that_is_not_understood_fails_its_own_stream_alone() {
    let fixture = Fixture::fresh();
    let stranger = format!(
        "INSERT INTO events VALUES (1, '{}', '{STREAM}', 'counter', 1, 'Reset', 1, '{{}}', '{{}}', '', zeroblob(32))",
        Uuid::now_v7()
    );
    fixture.database().execute_batch(&stranger).unwrap();
    let Err(ExecuteError::Failed(Error::Corrupt(what))) = fixture.count(STREAM, Count::Up(1)) else {
        panic!("understood");
    };
    assert!(what.contains("event 1 (Reset)"), "{what}");
    assert_eq!(position(&fixture.count(Uuid::from_u128(2), Count::Up(1))), 2);
}

#[test]
fn times_never_fall_along_the_log() {
    let fixture = Fixture::fresh();
    // As if the clock had been set back since.
    let stranger = format!(
        "INSERT INTO events VALUES (1, '{}', '{}', 'counter', 1, 'Counted', 1, '{{\"to\":1}}', '{{}}',
                                    '2999-01-01T00:00:00.000000Z', zeroblob(32))",
        Uuid::now_v7(),
        Uuid::from_u128(9)
    );
    fixture.database().execute_batch(&stranger).unwrap();
    fixture.count(STREAM, Count::Up(1)).unwrap();
    let page = fixture.log.page(1, 1, Duration::ZERO).unwrap();
    assert_eq!(page.content().unwrap().events[0].recorded_at, "2999-01-01T00:00:00.000000Z");
}

#[test]
fn a_failing_storage_fails_the_batch_and_service_resumes_when_it_recovers() {
    let fixture = Fixture::fresh();
    fixture.count(STREAM, Count::Up(1)).unwrap();
    // A stranger holds the write lock for longer than the store waits for it.
    let stranger = fixture.database();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let failed = fixture.count(STREAM, Count::Up(1));
    assert!(matches!(failed, Err(ExecuteError::Failed(Error::Storage(_)))), "{failed:?}");
    assert!(fixture.executor.check().is_err(), "it is tried again, and fails again");
    stranger.execute_batch("ROLLBACK").unwrap();
    assert_eq!(position(&fixture.count(STREAM, Count::Up(1))), 2);
    assert_eq!(fixture.executor.check(), Ok(()));
}

#[test]
fn a_stopped_executor_takes_no_more_commands() {
    let fixture = Fixture::fresh();
    fixture.executor.stop();
    assert_eq!(fixture.count(STREAM, Count::Up(1)), Err(ExecuteError::Failed(Error::Stopped)));
}

#[test]
fn a_new_event_wakes_those_who_wait_for_it() {
    let fixture = Fixture::fresh();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| fixture.log.page(0, 10, Duration::from_secs(30)).unwrap());
        fixture.count(STREAM, Count::Up(1)).unwrap();
        let page = waiting.join().unwrap();
        assert_eq!(page.content().unwrap().events.len(), 1);
    });
}
