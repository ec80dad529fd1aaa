//! The feed over a line that is slow.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

/// So short that a test can wait for them.
const DEADLINES: Deadlines = Deadlines {
    silence: Duration::from_millis(500),
    page: Duration::from_millis(400),
    slow: Duration::from_millis(100),
};
/// The size of an event in the pages below.
const EVENT_BYTES: usize = 300;

/// A write side whose pages come in pieces of `bytes`, one every millisecond at the soonest.
fn slow_write_side(bytes: usize) -> BaseUrl {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer_slowly(connection, bytes));
        }
    });
    url.parse().unwrap()
}

fn answer_slowly(mut connection: TcpStream, bytes: usize) {
    let head: Vec<String> = BufReader::new(&connection)
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let limit = head[0].split("limit=").nth(1).and_then(|rest| rest.split('&').next()).unwrap();
    let page = vec![b'x'; limit.parse::<usize>().unwrap() * EVENT_BYTES];
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", page.len());
    let sent = connection.write_all(head.as_bytes());
    let piece_by_piece = page.chunks(bytes).try_for_each(|piece| {
        thread::park_timeout(Duration::from_millis(1));
        connection.write_all(piece)
    });
    // The reader may have given up.
    let _ = sent.and(piece_by_piece);
}

fn feed_from(address: BaseUrl) -> HttpFeed {
    let upstream = Upstream::over(Locator::pinned(address, SERVICE), DEADLINES);
    HttpFeed::new(Arc::new(upstream))
}

#[test]
fn a_line_that_is_too_slow_for_a_page_carries_smaller_ones() {
    // 100 kB/s at most: seven seconds for the largest page.
    let mut feed = feed_from(slow_write_side(100));
    let mut failures = 0;
    let page = loop {
        match feed.next_page(0, crate::es::MAX_PAGE, Duration::ZERO) {
            Ok(page) => break page,
            Err(error) => {
                failures += 1;
                assert!(error.to_string().contains("of a page arrived"), "{error}");
                assert!(failures < 12, "no page is small enough");
            }
        }
    };
    assert!(failures > 0 && page.json.len() < crate::es::MAX_PAGE as usize * EVENT_BYTES / 2);
    assert_ne!(feed.upstream.contact(), Contact::Lost(String::new()), "it answers all the while");
}

#[test]
fn a_peer_that_sends_a_byte_now_and_then_is_given_up() {
    let mut feed = feed_from(slow_write_side(1));
    // A page of one event is 300 bytes, and comes in time or not; one of thousands does not.
    let error = feed.next_page(0, crate::es::MAX_PAGE, Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("of a page arrived"), "{error}");
    assert!(feed.upstream.page_size().limit(crate::es::MAX_PAGE) <= 2, "the next page is as small as can be");
}

#[test]
fn a_peer_that_falls_silent_within_a_page_of_one_event_is_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut feed = feed_from(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    let peer = thread::spawn(move || {
        let mut connection = listener.accept().unwrap().0;
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{").unwrap();
        connection
    });
    feed.next_page(0, 1, Duration::ZERO).unwrap_err();
    assert!(matches!(feed.upstream.contact(), Contact::Lost(error) if error.contains("1 bytes of 1000")));
    drop(peer.join());
}

#[test]
fn each_reason_of_an_absence_is_logged_once_until_the_next_answer_and_not_without_end() {
    let feed = feed_from("http://127.0.0.1:1".parse().unwrap());
    let told = || feed.upstream.lock().reasons.len();
    let away = |reason: &str| feed.away(reason.to_owned());
    for reason in ["refused", "refused", "it has moved", "refused"] {
        assert_eq!(away(reason).to_string(), reason);
    }
    assert_eq!(told(), 2);
    for number in 0..100 {
        away(&format!("{number} bytes arrived"));
    }
    assert_eq!(told(), MAX_REASONS);
    feed.upstream.note_answer("http://127.0.0.1:1");
    assert_eq!(told(), 0);
    assert!(feed.upstream.last_contact().is_some());
    away("refused");
    assert_eq!((told(), feed.upstream.contact()), (1, Contact::Lost("refused".into())));
    // Services that stop together miss each other, and no operator needs to know.
    feed.upstream.close();
    away("it stops, too");
    assert_eq!((told(), feed.upstream.contact()), (1, Contact::Lost("it stops, too".into())));
}
