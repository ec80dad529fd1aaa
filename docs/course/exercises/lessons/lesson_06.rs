//! The tests of lesson 6: a client never sees a balance from before its own deposit, nor goes back in time.

// Every failure here is to stop the test with its reason.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use course::lesson_06::{Answer, Behind, ReadSide, Session};
use tally::account::{Account, AccountCommand, AccountEvent, Currency, Movement};
use tally::es::rusqlite::{self, Connection};
use tally::es::{
    Context, Definition, EventLog, Executor, MemoryDatabase, Names, Projection, ProjectionError, Projector,
    RecordedEvent, decode,
};
use uuid::Uuid;

const ADA: Uuid = Uuid::from_u128(1);

#[test]
fn a_client_reads_its_own_deposit() {
    let bank = Bank::open();
    let (mut session, mut rows) = (Session::default(), bank.read_side());
    session.note_receipt(bank.deposit(5000));
    assert_eq!(
        session.balance(&mut rows),
        Ok(Answer { balance: 5000, position: 2 }),
        "the deposit has position 2, and the rows lag. Ask with the position of the receipt, and the read side waits \
         for it."
    );
}

#[test]
fn a_read_side_that_stays_behind_is_not_taken_for_up_to_date() {
    let bank = Bank::open();
    let (mut session, mut rows) = (Session::default(), bank.read_side());
    rows.is_paused = true;
    session.note_receipt(bank.deposit(5000));
    assert_eq!(
        session.balance(&mut rows),
        Err(Behind(1)),
        "the read side is paused at position 1. The client must hear of that, and not get a balance of 0 as if it were \
         the truth."
    );
}

#[test]
fn a_client_does_not_go_back_in_time_from_one_read_side_to_another() {
    let bank = Bank::open();
    let (mut session, mut fast, mut slow) = (Session::default(), bank.read_side(), bank.read_side());
    // Another client has paid in, so this client has no receipt.
    let position = bank.deposit(5000);
    fast.catch_up(position);
    assert_eq!(session.balance(&mut fast), Ok(Answer { balance: 5000, position: 2 }));
    assert_eq!(
        session.balance(&mut slow),
        Ok(Answer { balance: 5000, position: 2 }),
        "the first answer was at position 2, and the second is older: on the client's screen, the money is gone again. \
         Note the position of each answer, too."
    );
}

#[test]
fn a_receipt_that_arrives_late_does_not_make_the_client_forget_a_newer_one() {
    let bank = Bank::open();
    let (mut session, mut rows) = (Session::default(), bank.read_side());
    let (first, second) = (bank.deposit(5000), bank.deposit(1250));
    session.note_receipt(second);
    session.note_receipt(first);
    assert_eq!(
        session.balance(&mut rows),
        Ok(Answer { balance: 6250, position: 3 }),
        "the client has the receipts of positions 3 and 2, in this order: the largest one counts."
    );
}

/// The write side: a real log with Ada's account, at position 1.
struct Bank {
    commands: Executor,
    log: Arc<EventLog>,
}

impl Bank {
    fn open() -> Self {
        let log = EventLog::open(MemoryDatabase::default()).unwrap();
        let commands = Executor::start(log.clone(), |_commit| ()).unwrap();
        let open = AccountCommand::Open { owner: "Ada".into(), currency: Currency::default() };
        commands.execute::<Account>(ADA, open, Context::default()).unwrap();
        Self { commands, log }
    }

    /// Returns the position of the receipt.
    fn deposit(&self, amount: u64) -> u64 {
        let deposit = AccountCommand::Deposit(Movement { amount, description: None, transfer_id: None });
        self.commands.execute::<Account>(ADA, deposit, Context::default()).unwrap().position()
    }

    /// Returns a read side at position 1.
    fn read_side(&self) -> Rows {
        let file = std::env::temp_dir().join(format!("tally-lesson-06-{}.sqlite3", Uuid::now_v7()));
        let projector = Projector::open(&file, &[Definition::of::<Balance>()]).unwrap();
        let mut rows = Rows { projector: Some(projector), file, log: self.log.clone(), is_paused: false };
        rows.catch_up(1);
        rows
    }
}

/// A read side with a real projector, which moves only while a client waits: the worst lag that there can be.
struct Rows {
    // Taken at the end, before its file is removed.
    projector: Option<Projector>,
    file: PathBuf,
    log: Arc<EventLog>,
    is_paused: bool,
}

impl Rows {
    fn catch_up(&mut self, position: u64) {
        self.projector.as_mut().unwrap().catch_up(&mut self.log, position).unwrap();
    }
}

impl ReadSide for Rows {
    fn balance(&mut self, min_position: u64) -> Result<Answer, Behind> {
        if !self.is_paused {
            self.catch_up(min_position);
        }
        let position = self.projector.as_ref().unwrap().status()[0].position;
        if position < min_position {
            return Err(Behind(position));
        }
        let db = Connection::open(&self.file).unwrap();
        let balance = db.query_row("SELECT cents FROM balance", [], |row| row.get(0)).unwrap();
        Ok(Answer { balance, position })
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        drop(self.projector.take());
        std::fs::remove_file(&self.file).unwrap();
    }
}

/// The read model: the balance of the only account.
struct Balance {
    add: String,
}

impl Projection for Balance {
    const NAME: &'static str = "balance";
    const VERSION: u32 = 1;
    const TABLES: &'static [&'static str] = &["balance"];

    fn new(names: &Names) -> Self {
        let table = names.table("balance");
        Self {
            add: format!(
                "INSERT INTO {table} VALUES (1, ?1) ON CONFLICT DO UPDATE SET cents = cents + excluded.cents"
            ),
        }
    }

    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
        let table = names.table("balance");
        db.execute_batch(&format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY, cents INTEGER) STRICT"))
    }

    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        let cents = match decode(event)? {
            AccountEvent::MoneyDeposited(money) => money.amount.cast_signed(),
            AccountEvent::MoneyWithdrawn(money) => -money.amount.cast_signed(),
            _ => 0,
        };
        db.execute(&self.add, [cents])?;
        Ok(())
    }
}
