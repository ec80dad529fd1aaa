//! What every store of events must do, and what the SQLite schema refuses from any client.

use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rusqlite::Connection;
use tally::es::{
    Database, Error, EventReader, EventStore, Hash, MemoryDatabase, Receipt, RecordedEvent, Snapshot,
    SqliteDatabase, chain,
};
use uuid::Uuid;

use crate::support::{Directory, wait_until};

/// The behaviour of a store. Another database passes the same suite, opened by another function.
fn store_suite(open: impl Fn() -> Box<dyn Database>) {
    let database = open();
    appended_events_come_back_unchanged_and_in_order(&*database);
    let database = open();
    events_that_are_not_next_are_refused(&*database);
    let database = open();
    nothing_of_a_transaction_that_was_given_up_remains(&*database);
    let database = open();
    receipts_and_snapshots_are_kept(&*database);
    let database = open();
    what_is_left_of_a_refused_transaction_cannot_be_committed(&*database);
    let database = open();
    a_log_has_one_writer_at_a_time(&*database);
}

#[test]
fn sqlite_passes_the_suite_of_every_store() {
    let directory = Directory::fresh();
    store_suite(|| {
        Box::new(SqliteDatabase::open(directory.join(&format!("{}.sqlite3", Uuid::now_v7()))).unwrap())
    });
}

#[test]
fn memory_passes_the_suite_of_every_store() {
    store_suite(|| Box::new(MemoryDatabase::default()));
}

const STREAM: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

fn event<'a>(
    position: u64,
    stream_id: Uuid,
    version: u64,
    data: &'a str,
    previous: &Hash,
) -> RecordedEvent<'a> {
    let mut event = RecordedEvent {
        position,
        event_id: Uuid::from_u128(u128::from(position)),
        stream_id,
        stream_type: "thing",
        version,
        event_type: "Happened",
        schema_version: 1,
        data,
        metadata: "{}",
        recorded_at: "2026-01-31T12:00:00.000000Z",
        hash: Hash::ZERO,
    };
    event.hash = chain(previous, &event);
    event
}

fn append(store: &mut dyn EventStore, events: &[(Uuid, u64, &str)]) {
    let mut head = store.begin().unwrap();
    for (stream_id, version, data) in events {
        let event = event(head.position + 1, *stream_id, *version, data, &head.hash);
        store.append(&event).unwrap();
        (head.position, head.hash) = (event.position, event.hash);
    }
    store.commit().unwrap();
}

