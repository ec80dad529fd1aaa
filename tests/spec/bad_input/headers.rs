//! Headers of commands: a malformed one is never ignored.

use crate::every_service::{Service, assert_problem};
use crate::support::Binary;

#[test]
fn a_malformed_header_of_a_command_is_refused_by_name() {
    let mut service = Service::start(Binary::Write);
    let before = service.recorded();
    let (key, long) = ("k".repeat(256), "c".repeat(201));
    let bad_headers = [
        ("Idempotency-Key", &["", "a b", "a\tb", "ä", "\u{1f980}", &key][..]),
        (
            "If-Match",
            &["", "3", "\"3", "3\"", "\"\"", "\"x\"", "W/\"3\"", "\"-1\"", "\"1.0\"", "\"3\" \"4\""],
        ),
        ("X-Correlation-Id", &["", "a b", "ä", &long]),
    ];
    for (row, path, body) in service.rows_with_bodies() {
        for (name, values) in bad_headers {
            for value in values {
                let headers = [("Content-Type", "application/json"), (name, value)];
                let reply = service.wire.send(&row.method, &path, &headers, body.to_string().as_bytes());
                let problem = assert_problem(&reply, 400, "invalid-header");
                assert_eq!(problem["header"], name, "{path}: {value:?}");
            }
        }
    }
    assert_eq!(service.recorded(), before);
}

#[test]
fn a_header_that_is_given_twice_is_refused_by_name() {
    let mut service = Service::start(Binary::Write);
    let before = service.recorded();
    for (row, path, body) in service.rows_with_bodies() {
        for name in ["Idempotency-Key", "X-Correlation-Id"] {
            let headers = [("Content-Type", "application/json"), (name, "a"), (name, "a")];
            let reply = service.wire.send(&row.method, &path, &headers, body.to_string().as_bytes());
            assert_eq!(assert_problem(&reply, 400, "invalid-header")["header"], name, "{path}");
        }
    }
    assert_eq!(service.recorded(), before);
}

#[test]
fn a_malformed_trace_is_ignored_as_its_standard_says() {
    let mut service = Service::start(Binary::Write);
    let path = format!("/accounts/{}/deposit", service.ids[0]);
    for bad in ["", "00", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "ff-x", "ä"] {
        let headers = [("Content-Type", "application/json"), ("traceparent", bad)];
        let reply = service.wire.send("POST", &path, &headers, br#"{"amount":1}"#);
        assert_eq!(reply.status, 200, "{bad:?}");
    }
}
