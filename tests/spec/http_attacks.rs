//! The blocking engine under attack, with bounded loads.
//!
//! Every attack runs beside clients who behave. They must never notice more than a slower machine:
//! no refusal, no cut connection. Afterwards nothing of the attack is left: no connection, no
//! memory to speak of. Latencies are printed, not judged: they belong to the machine.
//!
//! `just attack-test` runs the slow ones, one after the other, optimised:
//! `cargo test --release --test spec -- --ignored --nocapture --test-threads=1 http_attacks`

mod descriptors;
mod neighbours;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tally::http::{Engine, Options};

use super::http_peer::{MAX_POLLS, Peer, Service, Setup};
use neighbours::{besides, resident_kib, silence_panics};

const HELLO: &str = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
/// How long an attack lasts.
const ATTACK: Duration = Duration::from_secs(3);
/// What an attack may cost while it lasts, in KiB: a thousand threads with their buffers, and as
/// much again for this side's sockets and the allocator.
const MEMORY_KIB: u64 = 96 * 1024;

fn start(change: impl FnOnce(&mut Options)) -> Service {
    Setup::on(Engine::Blocking).start_with(change)
}

/// As many connections as the attack wants and this process may open.
fn crowd(wanted: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let limit = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(1024_usize);
    wanted.min(limit / 4)
}

