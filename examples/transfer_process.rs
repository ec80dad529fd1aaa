//! A process that reacts to events, whole after a crash at any point: a transfer in two phases.
//!
//! The payer's account reserves the money. When the payee accepts, the process posts the reservation and has
//! the payee receive the money; when the deadline comes first, the process voids the reservation. Each
//! command is for one account, as if payer and payee had two banks.
//!
//! The process keeps a checkpoint: the position of the last event to which it has reacted. It sends a command
//! first, under an idempotency key made from the position of the event, and moves the checkpoint second. After
//! a crash in between, the command is sent again, and the bank answers with the first receipt.
//!
//! **Invariant:** the checkpoint lies behind the commands, never ahead of them.
//!
//! `tests/examples/transfer_process.rs` kills the program at every step.
//! Read next: `docs/how-to/react-to-events.md`.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tally::es::rusqlite::Connection;
use tally::es::{Aggregate, EventLog, ExecuteError, Executor, RecordedEvent, SqliteDatabase, decode};
use uuid::Uuid;

#[path = "transfer_process/account.rs"]
pub(crate) mod account;

use account::{Account, AccountCommand, AccountEvent, No, Transfer, send};

/// Errors pass from the thread of the process to `main`.
type Failure = Box<dyn Error + Send + Sync>;

/// How late a deadline is noticed, at most.
const LOOK: Duration = Duration::from_millis(100);

/// One process at a time has the file. Without a sync of its own, a checkpoint may fall back when the power
/// fails, and its rows with it: commands are repeated then.
const TABLES: &str = "PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS checkpoint (log_id TEXT, position INTEGER, hash TEXT) STRICT;
    CREATE TABLE IF NOT EXISTS open_transfers
        (position INTEGER PRIMARY KEY, deadline_ms INTEGER, terms TEXT UNIQUE) STRICT";

/// The process, with its checkpoint and the transfers whose deadlines it watches in a file of its own.
pub(crate) struct Process<'b> {
    file: Connection,
    log: Arc<EventLog>,
    bank: &'b Executor,
    position: u64,
    /// Called between any two steps: a test kills the program here.
    step: fn(),
}

impl<'b> Process<'b> {
    pub(crate) fn open(
        path: &Path,
        log: Arc<EventLog>,
        bank: &'b Executor,
        step: fn(),
    ) -> Result<Self, Failure> {
        let (file, this_log) = (Connection::open(path)?, log.log_id().to_string());
        file.execute_batch(TABLES)?;
        let first = "INSERT INTO checkpoint SELECT ?1, 0, '' WHERE NOT EXISTS (SELECT * FROM checkpoint)";
        file.execute(first, [&this_log])?;
        let (log_id, position, hash): (String, u64, String) =
            file.query_row("SELECT * FROM checkpoint", [], |row| row.try_into())?;
        // The hash covers the whole history up to the checkpoint.
        let last = log.events_after(position.saturating_sub(1)).next().transpose()?;
        let is_same = last.is_some_and(|last| last.as_recorded().hash.to_string() == hash);
        if log_id != this_log || position > 0 && !is_same {
            return Err(
                "the checkpoint is of another log, or of a history that this log does not have".into()
            );
        }
        Ok(Self { file, log, bank, position, step })
    }

    /// Reacts to all events of the log, and to the deadlines that have passed at `now_ms`.
    pub(crate) fn work(&mut self, now_ms: u64) -> Result<(), Failure> {
        // First the events: an acceptance that came in time is honoured, however long the process was away.
        self.catch_up()?;
        for (position, transfer) in self.overdue(now_ms)? {
            self.send(format!("transfers:{position}:deadline"), AccountCommand::Void(transfer))?;
        }
        self.catch_up()
    }

    fn catch_up(&mut self) -> Result<(), Failure> {
        for event in Arc::clone(&self.log).events_after(self.position) {
            let event = event?;
            let event = event.as_recorded();
            self.react(&event).map_err(|error| format!("event {}: {error}", event.position))?;
        }
        Ok(())
    }

