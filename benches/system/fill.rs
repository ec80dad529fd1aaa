//! Logs that are there from the start. A million commands would take a minute each time; the
//! store takes the same events in a few seconds, in big transactions.

use std::path::{Path, PathBuf};

use tally::account::{AccountCreated, AccountEvent, Currency, MoneyMoved};
use tally::es::{Database, Event, EventStore, Hash, RecordedEvent, SqliteDatabase, chain};
use tally::time::Timestamp;
use uuid::{Builder, Uuid};

use crate::Result;
use crate::load::Pick;
use crate::process::Directory;

/// The accounts that the events of a log are spread over, where it has enough events.
pub(crate) const ACCOUNTS: u64 = 10_000;

/// Events in one transaction: few syncs, and a write-ahead log of some ten megabytes.
const BATCH: u64 = 50_000;

/// 2026-01-01, in microseconds.
const FIRST_TIME: i64 = 1_767_225_600_000_000;

/// The id of the account of that number, a UUIDv7 as the write side would make it.
pub(crate) fn account_id(number: u64) -> Uuid {
    let mut random = [0; 10];
    // A fixed spread: two accounts of one millisecond have nothing else in common.
    random[2..].copy_from_slice(&(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Builder::from_unix_timestamp_millis(FIRST_TIME as u64 / 1000 + number, &random).into_uuid()
}

/// How the events of a log are spread.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spread {
    /// At random over so many accounts.
    Over(u64),
    /// All on account 0, but for the last [`SHORT_STREAM`] ones on account 1.
    OnOne,
}

/// Events on the short stream beside a long one.
pub(crate) const SHORT_STREAM: u64 = 10;

/// A write database with events in it.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) path: PathBuf,
    pub(crate) events: u64,
    pub(crate) accounts: u64,
    // Dropped last.
    _directory: Directory,
}

impl Filled {
    /// A log of so many openings and deposits.
    pub(crate) fn new(name: &str, events: u64, spread: Spread) -> Result<Self> {
        let directory = Directory::fresh(name)?;
        let path = directory.join("write_db.sqlite3");
        let accounts = match spread {
            Spread::Over(accounts) => accounts.min(events / 2),
            Spread::OnOne => 2,
        };
        fill(&path, events, accounts, spread)?;
        Ok(Self { path, events, accounts, _directory: directory })
    }

    /// A copy, to be written to.
    pub(crate) fn copy(&self, name: &str) -> Result<Self> {
        let directory = Directory::fresh(name)?;
        let path = directory.join("write_db.sqlite3");
        std::fs::copy(&self.path, &path)?;
        Ok(Self { path, events: self.events, accounts: self.accounts, _directory: directory })
    }
}

fn fill(path: &Path, events: u64, accounts: u64, spread: Spread) -> Result<()> {
    let database = SqliteDatabase::open(path)?;
    let mut store = database.writer(std::sync::Arc::default())?;
    let mut writer = Writer {
        versions: vec![0; usize::try_from(accounts)?],
        pick: Pick::new(7),
        events,
        spread,
        position: 0,
        hash: Hash::ZERO,
    };
    while writer.position < events {
        store.begin()?;
        for _ in 0..BATCH.min(events - writer.position) {
            writer.append_next(&mut *store)?;
        }
        store.commit()?;
    }
    drop(store);
    // All of it in the one file, so that it can be copied and nothing is left to be done.
    rusqlite::Connection::open(path)?.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

struct Writer {
    versions: Vec<u64>,
    pick: Pick,
    events: u64,
    spread: Spread,
    position: u64,
    hash: Hash,
}

impl Writer {
    fn next_account(&mut self) -> usize {
        match self.spread {
            Spread::OnOne => usize::from(self.position + SHORT_STREAM >= self.events),
            Spread::Over(_) if (self.position as usize) < self.versions.len() => self.position as usize,
            Spread::Over(_) => self.pick.below(self.versions.len()),
        }
    }

    fn append_next(&mut self, store: &mut dyn EventStore) -> Result<()> {
        let account = self.next_account();
        self.versions[account] += 1;
        self.position += 1;
        let event = event(account, self.versions[account]);
        let time = FIRST_TIME + self.position as i64 * 100;
        let recorded_at = Timestamp::from_micros(time).ok_or("no such time")?.to_string();
        let id_bytes = u128::from(self.position).to_be_bytes();
        let mut recorded = RecordedEvent {
            position: self.position,
            event_id: Builder::from_unix_timestamp_millis(time as u64 / 1000, &id_bytes[6..].try_into()?)
                .into_uuid(),
            stream_id: account_id(account as u64),
            stream_type: "account",
            version: self.versions[account],
            event_type: event.event_type(),
            schema_version: 1,
            data: &event.to_json()?,
            metadata: "{}",
            recorded_at: &recorded_at,
            hash: self.hash,
        };
        recorded.hash = chain(&self.hash, &recorded);
        self.hash = recorded.hash;
        store.append(&recorded)?;
        Ok(())
    }
}

fn event(account: usize, version: u64) -> AccountEvent {
    let currency = Currency::default();
    if version == 1 {
        AccountEvent::AccountCreated(AccountCreated { owner: format!("Somebody {account}"), currency })
    } else {
        let amount = 1 + version % 1000;
        AccountEvent::MoneyDeposited(MoneyMoved { amount, currency, description: None, transfer_id: None })
    }
}
