//! The fast read model of accounts beside the plain one.

use std::time::Instant;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::accounts::Accounts;
use super::plain_accounts::PlainAccounts;
use crate::es::fixtures::{Log, LogFeed, TempPath};
use crate::es::{Definition, Feed, Projection, Projector};

const CREATED: &str = r#"{"owner":"Ada Lovelace","currency":"EUR"}"#;

fn moved(amount: u128) -> String {
    format!(r#"{{"amount":{amount},"currency":"EUR","description":"salary"}}"#)
}

/// A log in which each account is opened, and in each round gets money and pays some of it; further accounts are
/// opened and closed.
fn log(accounts: u128, rounds: u128) -> Log {
    let mut log = Log::new(1);
    for account in 0..accounts {
        log.append(account, "AccountCreated", CREATED);
    }
    for step in 0..rounds * accounts {
        // In an order that is not that of the openings.
        let account = step * 7_919 % accounts;
        log.append(account, "MoneyDeposited", &moved(1250 + step));
        log.append(account, "MoneyWithdrawn", &moved(1250));
    }
    for account in accounts..accounts + accounts / 7 {
        log.append(account, "AccountCreated", CREATED);
        log.append(account, "AccountClosed", "{}");
    }
    log
}

fn rows(path: &TempPath, table: &str) -> Vec<Vec<Value>> {
    let db = Connection::open(&**path).unwrap();
    let mut select = db.prepare(&format!("SELECT * FROM {table} ORDER BY opened")).unwrap();
    let columns = select.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
    select.query_map([], row).unwrap().map(Result::unwrap).collect()
}

#[test]
fn the_fast_accounts_have_the_rows_of_the_plain_ones() {
    let path = TempPath::new();
    let both = [Definition::of::<Accounts>(), Definition::of::<PlainAccounts>()];
    let mut feed = LogFeed::new(log(700, 3));
    // With a second projector in between: the memory of the first is lost, and its rows stay.
    for until in [1_000, u64::MAX] {
        Projector::open(&path, &both).unwrap().catch_up(&mut feed, until).unwrap();
    }
    let (fast, plain) = (rows(&path, "accounts"), rows(&path, "plain_accounts"));
    assert_eq!(plain.len(), 800);
    assert_eq!(fast, plain);
}

/// Prints events per second of a refill, the best of five, in plain SQL and with the row cache:
/// `cargo test --release --lib plain_and_cached_rate -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout)]
fn plain_and_cached_rate() {
    for accounts in [1_000, 10_000, 100_000] {
        let mut feed = LogFeed::new(log(accounts, 200_000 / accounts)).prepared();
        let (mut plain, mut cached) = (0.0_f64, 0.0_f64);
        for _ in 0..5 {
            plain = plain.max(rate::<PlainAccounts>(&mut feed));
            cached = cached.max(rate::<Accounts>(&mut feed));
        }
        println!("{accounts} accounts: plain {plain:.0}, cached {cached:.0} events/s");
    }
}

fn rate<P: Projection>(feed: &mut dyn Feed) -> f64 {
    let path = TempPath::new();
    let begun = Instant::now();
    let mut projector = Projector::open(&path, &[Definition::of::<P>()]).unwrap();
    projector.catch_up(feed, u64::MAX).unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    let db = Connection::open(&*path).unwrap();
    let events: u64 = db.query_row("SELECT position FROM checkpoints", [], |row| row.get(0)).unwrap();
    events as f64 / seconds
}
