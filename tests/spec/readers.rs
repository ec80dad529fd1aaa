//! Readers of the feed who take their time, who do not read at all, and who never leave a moment without
//! one of them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::bank::{Bank, fill};
use crate::support::{Directory, Process, wait_until, wait_within};

/// Pages of 10 000 events end at their limit of bytes.
const EVENTS: u64 = 3_500;
const PAGE: &str = "/events?limit=10000";
/// What a service may ever take, and by how much it may have grown when all is over.
const MOST_KIB: u64 = 256 << 10;
const GROWN_KIB: u64 = 64 << 10;
const MIB: u64 = 1 << 20;

fn resident_kib(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn metric(bank: &Bank, name: &str) -> u64 {
    let scrape = bank.client.get("/metrics").expect(200);
    let value = scrape.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
    value.parse::<f64>().unwrap() as u64
}

fn bank_with_large_pages() -> Bank {
    let directory = Directory::fresh();
    fill(&directory, EVENTS);
    Bank::on(directory)
}

/// Asks for the page so many times, and reads nothing.
fn ask_and_wait(bank: &Bank, times: usize) -> TcpStream {
    let mut stream = TcpStream::connect(bank.process.address()).unwrap();
    let request = format!("GET {PAGE} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.repeat(times).as_bytes()).unwrap();
    stream
}

/// Clients that ask for many pages and read none: what the system's buffers do not take, the service holds.
fn clients_that_do_not_read(count: usize) {
    let bank = bank_with_large_pages();
    bank.client.get(PAGE).expect(200);
    let before = resident_kib(&bank.process);
    let clients: Vec<_> = (0..count).map(|_| ask_and_wait(&bank, 30)).collect();
    let mut most = (0, 0);
    wait_until("the budget for answers is spent", || {
        most.0 = most.0.max(resident_kib(&bank.process));
        most.1 = most.1.max(metric(&bank, "tally_http_answer_bytes"));
        metric(&bank, "tally_http_answers_refused_total") > 0
    });
    // Others are served meanwhile, as far as their answers are small.
    bank.client.get("/health").expect(200);
    bank.client.get("/events?limit=10").expect(200);
    bank.open();
    assert!(most.0 < MOST_KIB, "{} KiB", most.0);
    assert!(most.1 <= 64 * MIB, "{} bytes", most.1);
    drop(clients);
    wait_until("nothing is held any more", || metric(&bank, "tally_http_answer_bytes") == 0);
    bank.client.get(PAGE).expect(200);
    let after = resident_kib(&bank.process);
    eprintln!("{count} clients: {before} KiB before, {} KiB at most, {after} KiB after", most.0);
    assert!(after < before + GROWN_KIB, "{before} KiB before, {after} KiB after");
}

#[test]
fn clients_that_do_not_read_cannot_fill_the_memory() {
    clients_that_do_not_read(90);
}

#[test]
#[ignore = "slow: just readers-test"]
fn two_hundred_clients_that_do_not_read_cannot_fill_the_memory() {
    clients_that_do_not_read(200);
}

#[test]
#[ignore = "slow: just readers-test"]
fn a_client_that_reads_slowly_gets_its_whole_answer() {
    let bank = bank_with_large_pages();
    // More than the system's buffers take, so that the service itself waits for the reader.
    let mut stream = ask_and_wait(&bank, 12);
    let whole = bank.client.get(PAGE).expect(200).body.len();
    let (mut read, mut piece) = (0, vec![0; 16 << 10]);
    let begun = Instant::now();
    // 160 kB a second: each answer takes longer than any single wait of the engine.
    while read < 12 * whole && begun.elapsed() < Duration::from_secs(120) {
        let bytes = stream.read(&mut piece).unwrap();
        assert!(bytes > 0, "cut off after {read} of {} bytes in {:?}", 12 * whole, begun.elapsed());
        read += bytes;
        std::thread::park_timeout(Duration::from_millis(100));
        if read > 3 * whole {
            break;
        }
    }
    eprintln!("{read} bytes in {:?}", begun.elapsed());
    assert!(read > 3 * whole);
}

#[test]
#[ignore = "slow: just readers-test"]
fn the_write_ahead_log_is_bounded_however_many_readers_overlap() {
    const DEPOSITORS: usize = 8;
    const READERS: usize = 6;
    const LASTS: Duration = Duration::from_secs(60);
    let bank = bank_with_large_pages();
    let accounts: Vec<String> = (0..DEPOSITORS).map(|_| bank.open()).collect();
    let wal = bank.directory().join("write_db.sqlite3-wal");
    let wal_bytes = || std::fs::metadata(&wal).map_or(0, |metadata| metadata.len());
    let (commands, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut largest = 0;
    let mut rates = Vec::new();
    for readers in [0, READERS] {
        is_over.store(false, Ordering::Relaxed);
        let before = commands.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            for account in &accounts {
                let client = bank.process.client();
                let (commands, is_over) = (&commands, &is_over);
                scope.spawn(move || {
                    let path = format!("/accounts/{account}/deposit");
                    while !is_over.load(Ordering::Relaxed) {
                        client.post(&path, &serde_json::json!({"amount": 1})).expect(200);
                        commands.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for _ in 0..readers {
                let (client, is_over) = (bank.process.client(), &is_over);
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        client.get(PAGE).expect(200);
                    }
                });
            }
            let end = Instant::now() + LASTS;
            while Instant::now() < end {
                largest = largest.max(wal_bytes());
                std::thread::park_timeout(Duration::from_millis(50));
            }
            is_over.store(true, Ordering::Relaxed);
        });
        rates.push(commands.load(Ordering::Relaxed) - before);
    }
    eprintln!("{} MiB at most, {rates:?} commands without and with readers", largest / MIB);
    assert!(largest < 128 * MIB, "{largest} bytes");
    wait_within(Duration::from_secs(10), "the write-ahead log is cut back", || {
        (wal_bytes() <= 4 * MIB).then_some(())
    });
}
