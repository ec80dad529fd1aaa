//! The rules themselves. Each starts a server of its own on a free port.

use std::io::Write;
use std::time::Duration;

pub(super) use super::full_and_stopping::*;
use crate::http_peer::{Answer, LARGE, Peer, Service, Setup};

pub(super) const HELLO: &str = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

/// `POST /echo` with further header lines, then `body` as it is.
pub(super) fn post(headers: &str, body: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}")
}

/// The server refuses the bytes with that status, says it as a problem, and closes; no handler
/// has seen anything.
fn refuses(service: &Service, status: u16, bytes: impl AsRef<[u8]>) -> Answer {
    let bytes = bytes.as_ref();
    let before = service.handled.value();
    let mut peer = service.peer();
    peer.send(bytes);
    let answer = peer.answer();
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    assert_eq!(answer.status, status, "{shown:?} gave {answer:?}");
    assert_eq!(answer.header("Content-Type"), Some("application/problem+json"), "{shown:?}");
    assert_eq!(answer.header("Connection"), Some("close"), "{shown:?}");
    peer.is_closed();
    assert_eq!(service.handled.value(), before, "a handler has seen {shown:?}");
    answer
}

pub(super) fn an_answer_has_its_length_and_date(setup: Setup) {
    let answer = setup.start().answer(HELLO);
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(answer.header("Content-Length"), Some("5"));
    assert_eq!(answer.header("Content-Type"), Some("text/plain"));
    assert!(httpdate::parse_http_date(answer.header("Date").unwrap()).is_ok());
}

pub(super) fn a_connection_serves_many_requests(setup: Setup) {
    let service = setup.start();
    let mut peer = service.peer();
    (0..100).for_each(|_| peer.is_open());
}

pub(super) fn pipelined_requests_are_answered_in_order(setup: Setup) {
    let service = setup.start();
    let mut peer = service.peer();
    let body = "x".repeat(3000);
    let one =
        |n| format!("GET /target?{n} HTTP/1.1\r\nHost: a\r\n\r\n{}", post("Content-Length: 3000\r\n", &body));
    peer.send((0..20).map(one).collect::<String>());
    for n in 0..20 {
        assert_eq!(peer.answer().text(), format!("GET /target?{n}"));
        assert_eq!(peer.answer().text(), body);
    }
}

pub(super) fn a_request_may_come_byte_by_byte(setup: Setup) {
    let service = setup.start();
    for request in [
        post("Content-Length: 3\r\n", "abc"),
        post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
    ] {
        let mut peer = service.peer();
        peer.stream.set_nodelay(true).unwrap();
        request.as_bytes().chunks(1).for_each(|byte| peer.send(byte));
        assert_eq!(peer.answer().text(), "abc");
        peer.is_open();
    }
}

pub(super) fn empty_lines_before_a_request_are_skipped(setup: Setup) {
    assert_eq!(setup.start().answer(format!("\r\n\r\n{HELLO}")).status, 200);
}

pub(super) fn an_absolute_target_is_understood(setup: Setup) {
    let answer = setup.start().answer("GET http://a:1/target?b=c HTTP/1.1\r\nHost: a:1\r\n\r\n");
    assert_eq!(answer.text(), "GET /target?b=c");
}

pub(super) fn a_large_answer_arrives_whole(setup: Setup) {
    let service = setup.start();
    let mut peer = service.peer();
    peer.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = peer.answer();
    assert!(answer.body.len() == LARGE && answer.body.iter().all(|byte| *byte == b'x'));
    peer.is_open();
}