/// Keeps `count` connections busy with `step`, which is told how often it was called for that
/// connection and says whether it can go on; one that cannot is replaced by a new one.
fn keep_going(service: &Service, count: usize, mut step: impl FnMut(&mut TcpStream, usize) -> bool) {
    let end = Instant::now() + ATTACK;
    let mut attackers: Vec<(TcpStream, usize)> = Vec::new();
    while Instant::now() < end {
        attackers.resize_with(count, || (attacker(service), 0));
        attackers.retain_mut(|(stream, turn)| {
            *turn += 1;
            step(stream, *turn - 1)
        });
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn attacker(service: &Service) -> TcpStream {
    let stream = TcpStream::connect(service.server.local_addr()).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Sends what the server takes at once, and says whether the connection is alive.
fn drip(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    match stream.write(bytes) {
        Ok(sent) => sent > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

/// Runs `attack` beside well-behaved clients, and checks what it leaves behind.
fn survives(name: &str, service: &Service, attack: impl FnOnce() + Send) {
    let before = resident_kib();
    let peak = besides(name, service, attack);
    assert!(peak < before + MEMORY_KIB, "{name}: from {before} KiB to {peak} KiB");
    service.wait_until(|stats| stats.open == 0);
    service.peer().is_open();
}

#[test]
#[ignore = "slow suite: just attack-test"]
fn a_thousand_slow_heads_do_not_disturb_others() {
    let service = start(|options| options.head_timeout = Duration::from_secs(1));
    survives("slow heads", &service, || {
        keep_going(&service, crowd(1000), |stream, _| drip(stream, b"G"));
    });
    // The threads go when they have been idle for a while.
    service.wait_until(|stats| stats.threads <= 1);
}

#[test]
#[ignore = "slow suite: just attack-test"]
fn a_thousand_slow_bodies_do_not_disturb_others() {
    let service = start(|options| options.body_timeout = Duration::from_secs(1));
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n";
    survives("slow bodies", &service, || {
        keep_going(&service, crowd(1000), |stream, turn| match turn {
            0 => drip(stream, head.as_bytes()),
            _ => drip(stream, b"x"),
        });
    });
}

/// More of them than the server has room for: who talks keeps its place, and who is new gets one.
#[test]
#[ignore = "slow suite: just attack-test"]
fn silent_connections_beyond_the_cap_do_not_keep_newcomers_out() {
    let service = start(|options| options.max_connections = 300);
    survives("silence", &service, || {
        let crowd: Vec<TcpStream> = (0..crowd(1000)).map(|_| attacker(&service)).collect();
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut newcomers = 0;
        while newcomers < 20 {
            assert!(Instant::now() < deadline, "only {newcomers} newcomers were served");
            newcomers += usize::from(service.answer(HELLO).status == 200);
            std::thread::park_timeout(Duration::from_millis(20));
        }
        drop(crowd);
    });
    assert!(service.server.connections().evicted > 0);
}

#[test]
#[ignore = "slow suite: just attack-test"]
fn clients_that_do_not_read_are_dropped() {
    let service = start(|options| options.write_timeout = Duration::from_secs(1));
    let many = "GET /medium HTTP/1.1\r\nHost: a\r\n\r\n".repeat(300);
    survives("slow readers", &service, || {
        let crowd: Vec<TcpStream> = (0..crowd(100))
            .map(|_| {
                let mut stream = attacker(&service);
                drip(&mut stream, many.as_bytes());
                stream
            })
            .collect();
        let all = (neighbours::CLIENTS + crowd.len()) as u64;
        service.wait_until(|stats| stats.accepted == all && stats.open <= neighbours::CLIENTS);
        drop(crowd);
    });
}

#[test]
#[ignore = "slow suite: just attack-test"]
fn a_pipelining_flood_is_held_back_by_its_own_answers() {
    let service = start(|options| options.write_timeout = Duration::from_secs(1));
    let flood = HELLO.repeat(500);
    survives("pipelining flood", &service, || {
        keep_going(&service, 8, |stream, _| drip(stream, flood.as_bytes()));
    });
}

#[test]
#[ignore = "slow suite: just attack-test"]
fn endless_heads_and_chunk_lines_are_cut_off() {
    let service = start(|_| ());
    let line = format!("X: {}\r\n", "x".repeat(500));
    let starts =
        ["GET / HTTP/1.1\r\n", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;"];
    survives("endless lines", &service, || {
        for start in starts {
            keep_going(&service, 50, |stream, turn| match turn {
                0 => drip(stream, start.as_bytes()),
                _ => drip(stream, line.as_bytes()),
            });
        }
    });
}

#[test]
#[ignore = "slow suite: just attack-test"]
fn a_flood_of_connections_is_survived() {
    let service = start(|_| ());
    survives("connection flood", &service, || {
        keep_going(&service, crowd(500), |stream, _| {
            drip(stream, HELLO.as_bytes());
            false
        });
    });
}

#[test]
#[ignore = "slow suite: just attack-test"]
fn long_polls_cannot_starve_others() {
    let service = start(|_| ());
    survives("long polls", &service, || {
        let mut pollers: Vec<Peer> = (0..10 * MAX_POLLS).map(|_| service.peer()).collect();
        pollers.iter_mut().for_each(|poller| poller.send("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n"));
        service.waiting.wait_for(MAX_POLLS as u64, Duration::from_secs(20));
        std::thread::park_timeout(ATTACK);
        service.gate.raise(1);
        let answers: Vec<_> = pollers.iter_mut().map(Peer::answer).collect();
        let refused = answers.iter().filter(|answer| answer.status == 503);
        assert!(refused.clone().all(|answer| answer.header("Retry-After").is_some()));
        assert_eq!(refused.count(), 9 * MAX_POLLS);
    });
}

/// Four times more connections than there is room for, all with work to do.
#[test]
#[ignore = "slow suite: just attack-test"]
fn overload_is_answered_with_503_and_the_rest_goes_on() {
    let service = start(|options| options.max_connections = neighbours::CLIENTS + 32);
    survives("overload", &service, || {
        let served = neighbours::hammer(&service, 128, ATTACK);
        eprintln!("  {served:?}");
        assert!(served.ok > 0 && served.refused > 0);
    });
}

#[test]
fn random_bytes_are_answered_or_closed() {
    let service = start(|_| ());
    // xorshift: any seed but 0 will do, this one is repeated on every run.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words: [&[u8]; 12] = [
        b"GET ",
        b"/hello",
        b" HTTP/1.1",
        b"\r\n",
        b"\n",
        b"Host: a",
        b"Content-Length: ",
        b"9",
        b"Transfer-Encoding: chunked",
        b": ",
        b"\0",
        b"\xff\xfe",
    ];
    for _ in 0..500 {
        let mut peer = service.peer();
        let bytes: Vec<u8> =
            (0..random() % 20).flat_map(|_| words[(random() % 12) as usize].iter().copied()).collect();
        peer.send(bytes);
        peer.end_sending();
        let mut answer = Vec::new();
        let _ = peer.stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "));
    }
    service.wait_until(|stats| stats.open == 0);
    service.peer().is_open();
}

#[test]
fn resets_in_the_middle_leave_nothing_behind() {
    let service = start(|_| ());
    let requests = [
        "GET /medium HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hel",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
        "GET / HTTP/9.9\r\n\r\n",
    ];
    for round in 0..200 {
        // Closed with bytes unread or still to come: the server sees a reset.
        service.peer().send(requests[round % requests.len()]);
    }
    service.wait_until(|stats| stats.accepted == 200 && stats.open == 0);
    service.peer().is_open();
}

#[test]
#[ignore = "slow suite: just attack-test"]
fn panicking_handlers_cost_their_own_requests_only() {
    silence_panics();
    let service = start(|_| ());
    survives("panics", &service, || {
        let end = Instant::now() + ATTACK;
        while Instant::now() < end {
            assert_eq!(service.answer("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").status, 500);
        }
    });
}
