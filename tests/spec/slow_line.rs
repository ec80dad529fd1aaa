//! A line between the sides that carries 20 kB/s: the read side falls behind, and arrives.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::bank::Bank;
use crate::support::{System, wait_within};

/// One piece every 50 ms.
const PIECE_BYTES: usize = 1_000;
const PAUSE: Duration = Duration::from_millis(50);

/// Carries connections to `address`, and what comes back at [`PIECE_BYTES`] each [`PAUSE`].
fn slow_line_to(address: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let address = address.to_owned();
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let far = TcpStream::connect(&address).unwrap();
            let (from, to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || carry(from, to, Duration::ZERO));
            std::thread::spawn(move || carry(far, near, PAUSE));
        }
    });
    url
}

fn carry(mut from: TcpStream, mut to: TcpStream, pause: Duration) {
    let mut piece = [0; PIECE_BYTES];
    while let Ok(bytes @ 1..) = from.read(&mut piece) {
        std::thread::park_timeout(pause);
        if to.write_all(&piece[..bytes]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
#[ignore = "slow: just slow-line-test"]
fn a_read_side_behind_a_slow_line_catches_up_and_says_why_it_takes_so_long() {
    let bank = Bank::start();
    // A page of 2500 of these events takes 75 s, and a page may take 60.
    for _ in 0..2_600 {
        bank.client.post("/accounts", &json!({"owner": "Ada ".repeat(40)})).expect(201);
    }
    let line = slow_line_to(bank.process.address());
    let read = System::read(bank.directory(), crate::bank::NO_REGISTRY).flag("--write-side", &line).start();
    let begun = std::time::Instant::now();
    wait_within(Duration::from_secs(400), "the read side has caught up", || {
        (read.client().get("/position").json()["position"] == 2_600).then_some(())
    });
    eprintln!("2600 events over 20 kB/s in {:?}", begun.elapsed());
    assert_eq!(read.stderr().matches("asking for smaller pages").count(), 1, "{}", read.stderr());
}