/// Positions, versions and data of what `read` shows.
fn collect(read: impl FnOnce(&mut tally::es::Visitor<'_>) -> Result<(), Error>) -> Vec<(u64, u64, String)> {
    let mut events = Vec::new();
    read(&mut |event| {
        events.push((event.position, event.version, event.data.to_owned()));
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    events
}

fn appended_events_come_back_unchanged_and_in_order(database: &dyn Database) {
    let mut store = database.writer(std::sync::Arc::default()).unwrap();
    let data = r#"{"text":"é \" ☕","n":1.50}"#;
    append(&mut *store, &[(STREAM, 1, data), (OTHER, 1, "{}")]);
    append(&mut *store, &[(STREAM, 2, "{}")]);

    let mut reader = database.reader().unwrap();
    assert_eq!(reader.head().unwrap(), 3);
    let all = collect(|visit| reader.read(0, 10, visit));
    assert_eq!(all, [(1, 1, data.into()), (2, 1, "{}".into()), (3, 2, "{}".into())]);
    assert_eq!(collect(|visit| reader.read(1, 1, visit)), [(2, 1, "{}".into())]);
    let stream = collect(|visit| reader.read_stream(STREAM, 1, 10, visit));
    assert_eq!(stream, [(3, 2, "{}".into())]);
    let back = |reader: &mut dyn EventReader, before, limit| {
        let events = collect(|visit| reader.read_back(before, limit, visit));
        events.into_iter().map(|(position, ..)| position).collect::<Vec<_>>()
    };
    assert_eq!(back(&mut *reader, u64::MAX, 10), [3, 2, 1]);
    assert_eq!(back(&mut *reader, 3, 1), [2]);
    assert_eq!((back(&mut *reader, 1, 10), back(&mut *reader, 0, 10)), (vec![], vec![]));

    let mut hash = Hash::ZERO;
    reader
        .read(0, 10, &mut |event| {
            assert_eq!(event.hash, chain(&hash, event), "the chain holds");
            hash = event.hash;
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    let head = store.begin().unwrap();
    assert_eq!((head.position, head.hash), (3, hash));
    store.commit().unwrap();
}

fn events_that_are_not_next_are_refused(database: &dyn Database) {
    let mut store = database.writer(std::sync::Arc::default()).unwrap();
    append(&mut *store, &[(STREAM, 1, "{}"), (STREAM, 2, "{}")]);
    for (position, version) in [(2, 3), (4, 3), (0, 3), (3, 2), (3, 1), (3, 4), (3, 0)] {
        store.begin().unwrap();
        let refused = store.append(&event(position, STREAM, version, "{}", &Hash::ZERO));
        assert!(matches!(refused, Err(Error::Corrupt(_))), "position {position}, version {version}");
        store.recover().unwrap();
    }
    assert_eq!(database.reader().unwrap().head().unwrap(), 2);
}

fn nothing_of_a_transaction_that_was_given_up_remains(database: &dyn Database) {
    let mut store = database.writer(std::sync::Arc::default()).unwrap();
    let head = store.begin().unwrap();
    store.append(&event(1, STREAM, 1, "{}", &head.hash)).unwrap();
    assert_eq!(database.reader().unwrap().head().unwrap(), 0, "nobody sees what is not committed");
    assert_eq!(collect(|visit| store.events_after(STREAM, 0, visit)).len(), 1, "but the writer does");
    store.recover().unwrap();
    assert_eq!(store.begin().unwrap(), head);
    store.commit().unwrap();
}

fn receipts_and_snapshots_are_kept(database: &dyn Database) {
    let mut store = database.writer(std::sync::Arc::default()).unwrap();
    let receipt = Receipt { stream_id: STREAM, version: 3, position: 42 };
    let snapshot = |version| Snapshot { version, shape: "v1".into(), state: "{}".into() };
    store.begin().unwrap();
    assert_eq!(store.receipt("key").unwrap(), None);
    store.keep_receipt("key", &[7; 32], &receipt).unwrap();
    assert_eq!(store.snapshot(STREAM).unwrap(), None);
    store.keep_snapshot(STREAM, &snapshot(1)).unwrap();
    store.keep_snapshot(STREAM, &snapshot(2)).unwrap();
    store.commit().unwrap();
    store.begin().unwrap();
    assert_eq!(store.receipt("key").unwrap(), Some(([7; 32], receipt)));
    assert_eq!(store.snapshot(STREAM).unwrap(), Some(snapshot(2)));
    assert!(store.keep_receipt("key", &[8; 32], &receipt).is_err(), "a key is taken once");
    store.recover().unwrap();
    store.begin().unwrap();
    assert_eq!(store.receipt("key").unwrap(), Some(([7; 32], receipt)));
    store.commit().unwrap();
}

fn what_is_left_of_a_refused_transaction_cannot_be_committed(database: &dyn Database) {
    let mut store = database.writer(std::sync::Arc::default()).unwrap();
    let receipt = Receipt { stream_id: STREAM, version: 1, position: 1 };
    type Refused = fn(&mut dyn EventStore, &Receipt) -> Result<(), Error>;
    let refusals: [Refused; 3] = [
        |store, _| store.append(&event(3, STREAM, 2, "{}", &Hash::ZERO)),
        |store, _| store.append(&event(2, STREAM, 2, "no JSON", &Hash::ZERO)),
        |store, receipt| {
            store.keep_receipt("key", &[7; 32], receipt)?;
            store.keep_receipt("key", &[7; 32], receipt)
        },
    ];
    for refused in refusals {
        store.begin().unwrap();
        store.append(&event(1, STREAM, 1, "{}", &Hash::ZERO)).unwrap();
        assert!(matches!(refused(&mut *store, &receipt), Err(Error::Corrupt(_))));
        assert!(store.commit().is_err());
        store.recover().unwrap();
        assert_eq!(store.begin().unwrap().position, 0);
        assert_eq!((store.receipt("key").unwrap(), database.reader().unwrap().head()), (None, Ok(0)));
        store.recover().unwrap();
    }
}

fn a_log_has_one_writer_at_a_time(database: &dyn Database) {
    let writer = database.writer(std::sync::Arc::default()).unwrap();
    assert!(matches!(database.writer(std::sync::Arc::default()), Err(Error::Unusable(_))));
    drop(writer);
    database.writer(std::sync::Arc::default()).expect("the first has gone");
}

// ---------------------------------------------------------------- the schema, from any client

/// A log of three events, opened as a stranger would: a bare connection with SQLite's defaults.
fn stranger() -> (Directory, Connection) {
    let directory = Directory::fresh();
    let path = directory.join("write_db.sqlite3");
    let database = SqliteDatabase::open(&path).unwrap();
    let mut store = database.writer(std::sync::Arc::default()).unwrap();
    append(&mut *store, &[(STREAM, 1, "{}"), (STREAM, 2, "{}"), (OTHER, 1, "{}")]);
    store.begin().unwrap();
    let receipt = Receipt { stream_id: STREAM, version: 1, position: 1 };
    store.keep_receipt("key", &[7; 32], &receipt).unwrap();
    store.commit().unwrap();
    (directory, Connection::open(path).unwrap())
}

fn insert(verb: &str, position: &str, version: u64) -> String {
    format!(
        "{verb} INTO events (position, event_id, stream_id, stream_type, version, type, schema_version,
                             data, metadata, recorded_at, hash)
         VALUES ({position}, 'e', '{STREAM}', 'thing', {version}, 'Happened', 1, '{{}}', '{{}}', 't', zeroblob(32))"
    )
}

#[test]
fn history_is_append_only_for_any_client() {
    let (_directory, stranger) = stranger();
    let contents = |connection: &Connection| -> String {
        connection
            .query_row("SELECT group_concat(position || type || data || hex(hash)) || (SELECT head FROM log) FROM events", [], |row| row.get(0))
            .unwrap()
    };
    let before = contents(&stranger);
    for attack in [
        "UPDATE events SET data = '{\"amount\":1}' WHERE position = 1".to_owned(),
        "UPDATE OR REPLACE events SET position = 2 WHERE position = 1".into(),
        "DELETE FROM events".into(),
        "DELETE FROM events WHERE position = 3".into(),
        insert("INSERT OR REPLACE", "1", 1),
        insert("INSERT OR REPLACE", "4", 2),
        insert("REPLACE", "3", 3),
        insert("INSERT", "5", 3),
        insert("INSERT", "-1", 3),
        insert("INSERT", "NULL", 3),
        insert("INSERT OR IGNORE", "9", 3),
        insert("INSERT", "4", 4),
        insert("INSERT", "4", 2),
        "UPDATE log SET head = 2".into(),
        "UPDATE log SET head = 4".into(),
        "UPDATE log SET log_id = 'another'".into(),
        "DELETE FROM log".into(),
        "INSERT INTO log (only, log_id) VALUES (2, 'second')".into(),
        "INSERT OR REPLACE INTO log (only, log_id) VALUES (1, 'another')".into(),
        "DELETE FROM receipts".into(),
        "UPDATE receipts SET position = 9".into(),
        "INSERT OR REPLACE INTO receipts VALUES ('key', zeroblob(32), 's', 1, 1)".into(),
    ] {
        let refused = stranger.execute_batch(&attack);
        assert!(refused.is_err(), "went through: {attack}");
        assert_eq!(contents(&stranger), before, "{attack}");
    }
    stranger.execute_batch(&insert("INSERT", "4", 3)).expect("the one insert that continues the log");
    let upsert = insert("INSERT", "4", 3) + " ON CONFLICT DO UPDATE SET data = '[]'";
    assert!(stranger.execute_batch(&upsert).is_err());
}

#[test]
fn what_is_committed_moves_into_the_database_beside_the_writer() {
    let directory = Directory::fresh();
    let path = directory.join("write_db.sqlite3");
    let database = SqliteDatabase::open(&path).unwrap();
    let mut store = database.writer(std::sync::Arc::default()).unwrap();
    let bytes = || std::fs::metadata(&path).unwrap().len();
    let before = bytes();
    // More pages than a checkpoint waits for, and far fewer than the writer would copy itself.
    for batch in 0..10 {
        let events: Vec<_> = (1..=500).map(|version| (STREAM, 500 * batch + version, "{}")).collect();
        append(&mut *store, &events);
    }
    wait_until("the database has grown", || bytes() > before + (512 << 10));
}

#[test]
fn a_file_that_is_no_log_is_refused_and_left_alone() {
    let directory = Directory::fresh();
    let foreign = directory.join("foreign.sqlite3");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    let text = directory.join("notes.txt");
    std::fs::write(&text, "my notes, longer than a SQLite header would be: ".repeat(30)).unwrap();
    let newer = directory.join("newer.sqlite3");
    drop(SqliteDatabase::open(&newer).unwrap());
    Connection::open(&newer).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let stripped = directory.join("stripped.sqlite3");
    drop(SqliteDatabase::open(&stripped).unwrap());
    Connection::open(&stripped).unwrap().execute_batch("DROP TRIGGER events_are_never_changed").unwrap();

    for (path, reason) in [
        (foreign, "another program"),
        (text, "not a database"),
        (newer, "version 99"),
        (stripped, "schema.sql"),
        (directory.join("no/such/folder.sqlite3"), "its directory cannot be used"),
        (directory.path().to_owned(), "a directory"),
    ] {
        let before = std::fs::read(&path).ok();
        let Err(Error::Unusable(what)) = SqliteDatabase::open(&path) else {
            panic!("{} was taken for a log", path.display());
        };
        assert!(what.contains(reason) && what.contains(path.to_str().unwrap()), "{what}");
        assert_eq!(std::fs::read(&path).ok(), before, "{what}");
    }
}

#[test]
fn a_log_has_one_writer() {
    let directory = Directory::fresh();
    let path = directory.join("write_db.sqlite3");
    let first = SqliteDatabase::open(&path).unwrap();
    let writer = first.writer(std::sync::Arc::default()).unwrap();
    let second = SqliteDatabase::open(&path).unwrap();
    let Err(Error::Unusable(what)) = second.writer(std::sync::Arc::default()) else { panic!("two writers") };
    assert!(what.contains("another process"), "{what}");
    drop(first);
    assert!(second.writer(std::sync::Arc::default()).is_err(), "the writer has the log as long as it lives");
    drop(writer);
    second.writer(std::sync::Arc::default()).expect("the first has gone");
}

/// Locks of SQLite on the database and its shared memory, held by this process.
fn sqlite_locks(path: &Path) -> Vec<String> {
    let inode = |suffix: &str| {
        let file = std::fs::metadata(format!("{}{suffix}", path.display())).unwrap();
        format!(":{}", file.ino())
    };
    let (inodes, process) = (["", "-shm"].map(inode), std::process::id().to_string());
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    let words = locks.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
    let ours = words.filter(|words| {
        words[0] == "POSIX" && words[3] == process && inodes.iter().any(|inode| words[4].ends_with(inode))
    });
    ours.map(|words| words.join(" ")).collect()
}

#[test]
fn a_second_use_of_a_log_in_one_process_leaves_sqlite_its_locks() {
    let directory = Directory::fresh();
    let path = directory.join("write_db.sqlite3");
    std::os::unix::fs::symlink(&path, directory.join("link")).unwrap();
    let first = SqliteDatabase::open(&path).unwrap();
    let mut reader = first.reader().unwrap();
    reader.head().unwrap();
    let before = sqlite_locks(&path);
    assert!(!before.is_empty(), "SQLite holds a shared lock while a connection is open");
    for path in [&path, &directory.join("link")] {
        drop(SqliteDatabase::open(path).unwrap());
        tally::es::verify(path, &tally::account::known_kinds()).unwrap();
    }
    tally::es::backup(&path, &directory.join("copy"), &tally::account::known_kinds()).unwrap();
    assert_eq!(sqlite_locks(&path), before);
    assert_eq!(reader.head().unwrap(), 0);
}

#[test]
fn the_identity_of_a_log_is_made_once() {
    let directory = Directory::fresh();
    let path = directory.join("write_db.sqlite3");
    let log_id = SqliteDatabase::open(&path).unwrap().log_id();
    assert_eq!(SqliteDatabase::open(&path).unwrap().log_id(), log_id);
}
