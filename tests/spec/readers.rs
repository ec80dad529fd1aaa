//! Readers of the feed who take their time, who do not read at all, and who never leave a moment without
//! one of them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bank::{Bank, fill};
use crate::support::{Binary, Client, Directory, Launch, Process, System, wait_until, wait_within};

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

fn metric(client: &Client, name: &str) -> u64 {
    let scrape = client.get("/metrics").expect(200);
    let value = scrape.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
    value.parse::<f64>().unwrap() as u64
}

fn bank_with_large_pages() -> Bank {
    let directory = Directory::fresh();
    fill(&directory, EVENTS);
    Bank::on(directory)
}

/// Asks for `path` so many times, and reads nothing.
fn ask_and_wait(process: &Process, path: &str, times: usize) -> TcpStream {
    let mut stream = TcpStream::connect(process.address()).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.repeat(times).as_bytes()).unwrap();
    stream
}

/// Clients that ask for `path` many times and read none of the answers: the service holds what the system's
/// buffers do not take. `serve_others` asks meanwhile for what must be answered all the same.
fn clients_that_do_not_read(count: usize, process: &Process, path: &str, serve_others: impl FnOnce()) {
    let client = process.client();
    client.get(path).expect(200);
    let before = resident_kib(process);
    let clients: Vec<_> = (0..count).map(|_| ask_and_wait(process, path, 30)).collect();
    let mut most = (0, 0);
    wait_until("the budget for answers is spent", || {
        most.0 = most.0.max(resident_kib(process));
        most.1 = most.1.max(metric(&client, "tally_http_answer_bytes"));
        metric(&client, "tally_http_answers_refused_total") > 0
    });
    client.get("/health").expect(200);
    serve_others();
    assert!(most.0 < MOST_KIB, "{} KiB", most.0);
    assert!(most.1 <= 64 * MIB, "{} bytes", most.1);
    drop(clients);
    wait_until("nothing is held any more", || metric(&client, "tally_http_answer_bytes") == 0);
    // Answers to clients that have left may still be under construction, and take their turns.
    wait_until("the page is answered again", || client.get(path).status == 200);
    let after = resident_kib(process);
    eprintln!("{count} clients: {before} KiB before, {} KiB at most, {after} KiB after", most.0);
    assert!(after < before + GROWN_KIB, "{before} KiB before, {after} KiB after");
}

/// Of the feed of a write side.
fn clients_that_do_not_read_the_feed(count: usize) {
    let bank = bank_with_large_pages();
    clients_that_do_not_read(count, &bank.process, PAGE, || {
        bank.client.get("/events?limit=10").expect(200);
        bank.open();
    });
}

#[test]
fn clients_that_do_not_read_cannot_fill_the_memory() {
    clients_that_do_not_read_the_feed(90);
}

#[test]
#[ignore = "slow: just readers-test"]
fn two_hundred_clients_that_do_not_read_cannot_fill_the_memory() {
    clients_that_do_not_read_the_feed(200);
}

#[test]
#[ignore = "slow: just readers-test"]
fn two_hundred_clients_that_do_not_read_cannot_fill_the_memory_of_the_read_side() {
    let system = System::start();
    let opened = system.commands().post("/accounts", &json!({"owner": "Ada"})).expect(201).json();
    let account = format!("/accounts/{}", opened["stream_id"].as_str().unwrap());
    // The longest description there is, in bytes: each of its characters takes four.
    let deposit = json!({"amount": 1, "description": "\u{10348}".repeat(500)});
    for _ in 0..1_000 {
        system.commands().post(&format!("{account}/deposit"), &deposit).expect(200);
    }
    system.queries().get(&format!("{account}?min_position=1001&wait=30")).expect(200);
    let statement = format!("{account}/transactions?limit=1000");
    assert_eq!(items_of_all_pages(&system.queries(), &statement), 1_001);
    clients_that_do_not_read(200, &system.read, &statement, || {
        system.queries().get(&account).expect(200);
    });
}

#[test]
#[ignore = "slow: just readers-test"]
fn two_hundred_clients_that_do_not_read_cannot_fill_the_memory_of_the_registry() {
    let directory = Directory::fresh();
    let registry = Launch::on_free_port(Binary::Registry, &directory).flag("--ttl", "60").start();
    let client = registry.client();
    let metadata: BTreeMap<String, String> = (0..7).map(|key| (key.to_string(), "x".repeat(256))).collect();
    // Until it takes no more.
    let register = |number: u32| {
        let name = format!("service-{}", number % 16);
        let body = json!({"name": name, "host": "host", "port": 1, "metadata": metadata});
        client.post("/services", &body).status == 201
    };
    assert!((0..).take_while(|number| register(*number)).count() > 1_000);
    clients_that_do_not_read(200, &registry, "/services", || {
        client.get("/services/nobody").expect(200);
    });
}

/// Reads a statement to its end. Each page ends at its limit of bytes.
fn items_of_all_pages(queries: &Client, statement: &str) -> usize {
    let (mut items, mut path) = (0, statement.to_owned());
    loop {
        let reply = queries.get(&path).expect(200);
        assert!(reply.body.len() < 520 << 10, "{} bytes", reply.body.len());
        let page = reply.json();
        items += page["transactions"].as_array().unwrap().len();
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("{statement}&cursor={cursor}"),
            None => return items,
        }
    }
}

#[test]
#[ignore = "slow: just readers-test"]
fn a_client_that_reads_slowly_gets_its_whole_answer() {
    let bank = bank_with_large_pages();
    // More than the system's buffers take, so that the service itself waits for the reader.
    let mut stream = ask_and_wait(&bank.process, PAGE, 12);
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
                        client.post(&path, &json!({"amount": 1})).expect(200);
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
