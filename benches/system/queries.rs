//! Queries: one row by its key, so the engine's constant response is the limit.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::Result;
use crate::baseline::Constant;
use crate::client::{Client, Request, get};
use crate::commands::{self, deposit, load, opening, tails};
use crate::figure::{Figure, Target, grouped};
use crate::fill::{Filled, Spread, account_id};
use crate::histogram::Histogram;
use crate::load::{Load, Measured, send_all};
use crate::samples::{Bench, median};
use crate::system::System;

pub(crate) fn account(number: u64) -> Request {
    get(&format!("/accounts/{}", account_id(number)))
}

/// The group `queries`.
pub(crate) fn queries(bench: &Bench) -> Result<Vec<Figure>> {
    let accounts = bench.plan.queried_accounts;
    let log = Filled::new("queried", 2 * accounts, Spread::Over(accounts))?;
    let system = System::on(&log.path, "queries")?;
    let read = system.read("read_db.sqlite3")?;
    read.wait_for_position(log.events)?;
    let (address, constant) = (read.address(), Constant::start()?);
    let requests: Vec<_> = (0..accounts).map(account).collect();
    let mut figures = Vec::new();
    for clients in [16, 64] {
        let asking = Load::closed(address, clients, &requests, bench.plan.span);
        let [limit, asked] = bench.in_turn([&|| constant.measure(&bench.plan, clients), &|| asking.run()])?;
        let what = format!("queries, {clients} clients, {} accounts", grouped(accounts));
        let rate = median(&asked);
        figures.push(
            Figure::per_second(format!("queries.{clients}.rate"), &what, rate)
                .against("constant response", median(&limit))
                .target(Target::RatioAtLeast(0.85)),
        );
        if clients == 64 {
            let open = bench.rounds(|| asking.at_half(rate).run())?;
            figures.extend(tails("queries.64", &what, &asked, &open, 3e-3));
        }
    }
    figures.extend(other_queries(bench, address, accounts)?);
    Ok(figures)
}

/// What has no target, to compare runs by.
fn other_queries(bench: &Bench, address: SocketAddr, accounts: u64) -> Result<Vec<Figure>> {
    let kinds = [
        ("statement", "statements of 20 lines", "/transactions?limit=20"),
        ("time-travel", "accounts as they were", "?at_version=1"),
    ];
    let mut figures = Vec::new();
    for (id, what, suffix) in kinds {
        let path = |number| get(&format!("/accounts/{}{suffix}", account_id(number)));
        let requests: Vec<_> = (0..accounts).map(path).collect();
        let rate = load(address, &requests, bench).run()?.per_second;
        let what = format!("queries, 64 clients, {what}");
        figures.push(Figure::per_second(format!("queries.{id}.rate"), what, rate));
    }
    Ok(figures)
}

/// The group `visible`: from the receipt of a command to the answer of a query that contains it,
/// while 64 other clients send commands.
pub(crate) fn visible(bench: &Bench) -> Result<Vec<Figure>> {
    let system = System::fresh("visible")?;
    let read = system.read("read_db.sqlite3")?;
    let (write, read) = (system.write.address(), read.address());
    send_all(write, &(0..commands::ACCOUNTS).map(opening).collect::<Vec<_>>())?;
    let requests: Vec<_> = (0..commands::ACCOUNTS).map(deposit).collect();
    let closed = load(write, &requests, bench);
    let highest = bench.rounds(|| beside(closed, write, read))?;
    let rate = median(&highest.iter().map(|(measured, _)| measured.clone()).collect::<Vec<_>>());
    let half = bench.rounds(|| beside(closed.at_half(rate), write, read))?;
    let mut figures = Vec::new();
    for (id, how, rounds) in
        [("full", "commands at the highest rate", highest), ("half", "at half of it", half)]
    {
        let mut latency = Histogram::default();
        rounds.iter().for_each(|(_, seen)| latency.add(seen));
        let what = format!("receipt to visible, {how}");
        let [p50, p99] = [("p50", 0.5, 2e-3), ("p99", 0.99, 10e-3)].map(|(name, share, target)| {
            let value = latency.quantile(share);
            Figure::seconds(format!("visible.{id}.{name}"), format!("{what}, {name}"), value)
                .target(Target::Below(target))
        });
        figures.extend([p50, p99]);
    }
    let commands = Figure::per_second("visible.commands.rate", "commands beside a reader", rate);
    figures.push(commands);
    Ok(figures)
}

/// Runs the load, and beside it a client that writes and then asks for what it wrote.
fn beside(load: Load<'_>, write: SocketAddr, read: SocketAddr) -> Result<(Measured, Histogram)> {
    std::thread::scope(|scope| {
        let probe = scope.spawn(move || probe(load.span.warm_up + load.span.measured, write, read));
        let measured = load.run()?;
        let seen = probe.join().map_err(|_| "the probe panicked")??;
        Ok((measured, seen))
    })
}

fn probe(duration: Duration, write: SocketAddr, read: SocketAddr) -> Result<Histogram> {
    let (mut write, mut read) = (Client::connect(write)?, Client::connect(read)?);
    let mut latency = Histogram::default();
    let end = Instant::now() + duration;
    while Instant::now() < end {
        let receipt: serde_json::Value = serde_json::from_slice(write.body_of(&deposit(0))?)?;
        let received = Instant::now();
        let position = receipt["position"].as_u64().ok_or("a receipt without a position")?;
        let path = format!("/accounts/{}?min_position={position}&wait=30", account_id(0));
        read.body_of(&get(&path))?;
        latency.record(received.elapsed());
    }
    Ok(latency)
}

/// The group `replicas`: what read services that nobody asks cost the write side.
pub(crate) fn replicas(bench: &Bench) -> Result<Vec<Figure>> {
    let system = System::fresh("replicas")?;
    let write = system.write.address();
    send_all(write, &(0..commands::ACCOUNTS).map(opening).collect::<Vec<_>>())?;
    let requests: Vec<_> = (0..commands::ACCOUNTS).map(deposit).collect();
    let writing = load(write, &requests, bench);
    let with = |count: usize| -> Result<Measured> {
        let readers = (0..count).map(|number| system.read(&format!("read_{number}.sqlite3")));
        let readers = readers.collect::<Result<Vec<_>>>()?;
        let head = head(write)?;
        readers.iter().try_for_each(|reader| reader.wait_for_position(head))?;
        writing.run()
    };
    let [none, one, two, four] = bench.in_turn([&|| with(0), &|| with(1), &|| with(2), &|| with(4)])?;
    let none = median(&none);
    let figure = |count: usize, measured: &[Measured]| {
        let what = format!("commands, 64 clients, {count} read service(s) follow");
        Figure::per_second(format!("replicas.{count}.rate"), what, median(measured))
            .against("commands that none follows", none)
            .target(Target::RatioAtLeast(0.9))
    };
    Ok(vec![figure(1, &one), figure(2, &two), figure(4, &four)])
}

fn head(write: SocketAddr) -> Result<u64> {
    let mut client = Client::connect(write)?;
    let health: serde_json::Value = serde_json::from_slice(client.body_of(&get("/health"))?)?;
    health["head"].as_u64().ok_or_else(|| "a write side without a head".into())
}
