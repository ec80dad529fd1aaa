//! The clients who behave, and what they see.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::http_peer::{Peer, Service};

/// How many of them there are.
pub(super) const CLIENTS: usize = 8;
/// How long they talk in peace, for comparison.
const CALM: Duration = Duration::from_secs(1);

/// Lets well-behaved clients talk, in peace and then beside `attack`, prints what both were like
/// for them, and returns the most memory the process had meanwhile.
pub(super) fn besides(name: &str, service: &Service, attack: impl FnOnce() + Send) -> u64 {
    let mut peers: Vec<Peer> = (0..CLIENTS).map(|_| service.peer()).collect();
    let calm_end = Instant::now() + CALM;
    let calm = talk(&mut peers, &|| Instant::now() < calm_end);
    let over = AtomicBool::new(false);
    let (attacked, peak) = std::thread::scope(|scope| {
        let attack = scope.spawn(|| {
            let _ends = Ends(&over);
            attack();
        });
        let peak = scope.spawn(|| peak_until(&over));
        let attacked = talk(&mut peers, &|| !over.load(Ordering::Relaxed));
        attack.join().expect("the attack went as planned");
        (attacked, peak.join().unwrap())
    });
    eprintln!("{name}: p99 calm {:?}, attacked {:?}; peak {peak} KiB", p99(calm), p99(attacked));
    eprintln!("  {:?}", service.server.connections());
    peak
}

/// Says that the attack is over even when it fails: nobody waits for it for ever.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Each peer asks again and again on its one connection, which must never be cut.
fn talk(peers: &mut [Peer], go_on: &(impl Fn() -> bool + Sync)) -> Vec<Duration> {
    std::thread::scope(|scope| {
        let talks: Vec<_> = peers
            .iter_mut()
            .map(|peer| {
                scope.spawn(move || {
                    let mut times = Vec::new();
                    while go_on() {
                        let start = Instant::now();
                        peer.is_open();
                        times.push(start.elapsed());
                    }
                    times
                })
            })
            .collect();
        talks.into_iter().flat_map(|talk| talk.join().expect("clients who behave are served")).collect()
    })
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

fn peak_until(over: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !over.load(Ordering::Relaxed) {
        peak = peak.max(resident_kib());
        std::thread::park_timeout(Duration::from_millis(50));
    }
    peak
}

/// The memory of this process, where the system tells it.
pub(super) fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// What [`hammer`] got.
#[derive(Debug, Default)]
pub(super) struct Served {
    pub(super) ok: usize,
    pub(super) refused: usize,
    pub(super) cut: usize,
}

/// `clients` connections at once, each asking for `time` and coming back a little later when it
/// was refused, as `Retry-After` asks (but sooner).
pub(super) fn hammer(service: &Service, clients: usize, time: Duration) -> Served {
    let end = Instant::now() + time;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(move || hammer_alone(service, end))).collect();
        threads.into_iter().fold(Served::default(), |sum, thread| {
            let one = thread.join().unwrap();
            Served { ok: sum.ok + one.ok, refused: sum.refused + one.refused, cut: sum.cut + one.cut }
        })
    })
}

fn hammer_alone(service: &Service, end: Instant) -> Served {
    let mut served = Served::default();
    let mut peer = service.peer();
    while Instant::now() < end {
        peer.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        match peer.try_answer().map(|answer| answer.status) {
            Ok(200) => {
                served.ok += 1;
                continue;
            }
            Ok(503) => served.refused += 1,
            Ok(other) => panic!("answered with {other}"),
            // Where even the queue of the refused is full, connections are closed without a word.
            Err(_) => served.cut += 1,
        }
        std::thread::park_timeout(Duration::from_millis(50));
        peer = service.peer();
    }
    served
}

/// Thousands of panics as planned would bury the rest of the output.
pub(super) fn silence_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&"as asked") {
            before(info);
        }
    }));
}
