//! The event feed, read from the first event to the last by one reader.

use std::net::SocketAddr;
use std::time::Instant;

use crate::Result;
use crate::baseline::scan;
use crate::client::{Client, get};
use crate::figure::{Figure, Target, grouped};
use crate::samples::{Bench, median_of};
use crate::system::System;

/// The most that a page may have.
const PAGE_EVENTS: u64 = 10_000;

/// The group `feed`.
pub(crate) fn feed(bench: &Bench) -> Result<Vec<Figure>> {
    let log = bench.filled()?;
    let system = System::on(&log.path, "feed")?;
    let (mut read, mut scanned) = (Vec::new(), Vec::new());
    for _ in 0..bench.plan.rounds {
        scanned.push(scan(&log.path)?);
        read.push(read_all(system.write.address(), log.events)?);
    }
    let what = format!("feed, one reader, {} events", grouped(log.events));
    Ok(vec![
        Figure::per_second("feed.rate", what, median_of(read))
            .against("SQLite scans the table", median_of(scanned))
            .target(Target::AtLeast(500_000.0)),
    ])
}

/// Events a second.
fn read_all(address: SocketAddr, events: u64) -> Result<f64> {
    let mut client = Client::connect(address)?;
    let begun = Instant::now();
    let mut after = 0;
    while after < events {
        let page = client.body_of(&get(&format!("/events?after={after}&limit={PAGE_EVENTS}")))?;
        let last = last_position(page).ok_or("a page without events before the end of the log")?;
        if last <= after || last > after + PAGE_EVENTS {
            return Err(format!("after {after} came a page that ends with {last}").into());
        }
        after = last;
    }
    Ok(events as f64 / begun.elapsed().as_secs_f64())
}

/// Of the last event of a page, found from its end: reading all of it is not the service's cost.
fn last_position(page: &[u8]) -> Option<u64> {
    const NAME: &[u8] = br#"{"position":"#;
    let start = page.windows(NAME.len()).rposition(|window| window == NAME)? + NAME.len();
    let digits = page[start..].split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
