//! The write service with four times more clients than it takes: who is refused is told so at once,
//! who is acknowledged is recorded, and afterwards nothing of it is left.
//!
//! `just overload-test` goes on for half a minute. Latencies are printed and judged by what is promised
//! on any machine, not by what this one can do.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http_peer::Peer;
use crate::support::{DEADLINE, Directory, Process, System, wait_until};

/// What the engine takes by default; four times more come.
const CONNECTIONS: usize = 1024;
const CLIENTS: usize = 4 * CONNECTIONS;
/// More than std would let wait to be accepted, which is 128.
const CROWD: usize = 300;
/// More than may wait at once, which is 256.
const POLLS: usize = 300;
/// Enough for a client here, so that thousands cost nothing to speak of.
const STACK_BYTES: usize = 96 << 10;
/// What a thousand connections with their threads may take, and by how much that may differ from one
/// time to the next. What is left when they are gone is the allocator's, who keeps it for the next.
const PEAK_KIB: u64 = 128 << 10;
const GROWN_KIB: u64 = 32 << 10;
/// Fills the caches, which have limits of their own, and the arenas of the allocator.
const WARM_UP: Duration = Duration::from_secs(10);
/// Threads that may be left: those for who asks, and for the last to ask.
const LEFT_THREADS: u64 = 8;
/// The write side gives up waiting for its writer after this. It is long for a refusal, too, but was not
/// for those whose handshakes were dropped.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// How long one who is refused stays away: shorter than `Retry-After` asks.
const PAUSE: Duration = Duration::from_millis(200);

/// What one client got.
#[derive(Default)]
struct Served {
    acknowledged: Vec<String>,
    refused: usize,
    cut: usize,
    slowest_receipt: Duration,
    slowest_refusal: Duration,
}

fn resident_kib(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// As many as this process may open sockets for, with some to spare for other tests.
fn clients() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let limit = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(1024_usize);
    CLIENTS.min(limit / 3)
}

/// A client that opens accounts until `end`, and comes back a little later when it is refused.
fn open_accounts(address: SocketAddr, end: Instant) -> Served {
    let mut served = Served::default();
    let body = r#"{"owner":"Ada"}"#;
    let request = format!(
        "POST /accounts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut peer = None;
    while Instant::now() < end {
        // With the handshake, where there is one: that is what the client waits for.
        let begun = Instant::now();
        let mut open = peer.take().unwrap_or_else(|| Peer::at(address, DEADLINE));
        open.send(&request);
        match open.try_answer() {
            Ok(answer) if answer.status == 201 => {
                let receipt: Value = serde_json::from_slice(&answer.body).unwrap();
                served.acknowledged.push(receipt["stream_id"].as_str().unwrap().to_owned());
                served.slowest_receipt = served.slowest_receipt.max(begun.elapsed());
                peer = Some(open);
                continue;
            }
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{answer:?}");
                assert!(answer.header("Retry-After").is_some(), "{answer:?}");
                served.slowest_refusal = served.slowest_refusal.max(begun.elapsed());
                served.refused += 1;
            }
            Err(_) => served.cut += 1,
        }
        std::thread::park_timeout(PAUSE);
    }
    served
}

/// All of them at once, and the most memory the service had meanwhile.
fn stampede(write: &Process, time: Duration) -> (Served, u64) {
    let address = write.address().parse().unwrap();
    let (end, over) = (Instant::now() + time, AtomicBool::new(false));
    std::thread::scope(|scope| {
        let peak = scope.spawn(|| {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(resident_kib(write));
                std::thread::park_timeout(Duration::from_millis(20));
            }
            peak
        });
        let start = |_| {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            thread.spawn_scoped(scope, move || open_accounts(address, end)).unwrap()
        };
        let threads: Vec<_> = (0..clients()).map(start).collect();
        let all = threads.into_iter().map(|thread| thread.join().unwrap()).fold(Served::default(), sum);
        over.store(true, Ordering::Relaxed);
        (all, peak.join().unwrap())
    })
}

fn sum(mut all: Served, one: Served) -> Served {
    all.acknowledged.extend(one.acknowledged);
    all.refused += one.refused;
    all.cut += one.cut;
    all.slowest_receipt = all.slowest_receipt.max(one.slowest_receipt);
    all.slowest_refusal = all.slowest_refusal.max(one.slowest_refusal);
    all
}

/// The streams of the whole feed.
fn recorded(write: &Process) -> BTreeSet<String> {
    let (mut streams, mut after) = (BTreeSet::new(), 0);
    loop {
        let page = write.client().get(&format!("/events?after={after}&limit=10000")).expect(200).json();
        let events = page["events"].as_array().unwrap();
        let Some(last) = events.last() else { return streams };
        after = last["position"].as_u64().unwrap();
        streams.extend(events.iter().map(|event| event["stream_id"].as_str().unwrap().to_owned()));
    }
}

