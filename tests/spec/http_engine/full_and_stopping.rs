//! The rules for a server that has no room, and for one that stops.

use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::rules::{HELLO, post};
use crate::http_peer::{Peer, Service, Setup};
use crate::support::wait_until;

pub(super) fn when_all_connections_work_the_next_gets_503(setup: Setup) {
    let service = setup.start_with(|options| options.max_connections = 3);
    let mut working: Vec<Peer> = (0..3).map(|_| service.peer()).collect();
    for (peer, n) in working.iter_mut().zip(1..) {
        peer.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
        service.waiting.wait_for(n, Duration::from_secs(20));
    }
    // However long they work, they are not the ones to go.
    let deadline = Instant::now() + Duration::from_millis(1100);
    while Instant::now() < deadline {
        let answer = service.answer(HELLO);
        assert_eq!(answer.status, 503);
        assert!(answer.header("Retry-After").is_some() && answer.header("Connection") == Some("close"));
        // A little later: what must not happen may not happen at any time.
        thread::park_timeout(Duration::from_millis(50));
    }
    service.gate.raise(1);
    working.iter_mut().for_each(|peer| assert_eq!(peer.answer().text(), "waited"));
    assert_eq!(service.server.connections().open, 3);
}

pub(super) fn when_all_connections_idle_one_gives_way(setup: Setup) {
    let service = setup.start_with(|options| options.max_connections = 3);
    let mut idle: Vec<Peer> = (0..3).map(|_| service.peer()).collect();
    idle.iter_mut().for_each(Peer::is_open);
    wait_until("one gives way", || service.answer(HELLO).status == 200);
    idle[0].is_closed();
    idle[2].is_open();
    assert_eq!(service.server.connections().evicted, 1);
}

pub(super) fn stopping_closes_idle_connections_at_once(setup: Setup) {
    let service = setup.start();
    let address = service.server.local_addr();
    let mut idle: Vec<Peer> = (0..5).map(|_| service.peer()).collect();
    idle[..3].iter_mut().for_each(Peer::is_open);
    service.server.stop();
    idle.iter_mut().for_each(Peer::is_closed);
    assert!(TcpStream::connect(address).is_err());
}

/// Stops the service on another thread, and returns when it takes no more connections.
fn stop(service: Service, setup: Setup) -> thread::JoinHandle<()> {
    let address = service.server.local_addr();
    let stopping = thread::spawn(move || service.server.stop());
    let deadline = Instant::now() + setup.patience;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "still accepting");
    }
    stopping
}

pub(super) fn stopping_lets_a_request_that_is_arriving_finish(setup: Setup) {
    let service = setup.start();
    let (mut peer, mut idle) = (service.peer(), service.peer());
    idle.is_open();
    peer.send(post("Content-Length: 3\r\nExpect: 100-continue\r\n", ""));
    assert_eq!(peer.answer().status, 100);
    let stopping = stop(service, setup);
    idle.is_closed();
    peer.send("abc");
    let answer = peer.answer();
    assert_eq!((answer.text(), answer.header("Connection")), ("abc", Some("close")));
    stopping.join().unwrap();
}

pub(super) fn stopping_lets_requests_in_flight_finish(setup: Setup) {
    let service = setup.start();
    let mut peer = service.peer();
    peer.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(service.waiting.wait_for(1, Duration::from_secs(20)), 1);
    let gate = Arc::clone(&service.gate);
    let stopping = stop(service, setup);
    assert!(!stopping.is_finished());
    gate.raise(1);
    let answer = peer.answer();
    assert_eq!((answer.text(), answer.header("Connection")), ("waited", Some("close")));
    peer.is_closed();
    stopping.join().unwrap();
}

pub(super) fn stopping_abandons_what_does_not_end_in_time(setup: Setup) {
    let service = setup.start_with(|options| options.stop_timeout = Duration::from_millis(100));
    let mut peer = service.peer();
    peer.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(service.waiting.wait_for(1, Duration::from_secs(20)), 1);
    service.server.stop();
    peer.is_closed();
    service.gate.raise(1);
}
