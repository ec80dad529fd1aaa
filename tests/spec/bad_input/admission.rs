//! What every request must satisfy, whatever its route: a host that the service knows, fields that stand
//! once, a body without a coding, a path that has one spelling.

use crate::every_service::{SERVICES, Service, assert_problem};
use crate::support::{Binary, Directory, Launch, Reply, Wire};

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn with_host(wire: &mut Wire, path: &str, host: &str) -> Reply {
    wire.exchange(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"), "GET")
}

#[test]
fn a_page_that_points_a_name_of_its_own_at_a_service_gets_421_on_every_route() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        for row in service.rows.clone() {
            let path = service.path(&row);
            for method in [row.method.as_str(), "OPTIONS"] {
                let head = format!(
                    "{method} {path} HTTP/1.1\r\nHost: evil.example:7001\r\nContent-Length: 0\r\n\r\n"
                );
                assert_problem(&service.wire.exchange(&head, method), 421, "host-not-allowed");
            }
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example"] {
            assert_problem(&with_host(&mut service.wire, "/nothing", host), 421, "host-not-allowed");
        }
        for host in
            ["127.0.0.1", "10.1.2.3:80", "[::1]", "[::1]:7001", "localhost:1", "LocalHost", "localhost."]
        {
            assert_eq!(with_host(&mut service.wire, "/health", host).status, 200, "{host}");
        }
    }
}

#[test]
fn the_host_of_an_absolute_target_counts_and_not_the_header() {
    let mut service = Service::start(Binary::Registry);
    for (target, host, status) in [
        ("http://evil.example/health", "localhost", 421),
        ("http://localhost/health", "evil.example", 200),
        ("http://127.0.0.1:7000/health", "localhost", 200),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(service.wire.exchange(&head, "GET").status, status, "{target} with {host}");
    }
}

#[test]
fn a_malformed_host_is_400() {
    for binary in SERVICES {
        for host in [
            "x:abc",
            "",
            ":80",
            "2130706433",
            "0x7f.1",
            "localhost:99999",
            "a b",
            "user@localhost",
            "[::1",
            "a,b",
            "localhost/x",
        ] {
            let mut service = Service::start(binary);
            assert_eq!(with_host(&mut service.wire, "/health", host).status, 400, "{host:?}");
        }
    }
}

#[test]
fn the_names_of_listen_advertise_and_allow_host_are_known() {
    let directory = Directory::fresh();
    let launch = Launch::of(Binary::Registry, &directory).flag("--listen", "localhost:0");
    let process = launch
        .clone()
        .flag("--advertise", "registry.internal:80")
        .flag("--allow-host", "a.example,b.example")
        .start();
    let mut wire = Wire::to(process.address());
    for host in ["registry.internal", "REGISTRY.internal:80", "a.example", "b.example:1"] {
        assert_eq!(with_host(&mut wire, "/health", host).status, 200, "{host}");
    }
    assert_eq!(with_host(&mut wire, "/health", "c.example").status, 421);
    let open = launch.variable("TALLY_ALLOW_HOST", "*").start();
    let mut wire = Wire::to(open.address());
    assert_eq!(with_host(&mut wire, "/health", "c.example").status, 200);
    assert_eq!(with_host(&mut wire, "/health", "x:abc").status, 400, "and a malformed one stays malformed");
}

#[test]
fn a_content_coding_is_refused_by_name_and_never_ignored() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        let before = service.recorded();
        for (row, path, body) in service.rows_with_bodies() {
            for coding in ["gzip", "br", "identity, deflate", "x-custom", "GZIP"] {
                let headers = [JSON, ("Content-Encoding", coding)];
                let reply = service.wire.send(&row.method, &path, &headers, body.to_string().as_bytes());
                let problem = assert_problem(&reply, 415, "unsupported-media-type");
                let named = coding.rsplit(", ").next().unwrap();
                assert!(problem["detail"].as_str().unwrap().contains(named), "{problem}");
            }
        }
        assert_eq!(service.recorded(), before);
    }
}

