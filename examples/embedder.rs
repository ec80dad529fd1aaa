//! A whole program around `tally::es`: the stock of a warehouse, from the first event to the last file.
//!
//! `cargo run --example embedder` runs the program; `tests/examples/` runs it with every `cargo test`.
//!
//! Read next: `src/es/manual.rs`, a section for each step.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tally::es::rusqlite::{self, Connection};
use tally::es::{
    Aggregate, Context, Definition, EventLog, ExecuteError, Execution, Executor, IdempotencyKey, KnownKinds,
    Names, Projection, ProjectionError, Projector, RecordedEvent, SqliteDatabase, backup, decode, verify,
    verify_projection,
};
use uuid::Uuid;

// The aggregate: events, state, decisions.
tally::es::events! {
    #[derive(Clone, Debug, PartialEq)]
    enum ShelfEvent {
        Filled(Moved) = "ShelfFilled",
        Emptied(Moved) = "ShelfEmptied",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Moved {
    items: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Shelf {
    items: u64,
}

#[derive(Clone, Debug, Serialize)]
enum ShelfCommand {
    Fill(u64),
    Empty(u64),
}

#[derive(Debug, PartialEq)]
struct TooFew;

impl Aggregate for Shelf {
    const STREAM_TYPE: &'static str = "shelf";
    type Command = ShelfCommand;
    type Event = ShelfEvent;
    type Rejection = TooFew;

    fn decide(&self, command: &ShelfCommand) -> Result<Vec<ShelfEvent>, TooFew> {
        match *command {
            ShelfCommand::Fill(0) | ShelfCommand::Empty(0) => Ok(vec![]),
            ShelfCommand::Empty(items) if items > self.items => Err(TooFew),
            ShelfCommand::Fill(items) => Ok(vec![ShelfEvent::Filled(Moved { items })]),
            ShelfCommand::Empty(items) => Ok(vec![ShelfEvent::Emptied(Moved { items })]),
        }
    }

    fn evolve(self, event: &ShelfEvent) -> Self {
        match event {
            ShelfEvent::Filled(moved) => Self { items: self.items + moved.items },
            ShelfEvent::Emptied(moved) => Self { items: self.items - moved.items },
        }
    }
}

/// The rule for an audit: a shelf never gives more items than it holds.
fn check(shelf: &Shelf, event: &ShelfEvent) -> Result<(), String> {
    match event {
        ShelfEvent::Emptied(moved) if moved.items > shelf.items => Err(format!("only {}", shelf.items)),
        ShelfEvent::Emptied(_) | ShelfEvent::Filled(_) => Ok(()),
    }
}

/// The projection: the items on each shelf.
struct Stock {
    add: String,
}

impl Projection for Stock {
    const NAME: &'static str = "stock";
    const VERSION: u32 = 1;
    const TABLES: &'static [&'static str] = &["stock"];

    fn new(names: &Names) -> Self {
        let stock = names.table("stock");
        let add = format!("INSERT INTO {stock} VALUES (?1, ?2) ON CONFLICT DO UPDATE SET items = items + ?2");
        Self { add }
    }

    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
        let stock = names.table("stock");
        db.execute_batch(&format!("CREATE TABLE {stock} (shelf TEXT PRIMARY KEY, items INTEGER) STRICT"))
    }

    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        let change = match decode(event)? {
            ShelfEvent::Filled(moved) => moved.items.cast_signed(),
            ShelfEvent::Emptied(moved) => -moved.items.cast_signed(),
        };
        db.prepare_cached(&self.add)?.execute((event.stream_id.to_string(), change))?;
        Ok(())
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the program in a directory of its own.
pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("tally-embedder-{}", Uuid::now_v7()));
    std::fs::create_dir_all(&directory)?;
    run(&directory)?;
    let files = std::fs::read_dir(&directory)?.map(|entry| Ok(entry?.file_name()));
    let files = files.collect::<std::io::Result<BTreeSet<_>>>()?;
    assert_eq!(files, BTreeSet::from(["copy", "log", "stock"].map(Into::into)), "only databases are left");
    Ok(std::fs::remove_dir_all(&directory)?)
}

fn run(directory: &Path) -> Result<(), Box<dyn Error>> {
    let [log_file, stock_file, copy, scratch] =
        ["log", "stock", "copy", "scratch"].map(|name| directory.join(name));
    let log = EventLog::open(SqliteDatabase::open(&log_file)?)?;
    let warehouse = Executor::start(log.clone(), |_commit| ())?;
    let running = Projector::open(&stock_file, &[Definition::of::<Stock>()])?.start(log.clone(), PATIENCE)?;

    // Eight clients send each command twice, as after a lost answer. Each command is recorded once.
    std::thread::scope(|scope| {
        let warehouse = &warehouse;
        let clients: Vec<_> = (0..8).map(|client| scope.spawn(move || fill(warehouse, client))).collect();
        clients.into_iter().try_for_each(|client| client.join().expect("a client panicked"))
    })?;
    let last = warehouse.execute::<Shelf>(Uuid::nil(), ShelfCommand::Empty(20), Context::default())?;
    let refused = warehouse.execute::<Shelf>(Uuid::nil(), ShelfCommand::Empty(6), Context::default());
    assert_eq!(refused, Err(ExecuteError::Rejected(TooFew)));
    let unchanged = warehouse.execute::<Shelf>(Uuid::nil(), ShelfCommand::Fill(0), Context::default())?;
    assert_eq!((unchanged.receipt(), unchanged.version()), (None, last.version()));

    // The rows catch up with the log; a rebuild builds the same rows beside them.
    assert!(running.wait_for(Stock::NAME, last.position(), PATIENCE) >= Some(last.position()));
    assert_eq!(items(&stock_file)?, 25 * 8 - 20);
    running.rebuild_and_wait(Stock::NAME, PATIENCE)?;
    assert_eq!(items(&stock_file)?, 25 * 8 - 20);

    // Beside the running program: an audit, a backup, and a replay that must give the same rows.
    let kinds = KnownKinds::new().and::<Shelf>(check);
    assert!(verify(&log_file, &kinds)?.is_sound() && backup(&log_file, &copy, &kinds)?.is_sound());
    let verified = verify_projection(&stock_file, &scratch, &Definition::of::<Stock>(), &mut log.clone())?;
    assert_eq!((verified.rows, verified.difference), (8, None));
    std::fs::remove_file(&scratch)?;

    // Dropped, the program has no thread left, and each database is one file.
    drop((running, warehouse, log));
    Ok(())
}

/// Fills the shelf of a client with single items.
fn fill(warehouse: &Executor, client: u128) -> Result<(), ExecuteError<TooFew>> {
    for number in 0..25 {
        let command = ShelfCommand::Fill(1);
        let key = IdempotencyKey::of(format!("{client}-{number}"), &command).expect("commands are JSON");
        let context = Context { keys: vec![key], ..Context::default() };
        let shelf = Uuid::from_u128(client);
        let first = warehouse.execute::<Shelf>(shelf, command.clone(), context.clone())?;
        let again = warehouse.execute::<Shelf>(shelf, command, context)?;
        assert!(matches!(again, Execution::Replayed(receipt) if Some(&receipt) == first.receipt()));
    }
    Ok(())
}

fn items(stock: &Path) -> rusqlite::Result<u64> {
    Connection::open(stock)?.query_row("SELECT sum(items) FROM stock", [], |row| row.get(0))
}
