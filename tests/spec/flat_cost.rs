//! What must not depend on how much there is: a command costs the same on a long stream as on a
//! short one, and many clients share a sync.
//!
//! The slow suite, for release builds on a quiet machine; it prints ratios, for absolute figures
//! belong to the machine. `cargo test --release --test spec flat_cost -- --ignored --nocapture --test-threads 1`

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bank::{Bank, NO_REGISTRY, fill};
use crate::support::{Binary, Directory, Launch, Process, Wire};

const LONG_STREAM: u64 = 1_000_000;
/// The promise, for medians of one run.
const MAX_RATIO: f64 = 1.5;
const DEPOSIT: &str = r#"{"amount":1}"#;

#[test]
#[ignore = "slow suite: just flat-cost"]
fn a_deposit_on_an_account_with_a_million_events_takes_no_longer_than_on_a_fresh_one() {
    const SAMPLES: usize = 1000;
    const RESTARTS: usize = 15;
    let directory = Directory::fresh();
    let long = fill(&directory, LONG_STREAM).to_string();
    let bank = Bank::on(directory);
    let fresh = bank.open();
    assert_eq!(bank.head(), LONG_STREAM + 1);

    let mut wire = Wire::to(bank.process.address());
    let samples = (0..SAMPLES).map(|_| [&long, &fresh].map(|id| deposit_time(&mut wire, id)));
    let running = ratio(samples.collect());

    let (mut first, mut bank) = (Vec::new(), Some(bank));
    for _ in 0..RESTARTS {
        first.push([&long, &fresh].map(|id| {
            let restarted = bank.take().unwrap().after_a_restart();
            let bank = bank.insert(restarted);
            let mut wire = Wire::to(bank.process.address());
            assert_eq!(wire.send("GET", "/health", &[], b"").status, 200);
            deposit_time(&mut wire, id)
        }));
    }
    let first = ratio(first);
    eprintln!("{LONG_STREAM} events against few: {running:.2}; first after a restart: {first:.2}");
    assert!(running < MAX_RATIO && first < MAX_RATIO);
}

fn deposit_time(wire: &mut Wire, id: &str) -> Duration {
    let path = format!("/accounts/{id}/deposit");
    let begun = Instant::now();
    let reply = wire.send_json("POST", &path, DEPOSIT);
    let elapsed = begun.elapsed();
    assert_eq!(reply.status, 200, "{reply:?}");
    elapsed
}

/// The median of the first ones over the median of the second ones.
fn ratio(samples: Vec<[Duration; 2]>) -> f64 {
    let median = |which: usize| {
        let mut times: Vec<_> = samples.iter().map(|pair| pair[which]).collect();
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    };
    median(0) / median(1)
}

#[test]
#[ignore = "slow suite: just flat-cost"]
fn many_clients_get_more_done_than_one_because_they_share_a_sync() {
    const CLIENTS: usize = 64;
    const MANY_OVER_ONE: f64 = 5.0;
    const MAX_SYNCS_PER_COMMAND: f64 = 0.2;
    let bank = Bank::start();
    let ids: Vec<_> = (0..CLIENTS).map(|_| bank.open()).collect();
    let one = commands_per_second(&bank.process, &ids[..1]);
    let many = commands_per_second(&bank.process, &ids);
    let (syncs, commands) = syncs_and_commands(CLIENTS);
    let syncs_per_command = syncs as f64 / commands as f64;
    eprintln!(
        "{CLIENTS} clients against one: {:.1} times the commands; {syncs_per_command:.3} syncs a command",
        many / one
    );
    assert!(many / one >= MANY_OVER_ONE && syncs_per_command < MAX_SYNCS_PER_COMMAND);
}

/// One client for each account, each sends its next deposit when the last was answered.
fn commands_per_second(process: &Process, ids: &[String]) -> f64 {
    const RUN: Duration = Duration::from_secs(3);
    let begun = Instant::now();
    let count = deposits(process, ids, || begun.elapsed() >= RUN);
    count as f64 / begun.elapsed().as_secs_f64()
}

fn deposits(process: &Process, ids: &[String], is_over: impl Fn() -> bool + Sync) -> u64 {
    let (count, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for id in ids {
            let (count, over, is_over) = (&count, &over, &is_over);
            let mut wire = Wire::to(process.address());
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    deposit_time(&mut wire, id);
                    count.fetch_add(1, Ordering::Relaxed);
                    over.fetch_or(is_over(), Ordering::Relaxed);
                }
            });
        }
    });
    count.into_inner()
}

/// What so many clients cost, counted by strace where there is one, and else by the service.
fn syncs_and_commands(clients: usize) -> (u64, u64) {
    const COMMANDS: u64 = 10_000;
    let directory = Directory::fresh();
    let table = directory.join("syncs");
    let launch = Launch::on_free_port(Binary::Write, &directory).flag("--registry", NO_REGISTRY);
    // As a grandchild (-D), strace leaves the service our own child.
    let trace = ["strace", "-D", "-f", "-c", "-e", "trace=fdatasync,fsync", "-o", table.to_str().unwrap()];
    let is_traced = Command::new("strace").args(["-c", "-o", "/dev/null", "true"]).status();
    let is_traced = is_traced.is_ok_and(|status| status.success());
    let process = if is_traced { launch.under(&trace) } else { launch }.start();
    let client = process.client();
    let open = || client.post("/accounts", &json!({"owner": "Ada"})).expect(201).json();
    let ids: Vec<_> = (0..clients).map(|_| open()["stream_id"].as_str().unwrap().to_owned()).collect();
    let sent = AtomicU64::new(0);
    let commands = deposits(&process, &ids, || sent.fetch_add(1, Ordering::Relaxed) >= COMMANDS);
    let metrics = client.get("/metrics").expect(200);
    assert_eq!(process.stop().status.code(), Some(0));
    // The openings, one by one, are no part of it.
    let syncs = if is_traced { traced_calls(&table) } else { commits(metrics.text()) };
    (syncs - clients as u64, commands)
}

/// The column `calls` of the table that `strace -c` writes when its process has ended.
fn traced_calls(table: &std::path::Path) -> u64 {
    let calls = |table: &str| {
        let line = table.lines().find(|line| line.ends_with(" total"))?;
        line.split_whitespace().nth(3)?.parse().ok()
    };
    crate::support::wait_for("strace has written its table", || calls(&std::fs::read_to_string(table).ok()?))
}

fn commits(metrics: &str) -> u64 {
    let count = metrics.lines().find_map(|line| line.strip_prefix("tally_commit_commands_count "));
    count.unwrap().parse().unwrap()
}
