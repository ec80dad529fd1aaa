//! Read models made from the first event on, over HTTP: from nothing, and beside live ones that
//! go on answering.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tally::read_side::projections;

use crate::Result;
use crate::client::{Client, get, post};
use crate::figure::{Figure, Target, grouped};
use crate::load::{Load, Span};
use crate::queries::account;
use crate::samples::{Bench, median_of};
use crate::system::System;

const QUERYING_CLIENTS: usize = 16;
/// How long a rebuild may take before the run is given up.
const DEADLINE: Duration = Duration::from_secs(300);
/// How often a rebuild is asked whether it is done, and the load meanwhile until then.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
const STEP: Span = Span { warm_up: Duration::ZERO, measured: Duration::from_millis(250) };

/// The group `rebuild`.
pub(crate) fn rebuild(bench: &Bench) -> Result<Vec<Figure>> {
    let log = bench.filled()?;
    let system = System::on(&log.path, "rebuild")?;
    let begun = Instant::now();
    let read = system.read("read_db.sqlite3")?;
    read.wait_for_position(log.events)?;
    let from_nothing = log.events as f64 / begun.elapsed().as_secs_f64();
    let address = read.address();
    let alone = rebuild_all(address, || {
        std::thread::sleep(LOOK_INTERVAL);
        Ok(())
    })?;
    let requests: Vec<_> = (0..log.accounts).map(account).collect();
    let querying = Load::closed(address, QUERYING_CLIENTS, &requests, STEP);
    let before = median_of(bench.rounds(|| Ok(querying.run()?.per_second))?);
    let mut meanwhile = Vec::new();
    let beside = rebuild_all(address, || {
        meanwhile.push(querying.run()?.per_second);
        Ok(())
    })?;
    let rate = |id: &str, how: &str, value| {
        let what = format!("rebuild, {} events, {how}", grouped(log.events));
        Figure::per_second(format!("rebuild.{id}.rate"), what, value).target(Target::AtLeast(300_000.0))
    };
    let events = log.events as f64;
    Ok(vec![
        rate("from-nothing", "from nothing", from_nothing),
        rate("beside", "beside the live ones", events / alone.as_secs_f64()),
        rate("queried", "beside live ones that are queried", events / beside.as_secs_f64()),
        Figure::per_second("rebuild.queries.rate", "queries meanwhile, 16 clients", median_of(meanwhile))
            .against("queries before", before)
            .target(Target::RatioAtLeast(0.7)),
    ])
}

/// Rebuilds all projections at once, and does `meanwhile` again and again until all are done.
fn rebuild_all(read: SocketAddr, mut meanwhile: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut client = Client::connect(read)?;
    let begun = Instant::now();
    for name in projections().iter().map(|projection| projection.name) {
        client.body_of(&post(&format!("/projections/{name}/rebuild"), "{}"))?;
    }
    loop {
        meanwhile()?;
        let answer: Value = serde_json::from_slice(client.body_of(&get("/projections"))?)?;
        let projections = answer["projections"].as_array().ok_or("no projections")?;
        if projections.iter().all(|projection| projection["state"] == "live") {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > DEADLINE {
            return Err(format!("the rebuild does not end: {answer}").into());
        }
    }
}
