//! The service over a log in memory, and measurements by hand: `cargo test --release --lib _rate -- --ignored
//! --nocapture`.

use std::path::Path;
use std::time::{Duration, Instant};

use super::upstream::Upstream;
use super::{ReadOptions, ReadSide, StartError, projections, routes};
use crate::es::fixtures::{Log, LogFeed, TempPath};
use crate::es::{Feed, Projector};
use crate::http::{Request, Router};

impl ReadSide {
    /// The service over another feed than a write side's.
    pub(super) fn over(db: &Path, feed: impl Feed + Clone + 'static) -> Result<Self, StartError> {
        let options = ReadOptions {
            registries: Vec::new(),
            write_side: None,
            poll_interval: Duration::from_millis(20),
            max_waits: 1,
            ready_lag: 10_000,
        };
        let projector = Projector::open(db, &projections())?;
        Self::follow(projector, Upstream::start(Vec::new(), None, || None)?, feed, &options)
    }
}

/// Prints the rate of a replay. The rate is not asserted, because machines differ.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout)]
fn replay_rate() {
    const ACCOUNTS: u128 = 10_000;
    const EVENTS: u128 = 200_000;
    let mut log = Log::new(1);
    for account in 0..ACCOUNTS {
        log.append(account, "AccountCreated", r#"{"owner":"Ada Lovelace","currency":"EUR"}"#);
    }
    for number in 0..EVENTS - ACCOUNTS {
        let account = (number * number + 7_919 * number) % 10_007 % ACCOUNTS;
        log.append(account, "MoneyDeposited", r#"{"amount":1250,"currency":"EUR","description":"salary"}"#);
    }
    let feed = LogFeed::new(log).prepared();
    let path = TempPath::new();
    let begun = Instant::now();
    let running =
        Projector::open(&path, &projections()).unwrap().start(feed, Duration::from_millis(100)).unwrap();
    for definition in projections() {
        running.watch(definition.name).unwrap().wait_for(EVENTS as u64, Duration::from_secs(60));
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("replayed {EVENTS} events in {seconds:.3} s: {:.0} events/s", EVENTS as f64 / seconds);
}

/// Prints the cost of a `GET /accounts/{id}` without a socket, over 100 000 accounts.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout)]
fn query_rate() {
    const ACCOUNTS: u128 = 100_000;
    const QUERIES: u128 = 500_000;
    let mut log = Log::new(1);
    for account in 0..ACCOUNTS {
        log.append(account, "AccountCreated", r#"{"owner":"Ada Lovelace","currency":"EUR"}"#);
    }
    let path = TempPath::new();
    let mut feed = LogFeed::new(log).prepared();
    Projector::open(&path, &projections()).unwrap().catch_up(&mut feed, u64::MAX).unwrap();
    let router = Router::new(ReadSide::over(&path, feed).unwrap(), routes());
    let begun = Instant::now();
    for number in 0..QUERIES {
        let account = uuid::Uuid::from_u128(number * 7_919 % ACCOUNTS);
        let response = router.handle(&Request::get(&format!("/accounts/{account}")));
        assert_eq!(response.status, 200);
    }
    let nanoseconds = begun.elapsed().as_nanos() / QUERIES;
    println!("one query over {ACCOUNTS} accounts: {nanoseconds} ns");
}