fn gauge(write: &Process, name: &str) -> u64 {
    let scrape = write.client().get("/metrics").expect(200);
    let line = scrape.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap()
}

/// Overloads the service for `time`, looks up every promise, and says how much memory it took.
fn survives(write: &Process, time: Duration) -> u64 {
    let before = resident_kib(write);
    let (served, peak) = stampede(write, time);
    eprintln!(
        "{} acknowledged, {} refused, {} cut; slowest receipt {:?}, slowest refusal {:?}",
        served.acknowledged.len(),
        served.refused,
        served.cut,
        served.slowest_receipt,
        served.slowest_refusal
    );
    // The one that asks is open itself.
    wait_until("the connections are gone", || gauge(write, "tally_http_open_connections") == 1);
    eprintln!("memory: before {before} KiB, peak {peak} KiB, after {} KiB", resident_kib(write));
    assert!(peak < before + PEAK_KIB, "from {before} KiB to {peak} KiB");
    assert_eq!(served.cut, 0, "closed without a word");
    let slowest = served.slowest_receipt.max(served.slowest_refusal);
    assert!(slowest < ANSWERED_WITHIN, "an answer took {slowest:?}");
    assert!(!served.acknowledged.is_empty());
    assert!(served.refused > 0 || clients() <= CONNECTIONS, "it was not overloaded");
    let recorded = recorded(write);
    assert!(served.acknowledged.iter().all(|id| recorded.contains(id)), "an acknowledged command is lost");
    let distinct: BTreeSet<_> = served.acknowledged.iter().collect();
    assert_eq!(distinct.len(), served.acknowledged.len(), "one receipt was given twice");
    peak
}

fn start(directory: &Directory) -> Process {
    let write = System::write(directory, "http://127.0.0.1:1").start();
    write.client().post("/accounts", &json!({"owner": "Ada"})).expect(201);
    write
}

#[test]
#[ignore = "slow suite: just overload-test"]
fn four_times_more_clients_than_it_takes_lose_no_receipt_and_leave_no_connection_behind() {
    let directory = Directory::fresh();
    survives(&start(&directory), Duration::from_secs(2));
}

#[test]
#[ignore = "slow suite: just overload-test"]
fn half_a_minute_of_overload_loses_no_receipt_and_leaves_nothing_behind() {
    let directory = Directory::fresh();
    let write = start(&directory);
    let soon = survives(&write, WARM_UP);
    let late = survives(&write, Duration::from_secs(30));
    assert!(late < soon + GROWN_KIB, "from {soon} KiB to {late} KiB: it grows");
    // Who asks keeps no more threads than it needs: the others grow old.
    wait_until("the threads are gone", || gauge(&write, "tally_http_threads") <= LEFT_THREADS);
    eprintln!("in the end {} KiB", resident_kib(&write));
}

/// The system lets them in. Where it has no room it drops handshakes, and this would connect in vain.
#[test]
fn a_crowd_that_comes_while_the_service_stands_still_is_served_when_it_goes_on() {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    let most = most.ok().and_then(|most| most.trim().parse().ok()).unwrap_or(100);
    let directory = Directory::fresh();
    let write = System::write(&directory, "http://127.0.0.1:1").start();
    let address = write.address().parse().unwrap();
    write.signal("STOP");
    let crowd: Vec<_> = (0..most.min(CROWD))
        .map(|_| TcpStream::connect_timeout(&address, Duration::from_secs(20)).unwrap())
        .collect();
    write.signal("CONT");
    for stream in crowd {
        let mut peer = Peer::on(stream, DEADLINE);
        peer.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(peer.answer().status, 200);
    }
}

#[test]
fn more_long_polls_than_may_wait_leave_room_for_commands() {
    let directory = Directory::fresh();
    let write = System::write(&directory, "http://127.0.0.1:1").start();
    let poll = b"GET /events?after=1000000&wait=30 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let polls: Vec<_> = (0..POLLS)
        .map(|_| {
            let mut stream = TcpStream::connect(write.address()).unwrap();
            std::io::Write::write_all(&mut stream, poll).unwrap();
            stream
        })
        .collect();
    let waiting = "tally_http_waiting_requests 256";
    wait_until("as many wait as may", || write.client().get("/metrics").text().contains(waiting));
    let refused = write.client().get("/events?after=1000000&wait=30").expect(503);
    assert!(refused.header("Retry-After").is_some());
    for _ in 0..20 {
        write.client().post("/accounts", &json!({"owner": "Ada"})).expect(201);
    }
    assert!(write.client().get("/metrics").text().contains(waiting), "they were waiting all the time");
    drop(polls);
}
