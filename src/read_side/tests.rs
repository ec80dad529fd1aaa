//! Not a test but a measurement, by hand: `cargo test --release --lib replay_rate -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use crate::es::Projector;
use crate::es::tests::{Log, LogFeed, TempPath};

/// Prints and asserts nothing about time: another machine is another number.
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
    let running = Projector::open(&path, &super::projections())
        .unwrap()
        .start(feed, Duration::from_millis(100))
        .unwrap();
    for name in ["accounts", "transactions", "summary"] {
        running.watch(name).unwrap().wait_for(EVENTS as u64, Duration::from_secs(60));
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{}",
        std::fs::read_to_string("/proc/self/stat")
            .unwrap_or_default()
            .split(' ')
            .skip(13)
            .take(2)
            .collect::<Vec<_>>()
            .join(" user/system ticks ")
    );
    println!("replayed {EVENTS} events in {seconds:.3} s: {:.0} events/s", EVENTS as f64 / seconds);
}