#[test]
fn a_field_that_may_stand_once_is_refused_by_name_when_it_stands_twice() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        let before = service.recorded();
        for (row, path, body) in service.rows_with_bodies() {
            for name in ["Content-Type", "traceparent", "Origin"] {
                let headers = [JSON, (name, "application/json"), (name, "application/json")];
                let reply = service.wire.send(&row.method, &path, &headers, body.to_string().as_bytes());
                assert_eq!(assert_problem(&reply, 400, "invalid-header")["header"], name, "{path}");
            }
        }
        assert_eq!(service.recorded(), before);
    }
}

#[test]
fn a_body_that_no_route_has_a_use_for_is_refused_and_never_ignored() {
    let mut service = Service::start(Binary::Registry);
    let id = service.ids[0].clone();
    let register = format!(r#"{{"name":"write","host":"127.0.0.1","port":7001,"instance_id":"{id}"}}"#);
    assert_eq!(service.wire.send_json("POST", "/services", register).status, 201);
    let heartbeat = format!("/services/write/{id}/heartbeat");
    let reply = service.wire.send_json("PUT", &heartbeat, r#"{"ttl":60}"#);
    assert_eq!(assert_problem(&reply, 400, "invalid-field")["field"], "ttl");
    assert_problem(&service.wire.send("PUT", &heartbeat, &[], b"x"), 415, "unsupported-media-type");
    assert_problem(
        &service.wire.send_json("DELETE", &format!("/services/write/{id}"), "[]"),
        400,
        "invalid-json",
    );
    assert_eq!(service.wire.send_json("PUT", &heartbeat, "{}").status, 204, "nothing is ignored in {{}}");
    assert_eq!(service.wire.send("PUT", &heartbeat, &[], b"").status, 204);
}

#[test]
fn an_encoded_character_that_needs_no_encoding_stands_for_itself() {
    let mut service = Service::start(Binary::Registry);
    for (path, status) in [
        ("/%73ervices", 200),
        ("/services/%77rite", 200),
        ("/services%2Fwrite", 404),
        ("/%zz", 400),
        ("/services%", 400),
    ] {
        assert_eq!(
            service.wire.exchange(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"), "GET").status,
            status,
            "{path}"
        );
    }
}

#[test]
fn options_of_the_server_as_a_whole_lists_its_methods() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        let reply = service.wire.send("OPTIONS", "*", &[], b"");
        assert_eq!((reply.status, reply.body.len()), (204, 0));
        assert!(reply.header("Allow").is_some_and(|allow| allow.contains("GET")));
    }
}

#[test]
fn a_name_that_an_object_repeats_at_any_depth_is_refused() {
    let mut service = Service::start(Binary::Registry);
    let body = r#"{"name":"write","host":"127.0.0.1","port":7001,"metadata":{"zone":"a","zone":"b"}}"#;
    let reply = service.wire.send_json("POST", "/services", body);
    assert_eq!(assert_problem(&reply, 400, "invalid-field")["field"], "metadata.zone");
}

#[test]
fn a_list_of_entity_tags_may_have_empty_elements_and_none_match_is_never_ignored() {
    let mut service = Service::start(Binary::Write);
    let path = format!("/accounts/{}/deposit", service.ids[0]);
    let mut deposit = |name: &str, value: &str| {
        service.wire.send("POST", &path, &[JSON, (name, value)], br#"{"amount":1}"#).status
    };
    assert_eq!(deposit("If-Match", "\"2\","), 200);
    assert_eq!(deposit("If-Match", ", \"1\" ,, \"3\""), 200);
    assert_eq!(deposit("If-None-Match", "*"), 412);
    assert_eq!(deposit("If-None-Match", "\"4\""), 412);
    assert_eq!(deposit("If-None-Match", "\"1\", \"2\""), 200);
    assert_eq!(deposit("If-None-Match", "4"), 400);
}
