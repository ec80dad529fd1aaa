//! Commands: durable when answered, so one sync is the limit of one client, and the engine that of
//! many, who share syncs.

use std::net::SocketAddr;
use std::time::Instant;

use crate::Result;
use crate::baseline::{Constant, SyncedFile, merged};
use crate::client::{Client, Request, post};
use crate::figure::{Figure, Target};
use crate::fill::account_id;
use crate::histogram::Histogram;
use crate::load::{Load, Measured, send_all};
use crate::process::{Binary, Directory, Process};
use crate::samples::{Bench, bytes_of, median};

pub(crate) const ACCOUNTS: u64 = 1000;
/// Commits that the size of one is averaged over; too few for a checkpoint to come between.
const SIZED_COMMITS: u64 = 32;

pub(crate) fn opening(number: u64) -> Request {
    let id = account_id(number);
    post("/accounts", &format!(r#"{{"account_id":"{id}","owner":"Somebody {number}"}}"#))
}

pub(crate) fn deposit(number: u64) -> Request {
    post(&format!("/accounts/{}/deposit", account_id(number)), r#"{"amount":1}"#)
}

/// The group `commands`.
pub(crate) fn commands(bench: &Bench) -> Result<Vec<Figure>> {
    let directory = Directory::fresh("commands")?;
    let registry = Process::registry()?;
    let db = directory.join("write_db.sqlite3");
    let write = Process::service(Binary::Write, Some(&db), Some(&registry))?;
    let commit_bytes = commit_bytes(write.address(), &directory)?;
    send_all(write.address(), &(1..ACCOUNTS).map(opening).collect::<Vec<_>>())?;
    let mut figures = one_client(bench, write.address(), &directory, commit_bytes)?;
    figures.extend(many_clients(bench, write.address())?);
    Ok(figures)
}

/// What one command adds to the write-ahead log, which is what its commit has to sync.
fn commit_bytes(address: SocketAddr, directory: &Directory) -> Result<usize> {
    let mut client = Client::connect(address)?;
    client.body_of(&opening(0))?;
    let log = directory.join("write_db.sqlite3-wal");
    let before = bytes_of(&log);
    for _ in 0..SIZED_COMMITS {
        client.body_of(&deposit(0))?;
    }
    Ok(usize::try_from(bytes_of(&log).saturating_sub(before) / SIZED_COMMITS)?.max(1))
}

/// One client and the disk in turn, a few milliseconds each: how long a sync takes depends on who
/// else uses disk and cores at that moment.
fn one_client(
    bench: &Bench,
    address: SocketAddr,
    directory: &Directory,
    commit_bytes: usize,
) -> Result<Vec<Figure>> {
    const IN_A_ROW: usize = 8;
    let mut disk = SyncedFile::new(directory, commit_bytes)?;
    let mut client = Client::connect(address)?;
    let (mut synced, mut latency) = (Histogram::default(), Histogram::default());
    let requests: Vec<_> = (0..ACCOUNTS).map(deposit).collect();
    let end = Instant::now() + 2 * bench.plan.span.measured * u32::try_from(bench.plan.rounds)?;
    for requests in requests.chunks(IN_A_ROW).cycle().take_while(|_| Instant::now() < end) {
        for _ in 0..IN_A_ROW {
            synced.record(disk.sync()?);
        }
        for request in requests {
            let begun = Instant::now();
            client.body_of(request)?;
            latency.record(begun.elapsed());
        }
    }
    let limit = format!("a sync of {commit_bytes} bytes");
    Ok(vec![
        Figure::seconds("commands.1.p50", "commands, 1 client, p50", latency.quantile(0.5))
            .against(&limit, synced.quantile(0.5))
            .target(Target::RatioAtMost(1.4)),
        Figure::seconds("commands.1.p99", "commands, 1 client, p99", latency.quantile(0.99))
            .against(&limit, synced.quantile(0.99)),
        Figure::per_second("commands.1.rate", "commands, 1 client", 1.0 / latency.mean())
            .against(&limit, 1.0 / synced.mean()),
    ])
}

fn many_clients(bench: &Bench, address: SocketAddr) -> Result<Vec<Figure>> {
    let constant = Constant::start()?;
    let spread: Vec<_> = (0..ACCOUNTS).map(deposit).collect();
    let one = [deposit(0)];
    let (spread, one) = (load(address, &spread, bench), load(address, &one, bench));
    let [limit, on_many, on_one] =
        bench.in_turn([&|| constant.measure(&bench.plan, 64), &|| spread.run(), &|| one.run()])?;
    let rate = median(&on_many);
    let what = "commands, 64 clients, 1 000 accounts";
    let open = bench.rounds(|| spread.at_half(rate).run())?;
    let mut figures = vec![
        Figure::per_second("commands.64.rate", what, rate)
            .against("constant response", median(&limit))
            .target(Target::RatioAtLeast(0.45)),
    ];
    figures.extend(tails("commands.64", what, &on_many, &open, 5e-3));
    figures.push(
        Figure::per_second(
            "commands.64.one-account.rate",
            "commands, 64 clients, one account",
            median(&on_one),
        )
        .against("1 000 accounts", rate)
        .target(Target::RatioAtLeast(0.8)),
    );
    Ok(figures)
}

/// A closed loop of 64 clients.
pub(crate) fn load<'a>(address: SocketAddr, requests: &'a [Request], bench: &Bench) -> Load<'a> {
    Load::closed(address, 64, requests, bench.plan.span)
}

/// The latencies of a load at its highest rate, and at half of it whatever comes back.
pub(crate) fn tails(
    id: &str,
    what: &str,
    closed: &[Measured],
    open: &[Measured],
    p99_target: f64,
) -> Vec<Figure> {
    let (closed, open) = (merged(closed), merged(open));
    let seconds = |suffix: &str, how: &str, value| {
        Figure::seconds(format!("{id}.{suffix}"), format!("{what}, {how}"), value)
    };
    vec![
        seconds("p50", "p50", closed.quantile(0.5)),
        seconds("p99", "p99", closed.quantile(0.99)).target(Target::Below(p99_target)),
        seconds("open.p50", "at half the rate, p50", open.quantile(0.5)),
        seconds("open.p99", "at half the rate, p99", open.quantile(0.99)).target(Target::Below(p99_target)),
        seconds("open.p999", "at half the rate, p99.9", open.quantile(0.999)),
    ]
}
