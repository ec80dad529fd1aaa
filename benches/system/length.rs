//! What grows and must not cost: the length of the log, and the length of one stream.

use std::time::Instant;

use crate::Result;
use crate::client::{Client, Request};
use crate::commands::{deposit, load};
use crate::figure::{Figure, Target, grouped};
use crate::fill::{ACCOUNTS, Filled, Spread};
use crate::histogram::Histogram;
use crate::load::send_all;
use crate::process::{Binary, Process};
use crate::queries::account;
use crate::samples::{Bench, median, median_of};
use crate::system::System;

const SHORT_LOG_EVENTS: u64 = 10_000;
/// Accounts that commands and queries go over, the same in both logs.
const USED_ACCOUNTS: u64 = 1000;

/// A system on a log of some length, with one read service.
struct Side {
    system: System,
    read: Process,
    deposits: Vec<Request>,
    queries: Vec<Request>,
}

impl Side {
    fn start(log: &Filled, name: &str) -> Result<Self> {
        let system = System::on(&log.path, name)?;
        let used = 0..USED_ACCOUNTS.min(log.accounts);
        let deposits: Vec<_> = used.clone().map(deposit).collect();
        // The first command ever replays a whole stream, which the store's own writing has not snapshot.
        send_all(system.write.address(), &deposits)?;
        system.read("read_db.sqlite3")?.wait_for_position(log.events)?;
        // Started again, so that it has the memory of one that follows, not of one that caught up.
        let read = system.read("read_db.sqlite3")?;
        Ok(Self { system, read, deposits, queries: used.map(account).collect() })
    }
}

/// The group `log`: a long log beside a short one.
pub(crate) fn log(bench: &Bench) -> Result<Vec<Figure>> {
    let copied = bench.filled()?.copy("long-log")?;
    let short = Filled::new("short-log", SHORT_LOG_EVENTS, Spread::Over(ACCOUNTS))?;
    let (long, short) = (Side::start(&copied, "long")?, Side::start(&short, "short")?);
    let mut figures = starts(bench, &copied)?;
    let [long_writes, short_writes, long_reads, short_reads] = bench.in_turn([
        &|| load(long.system.write.address(), &long.deposits, bench).run(),
        &|| load(short.system.write.address(), &short.deposits, bench).run(),
        &|| load(long.read.address(), &long.queries, bench).run(),
        &|| load(short.read.address(), &short.queries, bench).run(),
    ])?;
    let (limit, length) = (format!("{} events", grouped(SHORT_LOG_EVENTS)), grouped(copied.events));
    let rate = |id: &str, what: &str, long, short| {
        let what = format!("{what}, 64 clients, log of {length} events");
        Figure::per_second(format!("log.{id}.rate"), what, median(long))
            .against(&limit, median(short))
            .target(Target::RatioAtLeast(0.9))
    };
    figures.push(rate("commands", "commands", &long_writes, &short_writes));
    figures.push(rate("queries", "queries", &long_reads, &short_reads));
    let memory = |id: &str, what: &str, long: &Process, short: &Process| -> Result<Figure> {
        let what = format!("{what}, memory after that, log of {length} events");
        Ok(Figure::bytes(format!("log.{id}.rss"), what, long.resident_bytes()?)
            .against(&limit, short.resident_bytes()? as f64)
            .target(Target::RatioAtMost(1.2)))
    };
    figures.push(memory("write", "write-service", &long.system.write, &short.system.write)?);
    figures.push(memory("read", "read-service", &long.read, &short.read)?);
    Ok(figures)
}

/// A write service's start on a long log, another one's file.
fn starts(bench: &Bench, log: &Filled) -> Result<Vec<Figure>> {
    let log = log.copy("start-of-long-log")?;
    let starts = (0..bench.plan.samples)
        .map(|_| Ok(Process::service(Binary::Write, Some(&log.path), None)?.ready_after().as_secs_f64()));
    let what = format!("write-service, start on {} events, p50", grouped(log.events));
    let p50 = median_of(starts.collect::<Result<_>>()?);
    Ok(vec![Figure::seconds("log.start", what, p50).target(Target::Below(0.2))])
}

/// The group `stream`: one long stream beside a short one in the same log.
pub(crate) fn stream(bench: &Bench) -> Result<Vec<Figure>> {
    let log = Filled::new("stream", bench.plan.events, Spread::OnOne)?;
    let start = || Process::service(Binary::Write, Some(&log.path), None);
    // The first command ever replays all events, which the store's own writing has not snapshot.
    for account in [0, 1] {
        Client::connect(start()?.address())?.body_of(&deposit(account))?;
    }
    let mut first = [Vec::new(), Vec::new()];
    for _ in 0..bench.plan.samples {
        for (account, times) in (0..).zip(&mut first) {
            let service = start()?;
            let mut client = Client::connect(service.address())?;
            let begun = Instant::now();
            client.body_of(&deposit(account))?;
            times.push(begun.elapsed().as_secs_f64());
        }
    }
    let [first_long, first_short] = first.map(median_of);
    let service = start()?;
    let mut client = Client::connect(service.address())?;
    let mut next = [Histogram::default(), Histogram::default()];
    let end = Instant::now() + 2 * bench.plan.span.measured;
    while Instant::now() < end {
        for (account, latency) in (0..).zip(&mut next) {
            let begun = Instant::now();
            client.body_of(&deposit(account))?;
            latency.record(begun.elapsed());
        }
    }
    let [next_long, next_short] = next.map(|latency| latency.quantile(0.5));
    let length = grouped(bench.plan.events);
    let figure = |id: &str, what: &str, long, short| {
        let what = format!("{what}, stream of {length} events, p50");
        Figure::seconds(format!("stream.{id}.p50"), what, long)
            .against("10 events", short)
            .target(Target::RatioAtMost(1.1))
    };
    Ok(vec![
        figure("first", "first deposit after a start", first_long, first_short),
        figure("next", "deposit", next_long, next_short),
    ])
}