    fn react(&mut self, event: &RecordedEvent<'_>) -> Result<(), Failure> {
        use AccountEvent as Event;
        let is_ours = event.stream_type == Account::STREAM_TYPE;
        let fact = is_ours.then(|| decode(event)).transpose()?;
        let key = format!("transfers:{}", event.position);
        match fact {
            Some(Event::Accepted(transfer)) => self.send(key, AccountCommand::Post(transfer))?,
            Some(Event::Posted(transfer)) => self.send(key, AccountCommand::Receive(transfer))?,
            Some(Event::Reserved(_) | Event::Voided(_) | Event::Received(_)) | None => (),
        }
        let transaction = self.file.transaction()?;
        match fact {
            Some(Event::Reserved(transfer)) => {
                let row = (event.position, transfer.deadline_ms, serde_json::to_string(&transfer)?);
                transaction.execute("INSERT INTO open_transfers VALUES (?1, ?2, ?3)", row)?;
            }
            Some(Event::Posted(transfer) | Event::Voided(transfer)) => {
                let terms = serde_json::to_string(&transfer)?;
                transaction.execute("DELETE FROM open_transfers WHERE terms = ?1", [terms])?;
            }
            Some(Event::Accepted(_) | Event::Received(_)) | None => (),
        }
        (self.step)();
        let checkpoint = (event.position, event.hash.to_string());
        transaction.execute("UPDATE checkpoint SET position = ?1, hash = ?2", checkpoint)?;
        transaction.commit()?;
        self.position = event.position;
        (self.step)();
        Ok(())
    }

    fn send(&self, key: String, command: AccountCommand) -> Result<(), ExecuteError<No>> {
        (self.step)();
        match send(self.bank, key, command) {
            // An answer, too: the reservation has ended in another way. Any other rejection stops the process.
            Ok(_) | Err(ExecuteError::Rejected(No::NotReserved)) => (),
            Err(error) => return Err(error),
        }
        (self.step)();
        Ok(())
    }

    fn overdue(&self, now_ms: u64) -> Result<Vec<(u64, Transfer)>, Failure> {
        let overdue = "SELECT position, terms FROM open_transfers WHERE deadline_ms <= ?1 ORDER BY position";
        let mut overdue = self.file.prepare(overdue)?;
        let rows = overdue.query_map([now_ms], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
        rows.map(|row| row.map(|(position, terms)| Ok((position, serde_json::from_str(&terms)?)))?).collect()
    }

    /// Follows the log until its head is closed.
    fn follow(&mut self, clock: impl Fn() -> u64) -> Result<(), Failure> {
        while !self.log.head().is_closed() {
            self.work(clock())?;
            self.log.head().wait_for(self.position + 1, LOOK);
        }
        Ok(())
    }
}

/// Runs the program in a directory of its own.
pub(crate) fn main() -> Result<(), Failure> {
    let directory = std::env::temp_dir().join(format!("tally-transfers-{}", Uuid::now_v7()));
    std::fs::create_dir_all(&directory)?;
    let log = EventLog::open(SqliteDatabase::open(directory.join("log"))?)?;
    let bank = Executor::start(Arc::clone(&log), |_commit| ())?;
    let [cash, ada, bob] = [0, 1, 2].map(Uuid::from_u128);
    // Money from outside: received, and reserved nowhere.
    let wages = Transfer { id: cash, payer: cash, payee: ada, amount: 100, deadline_ms: u64::MAX >> 1 };
    let accepted = Transfer { id: ada, payer: ada, payee: bob, amount: 30, ..wages };
    let overdue = Transfer { id: bob, amount: 50, deadline_ms: 0, ..accepted };

    std::thread::scope(|scope| {
        let process = scope.spawn(|| {
            let mut process = Process::open(&directory.join("transfers"), Arc::clone(&log), &bank, || ())?;
            process.follow(|| {
                let now = SystemTime::UNIX_EPOCH.elapsed().expect("the clock is after 1970");
                u64::try_from(now.as_millis()).expect("the clock is before the year 500 million")
            })
        });
        let commands = [
            AccountCommand::Receive(wages),
            AccountCommand::Reserve(accepted),
            AccountCommand::Accept(accepted),
            AccountCommand::Reserve(overdue),
        ];
        let sent = commands.into_iter().zip(1..).try_for_each(|(command, number)| {
            // Each client's command has a key, too.
            send(&bank, format!("client:{number}"), command).map(drop)
        });
        // Posted, received and voided, without another command from here.
        log.head().wait_for(7, Duration::from_secs(60));
        log.head().close();
        process.join().expect("the process panicked")?;
        Ok::<_, Failure>(sent?)
    })?;
    let mut state = Account::default();
    for event in log.stream(ada) {
        state = state.evolve(&decode(&event?.as_recorded())?);
    }
    assert_eq!((state.balance, state.reserved.len()), (70, 0));
    drop((bank, log));
    Ok(std::fs::remove_dir_all(&directory)?)
}
