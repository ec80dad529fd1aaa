//! A write service with accounts in it, for the specification of commands and events.

use std::sync::Arc;

use serde_json::{Value, json};
use tally::account::{Account, AccountCommand, Movement};
use tally::es::{Context, EventLog, Executor, SqliteDatabase};
use uuid::Uuid;

use crate::support::{Binary, Client, Directory, Launch, Process, Reply};

/// Nobody listens there: what is tested with it needs no registry.
pub(crate) const NO_REGISTRY: &str = "http://127.0.0.1:1";
/// The largest amount and balance.
pub(crate) const MAX_AMOUNT: u64 = 9_007_199_254_740_991;

/// A running write service on a database of its own.
#[derive(Debug)]
pub(crate) struct Bank {
    // In this order they are dropped: the process before the directory that it uses.
    pub(crate) process: Process,
    pub(crate) client: Client,
    directory: Directory,
}

impl Bank {
    /// Without any account.
    pub(crate) fn start() -> Self {
        Self::on(Directory::fresh())
    }

    pub(crate) fn on(directory: Directory) -> Self {
        let launch = Launch::on_free_port(Binary::Write, &directory).flag("--registry", NO_REGISTRY);
        let process = launch.start();
        Self { client: process.client(), process, directory }
    }

    /// After SIGKILL, on the same data.
    pub(crate) fn after_a_crash(self) -> Self {
        let Self { process, directory, .. } = self;
        process.kill();
        Self::on(directory)
    }

    /// After SIGTERM, on the same data.
    pub(crate) fn after_a_restart(self) -> Self {
        let Self { process, directory, .. } = self;
        assert_eq!(process.stop().status.code(), Some(0));
        Self::on(directory)
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Its files after SIGKILL.
    pub(crate) fn crashed(self) -> Directory {
        self.process.kill();
        self.directory
    }

    /// Its files after SIGTERM.
    pub(crate) fn stopped(self) -> Directory {
        assert_eq!(self.process.stop().status.code(), Some(0));
        self.directory
    }

    /// Opens an account in EUR and returns its id.
    pub(crate) fn open(&self) -> String {
        self.open_in("EUR")
    }

    pub(crate) fn open_in(&self, currency: &str) -> String {
        let receipt = self.client.post("/accounts", &json!({"owner": "Ada", "currency": currency}));
        receipt.expect(201).json()["stream_id"].as_str().unwrap().to_owned()
    }

    /// Opens an account that holds so much.
    pub(crate) fn open_holding(&self, amount: u64) -> String {
        let id = self.open();
        self.deposit(&id, amount).expect(200);
        id
    }

    /// Opens an account and closes it.
    pub(crate) fn open_and_close(&self) -> String {
        let id = self.open();
        self.close(&id).expect(200);
        id
    }

    pub(crate) fn deposit(&self, id: &str, amount: u64) -> Reply {
        self.client.post(&format!("/accounts/{id}/deposit"), &json!({"amount": amount}))
    }

    pub(crate) fn withdraw(&self, id: &str, amount: u64) -> Reply {
        self.client.post(&format!("/accounts/{id}/withdraw"), &json!({"amount": amount}))
    }

    pub(crate) fn close(&self, id: &str) -> Reply {
        self.client.post(&format!("/accounts/{id}/close"), &json!({}))
    }

    pub(crate) fn transfer(&self, from: &str, to: &str, amount: u64) -> Reply {
        self.client.post("/transfers", &json!({"from": from, "to": to, "amount": amount}))
    }

    /// The feed's first page.
    pub(crate) fn events(&self) -> Vec<Value> {
        let page = self.client.get("/events?limit=10000").expect(200).json();
        page["events"].as_array().unwrap().clone()
    }

    /// The position of the last event.
    pub(crate) fn head(&self) -> u64 {
        self.client.get("/events?limit=1").expect(200).json()["head"].as_u64().unwrap()
    }
}

/// Records so many events in a database that no process uses, in few transactions, and returns
/// their account: its opening, and deposits of 1.
pub(crate) fn fill(directory: &Directory, events: u64) -> Uuid {
    // Many, for one sync; few, for a command of its size is an oddity to the executor.
    const EVENTS_PER_TRANSACTION: u64 = 2_000;
    let log = EventLog::open(SqliteDatabase::open(directory.join("write_db.sqlite3")).unwrap()).unwrap();
    let bank = Executor::start(Arc::clone(&log), |_| ()).unwrap();
    let id = Uuid::now_v7();
    let open = AccountCommand::Open { owner: "Ada".into(), currency: "EUR".try_into().unwrap() };
    bank.execute::<Account>(id, open, Context::default()).unwrap();
    while log.head().value() < events {
        let count = (events - log.head().value()).min(EVENTS_PER_TRANSACTION);
        let deposits = move |work: &mut tally::es::Work<'_>| {
            let deposit =
                AccountCommand::Deposit(Movement { amount: 1, description: None, transfer_id: None });
            (0..count).try_for_each(|_| work.decide::<Account>(id, &deposit))?;
            Ok(id)
        };
        bank.transact(Context::default(), deposits).unwrap();
    }
    id
}