pub(super) fn head_gets_the_length_and_no_body(setup: Setup) {
    let service = setup.start();
    let mut peer = service.peer();
    peer.send("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(peer.answer_to_head().header("Content-Length"), Some("5"));
    peer.is_open();
}

pub(super) fn answers_without_content_have_no_body_and_no_length(setup: Setup) {
    let service = setup.start();
    let mut peer = service.peer();
    for (path, status) in [("/nothing", 204), ("/unchanged", 304)] {
        peer.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = peer.answer();
        assert_eq!((answer.status, answer.header("Content-Length")), (status, None));
        peer.is_open();
    }
}

pub(super) fn a_client_that_has_ended_sending_still_gets_its_answer(setup: Setup) {
    let service = setup.start();
    let mut peer = service.peer();
    peer.send(HELLO);
    peer.end_sending();
    assert_eq!(peer.answer().text(), "hello");
    peer.is_closed();
}

/// All stay open: none may have to wait for another to go.
pub(super) fn a_burst_of_connections_is_answered_at_once(setup: Setup) {
    let service = setup.start();
    let mut peers: Vec<Peer> = (0..64).map(|_| service.peer()).collect();
    peers.iter_mut().for_each(|peer| peer.send(HELLO));
    peers.iter_mut().for_each(|peer| assert_eq!(peer.answer().text(), "hello"));
    peers.iter_mut().for_each(Peer::is_open);
}

pub(super) fn a_body_of_known_length_reaches_the_handler_whole(setup: Setup) {
    let service = setup.start();
    let mut peer = service.peer();
    for length in [0, 1, 5000, 64 * 1024] {
        let body = "b".repeat(length);
        peer.send(post(&format!("Content-Length: {length}\r\n"), &body));
        assert_eq!(peer.answer().text(), body);
    }
}

pub(super) fn a_chunked_body_reaches_the_handler_whole(setup: Setup) {
    let service = setup.start();
    let mut peer = service.peer();
    peer.send(post("Transfer-Encoding: Chunked\r\n", "3\r\nabc\r\n000A\r\n0123456789\r\n0\r\n\r\n"));
    assert_eq!(peer.answer().text(), "abc0123456789");
    let big = "b".repeat(60_000);
    peer.send(post("Transfer-Encoding: chunked\r\n", &format!("{:x}\r\n{big}\r\n0\r\n\r\n", big.len())));
    assert_eq!(peer.answer().text(), big);
}

pub(super) fn chunk_extensions_and_trailers_are_ignored(setup: Setup) {
    let service = setup.start();
    let mut peer = service.peer();
    let body = "3;name=\"value\"\r\nabc\r\n0;last\r\nChecksum: 1\r\nContent-Length: 7\r\n\r\n";
    peer.send(post("Transfer-Encoding: chunked\r\n", body));
    assert_eq!(peer.answer().text(), "abc");
    peer.is_open();
}

pub(super) fn after_a_chunked_body_the_next_request_is_understood(setup: Setup) {
    let service = setup.start();
    let mut peer = service.peer();
    peer.send(post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n") + HELLO);
    assert_eq!(peer.answer().text(), "abc");
    assert_eq!(peer.answer().text(), "hello");
}

pub(super) fn a_client_that_expects_100_is_told_to_continue(setup: Setup) {
    let service = setup.start();
    let mut peer = service.peer();
    peer.send(post("Content-Length: 3\r\nExpect: 100-continue\r\n", ""));
    assert_eq!(peer.answer().status, 100);
    peer.send("abc");
    assert_eq!(peer.answer().text(), "abc");
    peer.is_open();
}

pub(super) fn connection_close_is_honoured(setup: Setup) {
    let service = setup.start();
    for value in ["close", "CLOSE", "x-other, close"] {
        let mut peer = service.peer();
        peer.send(format!("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: {value}\r\n\r\n"));
        let answer = peer.answer();
        assert_eq!((answer.text(), answer.header("Connection")), ("hello", Some("close")));
        peer.is_closed();
    }
}

pub(super) fn http_1_0_closes_unless_asked_not_to(setup: Setup) {
    let service = setup.start();
    let mut peer = service.peer();
    peer.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let answer = peer.answer();
    assert_eq!(answer.header("Connection").map(str::to_lowercase).as_deref(), Some("keep-alive"));
    peer.send("GET /hello HTTP/1.0\r\n\r\n");
    assert_eq!(peer.answer().text(), "hello");
    peer.is_closed();
}

pub(super) fn refusals_are_problems_and_close_the_connection(setup: Setup) {
    let service = setup.start();
    // What follows the refused request is not read as a request: it may be its body.
    let answer = refuses(&service, 400, format!("GET /\r\n\r\n{HELLO}"));
    assert!(answer.text().contains("\"type\":\"/problems/invalid-request\""), "{answer:?}");
}

pub(super) fn lengths_that_are_no_number_are_refused(setup: Setup) {
    let service = setup.start();
    for length in ["", "x", "-1", "+3", "3.0", "0x3", "3 3", "3,3", "3;3", "\u{663}"] {
        refuses(&service, 400, post(&format!("Content-Length: {length}\r\n"), "abc"));
    }
}

pub(super) fn lengths_above_the_limit_are_413(setup: Setup) {
    refuses(&setup.start(), 413, post("Content-Length: 65537\r\n", ""));
}

pub(super) fn lengths_beyond_all_memory_are_413(setup: Setup) {
    let service = setup.start();
    for length in ["1000000000000000", "18446744073709551615", "99999999999999999999999999999"] {
        refuses(&service, 413, post(&format!("Content-Length: {length}\r\n"), ""));
    }
}

pub(super) fn chunked_bodies_above_the_limit_are_413(setup: Setup) {
    let service = setup.start();
    let chunked = "Transfer-Encoding: chunked\r\n";
    refuses(&service, 413, post(chunked, "10001\r\n"));
    refuses(&service, 413, post(chunked, "ffffffffffffffff\r\n"));
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    refuses(&service, 413, post(chunked, &format!("{chunk}{chunk}1\r\n")));
}

pub(super) fn a_refusal_arrives_although_the_client_is_still_sending(setup: Setup) {
    let service = setup.start();
    let mut peer = service.peer();
    let piece = "x".repeat(50_000);
    peer.send(post("Content-Length: 500000\r\n", &piece));
    assert_eq!(peer.answer().status, 413);
    // Were the connection closed at once, sending on would fail, and a client that only sends so
    // far would never look for the answer.
    for _ in 0..9 {
        peer.stream.write_all(piece.as_bytes()).expect("the server still listens");
    }
    peer.end_sending();
    peer.is_closed();
}

pub(super) fn repeated_or_conflicting_lengths_are_refused(setup: Setup) {
    let service = setup.start();
    for second in ["3", "4"] {
        let headers = format!("Content-Length: 3\r\ncontent-length: {second}\r\n");
        refuses(&service, 400, post(&headers, "abcd"));
    }
}

pub(super) fn a_length_beside_a_coding_is_refused(setup: Setup) {
    let service = setup.start();
    let body = format!("0\r\n\r\n{HELLO}");
    refuses(&service, 400, post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", &body));
    refuses(&service, 400, post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", &body));
}

pub(super) fn codings_other_than_chunked_are_501(setup: Setup) {
    let service = setup.start();
    for coding in ["gzip", "identity", "gzip, chunked", "chunked, gzip", "xchunked", "\"chunked\""] {
        refuses(&service, 501, post(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n"));
    }
    refuses(&service, 400, post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"));
}

pub(super) fn a_coding_in_http_1_0_is_refused(setup: Setup) {
    let request = "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    refuses(&setup.start(), 400, request);
}

pub(super) fn malformed_chunks_are_refused(setup: Setup) {
    let service = setup.start();
    for body in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+3\r\nabc\r\n",
        "0x3\r\nabc\r\n",
        "3 \r\nabc\r\n",
        "3\nabc\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "00000000000000003\r\nabc\r\n",
        "3;\x00\r\nabc\r\n",
        "0\r\nno trailer\r\n\r\n",
        "0\r\nname : value\r\n\r\n",
        "0\r\nname: value\rother: value\r\n\r\n",
    ] {
        refuses(&service, 400, post("Transfer-Encoding: chunked\r\n", body));
    }
}

pub(super) fn endless_chunk_lines_and_trailers_are_refused(setup: Setup) {
    let service = setup.start();
    let chunked = "Transfer-Encoding: chunked\r\n";
    refuses(&service, 400, post(chunked, &format!("3;{}", "x".repeat(10_000))));
    let chunk = format!("1;{}\r\nx\r\n", "x".repeat(900));
    refuses(&service, 400, post(chunked, &chunk.repeat(30)));
    refuses(&service, 431, post(chunked, &format!("0\r\n{}", "a: b\r\n".repeat(5000))));
}

pub(super) fn a_truncated_body_never_reaches_the_handler(setup: Setup) {
    let service = setup.start();
    for request in [
        post("Content-Length: 4\r\n", "abc"),
        post("Content-Length: 4000\r\n", "abc"),
        post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n"),
        post("Transfer-Encoding: chunked\r\n", "3\r\nab"),
        post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n"),
    ] {
        let mut peer = service.peer();
        peer.send(&request);
        peer.end_sending();
        assert_eq!(peer.answer().status, 400, "{request:?}");
        peer.is_closed();
    }
    assert_eq!(service.handled.value(), 0);
}

pub(super) fn a_request_without_exactly_one_host_is_refused(setup: Setup) {
    let service = setup.start();
    for hosts in ["", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n", "Host: a/b\r\n", "Host: a b\r\n"] {
        refuses(&service, 400, format!("GET /hello HTTP/1.1\r\n{hosts}\r\n"));
    }
}

pub(super) fn bare_line_ends_are_refused(setup: Setup) {
    let service = setup.start();
    for head in [
        "GET /hello HTTP/1.1\nHost: a\n\n",
        "GET /hello HTTP/1.1\r\nHost: a\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\n\n",
        "\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        "GET /hello HTTP/1.1\rHost: a\r\n\r\n",
    ] {
        refuses(&service, 400, head);
    }
}

pub(super) fn spaces_before_a_colon_and_folded_lines_are_refused(setup: Setup) {
    let service = setup.start();
    for line in
        ["X : a", "Content-Length : 3", "X: a\r\n b", "X: a\r\n\tb", " X: a", ": a", "X", "X\0: a", "X: \0"]
    {
        refuses(&service, 400, format!("GET /hello HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n"));
    }
    refuses(&service, 400, "GET /hello HTTP/1.1\r\n Host: a\r\n\r\n");
}

pub(super) fn garbage_is_refused(setup: Setup) {
    let service = setup.start();
    let garbage: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", // a TLS client
        b"GET /hello\r\n\r\n",
        b"GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /hello  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /hello FTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /he\x00llo HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET hello HTTP/1.1\r\nHost: a\r\n\r\n",
        b"G@T /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        b"* * *\r\n\r\n",
    ];
    for bytes in garbage {
        refuses(&service, 400, bytes);
    }
}

pub(super) fn other_versions_are_505(setup: Setup) {
    let service = setup.start();
    refuses(&service, 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    for version in ["2", "2.0", "3.0", "1.2", "0.9"] {
        refuses(&service, 505, format!("GET /hello HTTP/{version}\r\nHost: a\r\n\r\n"));
    }
}

pub(super) fn heads_above_the_limit_are_431(setup: Setup) {
    let service = setup.start_with(|options| options.max_head_bytes = 4000);
    let head = |bytes: usize| format!("GET /hello HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(bytes));
    let frame = head(0).len();
    assert_eq!(service.answer(head(4000 - frame)).status, 200);
    refuses(&service, 431, head(4001 - frame));
    refuses(&service, 431, format!("GET /{}", "x".repeat(4000)));
}

pub(super) fn too_many_headers_are_431(setup: Setup) {
    let service = setup.start();
    let head =
        |headers: usize| format!("GET /hello HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(headers));
    assert_eq!(service.answer(head(63)).status, 200);
    refuses(&service, 431, head(64));
}

pub(super) fn a_slow_head_is_408(setup: Setup) {
    let service = setup.start_with(|options| options.head_timeout = Duration::from_millis(100));
    refuses(&service, 408, "GET /hello HTTP/1.1\r\nHost:");
}

pub(super) fn a_slow_body_is_408(setup: Setup) {
    let service = setup.start_with(|options| options.body_timeout = Duration::from_millis(100));
    refuses(&service, 408, post("Content-Length: 4\r\n", "abc"));
    refuses(&service, 408, post("Transfer-Encoding: chunked\r\n", "4\r\nabc"));
}

pub(super) fn an_idle_connection_is_closed_in_silence(setup: Setup) {
    let service = setup.start_with(|options| options.idle_timeout = Duration::from_millis(100));
    service.peer().is_closed();
    let mut peer = service.peer();
    peer.is_open();
    peer.is_closed();
}

pub(super) fn a_client_that_does_not_read_is_dropped(setup: Setup) {
    let service = setup.start_with(|options| options.write_timeout = Duration::from_millis(100));
    let mut peer = service.peer();
    peer.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    service.wait_until(|stats| stats.accepted == 1 && stats.open == 0);
    service.peer().is_open();
}

pub(super) fn a_panic_is_a_500_for_that_request_alone(setup: Setup) {
    let service = setup.start();
    let mut peer = service.peer();
    for _ in 0..3 {
        peer.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = peer.answer();
        assert_eq!(answer.status, 500);
        assert!(answer.text().contains("/problems/internal-error"), "{answer:?}");
        peer.is_open();
    }
    assert_eq!(service.server.connections().panics, 3);
}

pub(super) fn an_answer_cannot_be_split_by_a_header_value(setup: Setup) {
    let answer = setup.start().answer("GET /split HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.header("Injected")), (500, None));
}
