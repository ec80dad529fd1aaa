//! Input that nobody would write, made from a committed corpus: heads, bodies, cursors, feed pages.
//!
//! Each case comes from a seed of its own, which a failure prints; `TALLY_FUZZ_SEED` makes that case
//! the first. `just fuzz SECONDS` goes on for so long on each reader; `cargo test` looks at a few
//! hundred cases.
//!
//! **Invariant:** whatever comes, a reader answers with a value or an error: no panic, no hang.

mod mutation;
mod queries;

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use tally::es::{Feed, FeedError, Page, Projector};
use tally::http::{Engine, Fields, Request};

use crate::http_peer::{Peer, Service, Setup};
use crate::support::Directory;
use mutation::{Random, corpus, mutated};

/// Cases of the short variant.
const CASES: u64 = 400;
/// Where the seeds begin, unless the environment says otherwise.
const FIRST_SEED: u64 = 1;

/// When to stop.
#[derive(Clone, Copy)]
enum Limit {
    Cases(u64),
    Time(Duration),
}

impl Limit {
    fn of_environment() -> Self {
        let seconds = std::env::var("TALLY_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
        Self::Time(Duration::from_secs(seconds.unwrap_or(5)))
    }
}

/// Names the case that is being tried when it panics.
struct Case {
    seed: u64,
    bytes: Vec<u8>,
}

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("TALLY_FUZZ_SEED={} repeats it: {}", self.seed, self.bytes.escape_ascii());
        }
    }
}

/// Gives `try_one` mutations of the corpus `name` until `limit`.
fn fuzz(name: &str, limit: Limit, try_one: impl FnMut(&[u8])) {
    fuzz_from(name, &corpus(name), limit, try_one);
}

fn fuzz_from(name: &str, seeds: &[Vec<u8>], limit: Limit, mut try_one: impl FnMut(&[u8])) {
    let first = std::env::var("TALLY_FUZZ_SEED").ok().and_then(|text| text.parse().ok());
    let first: u64 = first.unwrap_or(FIRST_SEED);
    let begun = Instant::now();
    let mut count = 0;
    while match limit {
        Limit::Cases(cases) => count < cases,
        Limit::Time(time) => begun.elapsed() < time,
    } {
        let seed = first.wrapping_add(count);
        let case = Case { seed, bytes: mutated(seeds, &mut Random::of(seed)) };
        try_one(&case.bytes);
        count += 1;
    }
    eprintln!("{name}: {count} cases in {:?}", begun.elapsed());
}

// ------------------------------------------------------------------------------ HTTP heads

fn heads(limit: Limit) {
    let service = Setup::on(Engine::Blocking).start();
    fuzz("http_heads", limit, |bytes| one_connection(&service, bytes));
    service.wait_until(|stats| stats.open == 0);
    service.peer().is_open();
}

/// The server answers what it wants, in HTTP, and then closes.
fn one_connection(service: &Service, bytes: &[u8]) {
    let mut peer: Peer = service.peer();
    peer.send(bytes);
    peer.end_sending();
    let mut answer = Vec::new();
    match peer.stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert!(
            matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
            "the connection hangs: {error}"
        ),
    }
    let text = answer.escape_ascii();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "no HTTP: {text}");
    assert!(!answer.starts_with(b"HTTP/1.1 500"), "a panic: {text}");
}

#[test]
fn no_head_makes_the_engine_panic_or_hang() {
    heads(Limit::Cases(CASES));
}

#[test]
#[ignore = "slow suite: just fuzz"]
fn no_head_makes_the_engine_panic_or_hang_however_many_come() {
    heads(Limit::of_environment());
}

// ----------------------------------------------------------------------------- JSON bodies

fn bodies(limit: Limit) {
    fuzz("json_bodies", limit, |bytes| {
        let mut request = Request::post("/", "");
        request.body = bytes.to_vec();
        let Ok(mut fields) = Fields::of(&request) else { return };
        // What was read as an object must be one to another reader, too.
        let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        assert!(value.is_object());
        let amount = fields.whole_number("amount", 1..=9_007_199_254_740_991);
        if let Ok(Some(amount)) = amount {
            assert_eq!(value["amount"].as_u64(), Some(amount));
        }
        let _ = fields.text("owner");
        let _ = fields.uuid("account_id");
        let _ = fields.finish();
    });
}

#[test]
fn no_body_makes_the_reader_of_fields_panic_or_guess() {
    bodies(Limit::Cases(10 * CASES));
}

#[test]
#[ignore = "slow suite: just fuzz"]
fn no_body_makes_the_reader_of_fields_panic_or_guess_however_many_come() {
    bodies(Limit::of_environment());
}

// ------------------------------------------------------------------------------ feed pages

/// One page, and then a failure.
struct Once(Option<Vec<u8>>);

impl Feed for Once {
    fn next_page(&mut self, _: u64, _: u32, _: Duration) -> Result<Page, FeedError> {
        self.0.take().map(|json| Page { json }).ok_or_else(|| FeedError::new("no more"))
    }
}

fn pages(limit: Limit) {
    let directory = Directory::fresh();
    let path = directory.join("read.sqlite3");
    let genuine: serde_json::Value = serde_json::from_slice(&corpus("feed_pages")[0]).unwrap();
    let genuine = genuine["events"].as_array().unwrap().len() as u64;
    let mut projector = None;
    fuzz("feed_pages", limit, |bytes| {
        let projector_now = projector.get_or_insert_with(|| fresh(&path));
        let _ = Page { json: bytes.to_vec() }.content();
        let _ = projector_now.catch_up(&mut Once(Some(bytes.to_vec())), u64::MAX);
        let statuses = projector_now.status();
        // The chain lets nothing through that the write side did not record.
        assert!(statuses.iter().all(|status| status.position <= genuine), "{statuses:?}");
        if statuses.iter().any(|status| status.position > 0 || status.error.is_some()) {
            projector = None;
        }
    });
}

/// With the projections of the read side, on an empty database.
fn fresh(path: &std::path::Path) -> Projector {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    Projector::open(path, &tally::read_side::projections()).unwrap()
}

#[test]
fn no_page_makes_a_projector_panic_or_take_what_was_not_recorded() {
    pages(Limit::Cases(CASES));
}

#[test]
#[ignore = "slow suite: just fuzz"]
fn no_page_makes_a_projector_panic_or_take_what_was_not_recorded_however_many_come() {
    pages(Limit::of_environment());
}
