//! Paths and queries: identifiers that are none, parameters that are unknown or out of range.

use crate::every_service::{SERVICES, Service, assert_problem};
use crate::support::Binary;

const NO_IDS: [&str; 6] = [
    "7",
    "x",
    "01936d5e8f2a70008000000000000001",
    "%7B01936d5e-8f2a-7000-8000-000000000001%7D",
    "01936d5e-8f2a-7000-8000-00000000000g",
    "01936d5e-8f2a-7000-8000-000000000001%00",
];

#[test]
fn an_identifier_in_the_path_that_is_none_is_invalid() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        for row in service.rows.clone().iter().filter(|row| row.pattern.contains("id}")) {
            for bad in NO_IDS {
                let path = row.pattern.replace("{id}", bad).replace("{instance_id}", bad);
                let path = path.replace("{name}", "write");
                let reply = match service.good_body(row) {
                    Some(body) => service.wire.send_json(&row.method, &path, body.to_string()),
                    None => service.wire.send(&row.method, &path, &[], b""),
                };
                assert_problem(&reply, 400, "invalid-id");
            }
        }
    }
}

#[test]
fn a_service_name_in_the_path_that_is_none_is_invalid() {
    let mut service = Service::start(Binary::Registry);
    for row in service.rows.clone().iter().filter(|row| row.pattern.contains("{name}")) {
        for bad in ["Write", "a_b", "%20", "%00", &"a".repeat(64)] {
            let path = service.path(row).replace("accounts", bad);
            assert_problem(&service.wire.send(&row.method, &path, &[], b""), 400, "invalid-id");
        }
    }
}

#[test]
fn an_unknown_parameter_is_refused_by_name_on_every_route() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        let before = service.recorded();
        for row in &service.rows.clone() {
            for unknown in ["bogus", "After", "aftre"] {
                let target = format!("{}?{unknown}=1", service.path(row));
                let body = service.good_body(row).map_or(String::new(), |body| body.to_string());
                let reply = service.wire.send_json(&row.method, &target, body);
                let problem = assert_problem(&reply, 400, "invalid-query");
                assert_eq!(problem["parameter"], unknown, "{target}");
            }
        }
        assert_eq!(service.recorded(), before);
    }
}

/// Never clamped, never ignored.
const NO_NUMBERS: &[&str] =
    &["", "-1", "%2B1", "+1", "1.0", "1e3", "0x1", "x", "1%00", "99999999999999999999"];
const NO_LIMITS: &[&str] = &["0", "10001"];
/// A position beyond what every JSON reader keeps exact.
const NO_POSITIONS: &[&str] = &["9007199254740992"];
const NO_WAITS: &[&str] = &["", "-1", "-0.1", "30.1", "31", "1e9", "inf", "nan", "x", "1s", "%FF"];

const NO_CURSORS: &[&str] = &["", "x", "1", "AAAA", "%00", "....", "9007199254740993"];
const NO_TIMES: &[&str] =
    &["", "now", "2026-01-31", "1706700000", "2026-02-30T00:00:00Z", "2026-01-31T12:00:00"];

#[test]
fn a_parameter_that_is_malformed_or_out_of_range_is_refused_by_name() {
    let (account, statement) = ("/accounts/{id}", "/accounts/{id}/transactions");
    let events = "/events";
    let stream = "/streams/{id}/events";
    let parameters: &[(Binary, &str, &str, &[&str])] = &[
        (Binary::Write, events, "after", NO_NUMBERS),
        (Binary::Write, events, "after", NO_POSITIONS),
        (Binary::Write, events, "limit", NO_NUMBERS),
        (Binary::Write, events, "limit", NO_LIMITS),
        (Binary::Write, events, "wait", NO_WAITS),
        (Binary::Write, stream, "after", NO_NUMBERS),
        (Binary::Write, stream, "limit", NO_NUMBERS),
        (Binary::Write, stream, "limit", NO_LIMITS),
        (Binary::Write, stream, "wait", &["0"]),
        (Binary::Registry, "/services", "index", NO_NUMBERS),
        (Binary::Registry, "/services", "wait", NO_WAITS),
        (Binary::Registry, "/services/{name}", "index", NO_NUMBERS),
        (Binary::Registry, "/services/{name}", "wait", NO_WAITS),
        (Binary::Read, account, "at_version", NO_NUMBERS),
        (Binary::Read, account, "at_version", &["0"]),
        (Binary::Read, account, "as_of", NO_TIMES),
        (Binary::Read, statement, "limit", NO_NUMBERS),
        (Binary::Read, statement, "limit", &["0", "1001"]),
        (Binary::Read, statement, "cursor", NO_CURSORS),
        (Binary::Read, "/accounts", "limit", NO_NUMBERS),
        (Binary::Read, "/accounts", "limit", &["0", "1001"]),
        (Binary::Read, "/accounts", "cursor", NO_CURSORS),
        (Binary::Read, "/accounts", "status", &["", "Open", "x", "open,closed"]),
    ];
    let queries = tally::read_side::routes().iter().filter(|route| route.query.contains(&"min_position"));
    let of_queries = queries.flat_map(|route| {
        [("min_position", NO_NUMBERS), ("wait", NO_WAITS)]
            .map(|(parameter, bad_values)| (Binary::Read, route.pattern, parameter, bad_values))
    });
    for (binary, pattern, parameter, bad_values) in parameters.iter().copied().chain(of_queries) {
        let mut service = Service::start(binary);
        let row = service.rows.iter().find(|row| row.method == "GET" && row.pattern == pattern);
        let path = service.path(&row.unwrap().clone());
        let good = if parameter == "wait" { "0" } else { "1" };
        let queries = bad_values.iter().map(|bad| format!("{parameter}={bad}"));
        for query in queries.chain([format!("{parameter}={good}&{parameter}={good}"), parameter.to_owned()]) {
            let reply = service.wire.send("GET", &format!("{path}?{query}"), &[], b"");
            let problem = assert_problem(&reply, 400, "invalid-query");
            assert_eq!(problem["parameter"], parameter, "{path}?{query}");
        }
    }
}
