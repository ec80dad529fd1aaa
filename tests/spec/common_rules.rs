//! What HTTP users expect of every route of every service.

use std::collections::BTreeSet;

use crate::every_service::{SERVICES, Service, assert_problem};

const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];
const MAX_BODY: usize = 64 << 10;

#[test]
fn an_unknown_route_is_404() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        for path in ["/nothing", "//", "/accounts/", "/services/", "/health/x", "/HEALTH", "/%2e%2e/etc"] {
            assert_problem(&service.wire.send("GET", path, &[], b""), 404, "not-found");
        }
    }
}

#[test]
fn a_known_route_with_another_method_is_405_and_says_what_it_takes() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        for row in service.rows.clone() {
            let allowed = allowed(&service, row.pattern);
            for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "get", "BREW"] {
                if allowed.contains(method) {
                    continue;
                }
                let path = service.path(&row);
                let reply = service.wire.send(method, &path, &[], b"");
                if method != "HEAD" {
                    assert_problem(&reply, 405, "method-not-allowed");
                }
                assert_eq!((reply.status, words(reply.header("Allow"))), (405, allowed.clone()), "{path}");
            }
        }
    }
}

#[test]
fn options_says_what_a_route_takes() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        for row in service.rows.clone() {
            let path = service.path(&row);
            let reply = service.wire.send("OPTIONS", &path, &[], b"");
            assert_eq!((reply.status, reply.body.len()), (204, 0));
            assert_eq!(words(reply.header("Allow")), allowed(&service, row.pattern), "{path}");
        }
    }
}

fn allowed(service: &Service, pattern: &str) -> BTreeSet<String> {
    let rows = service.rows.iter().filter(|row| row.pattern == pattern);
    let mut methods: BTreeSet<String> = rows.map(|row| row.method.clone()).collect();
    if methods.contains("GET") {
        methods.insert("HEAD".into());
    }
    methods.insert("OPTIONS".into());
    methods
}

fn words(list: Option<&str>) -> BTreeSet<String> {
    list.unwrap_or("").split(", ").map(str::to_owned).collect()
}

#[test]
fn head_answers_what_get_does_without_the_body() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        for row in service.rows.clone().iter().filter(|row| row.method == "GET") {
            let path = service.path(row);
            let [get, head] = ["GET", "HEAD"].map(|method| service.wire.send(method, &path, &[], b""));
            assert_eq!((get.status, head.body.len()), (head.status, 0), "{path}");
            let mut names: Vec<_> = get.headers.keys().chain(head.headers.keys()).collect();
            // Times and figures may have moved between the two.
            let moving = ["/metrics", "/projections"].contains(&path.as_str());
            names.retain(|name| *name != "date" && !(moving && *name == "content-length"));
            for name in names {
                assert_eq!(get.headers.get(name), head.headers.get(name), "{path}");
            }
        }
    }
}

#[test]
fn a_body_needs_its_media_type() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        let before = service.recorded();
        for (row, path, body) in service.rows_with_bodies() {
            let body = body.to_string();
            for headers in [
                &[][..],
                &[("Content-Type", "text/plain")],
                &[("Content-Type", "application/x-www-form-urlencoded")],
                &[("Content-Type", "application/jsonp")],
                &[("Content-Type", "")],
            ] {
                let reply = service.wire.send(&row.method, &path, headers, body.as_bytes());
                assert_problem(&reply, 415, "unsupported-media-type");
            }
        }
        assert_eq!(service.recorded(), before);
    }
}

#[test]
fn a_body_of_64_kib_is_read_and_a_longer_one_is_413() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        for (row, path, body) in service.rows_with_bodies() {
            let mut body = body.to_string();
            body.push_str(&" ".repeat(MAX_BODY - body.len() + 1));
            let too_long = service.wire.send(&row.method, &path, &JSON, body.as_bytes());
            assert_problem(&too_long, 413, "body-too-large");
            let huge = [JSON[0], ("Content-Length", "1000000000000000")];
            let huge = service.wire.send(&row.method, &path, &huge, b"");
            assert!(matches!(huge.status, 400 | 413), "{huge:?}");
            let read = service.wire.send(&row.method, &path, &JSON, &body.as_bytes()[..MAX_BODY]);
            // It may be refused for what it asks, but it was read.
            assert!(!matches!(read.status, 400 | 413 | 415 | 500..), "{path}: {}", read.text());
        }
    }
}

#[test]
fn a_chunked_body_counts_as_well_as_one_of_known_length() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        for (row, path, body) in service.rows_with_bodies() {
            let chunked = [JSON[0], ("Transfer-Encoding", "chunked")];
            let body = body.to_string();
            let chunks =
                format!("1\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", &body[..1], body.len() - 1, &body[1..]);
            let reply = service.wire.send(&row.method, &path, &chunked, chunks.as_bytes());
            assert!(!matches!(reply.status, 400 | 415 | 500..), "{path}: {}", reply.text());
            let endless = format!("{:x}\r\n{}\r\n", MAX_BODY + 1, " ".repeat(MAX_BODY + 1));
            let reply = service.wire.send(&row.method, &path, &chunked, endless.as_bytes());
            assert_problem(&reply, 413, "body-too-large");
        }
    }
}

#[test]
fn health_says_that_it_is_well() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        service.recorded();
        service.ends_in_order();
    }
}
