//! The registry behind a socket.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::registry_peer::{DEADLINE, LiveRegistry, until};
use crate::support::{Binary, Directory, Launch};
use tally::discovery::RegistryClient;
use tally::http::{Method, Request};
use tally::registry::RegistryOptions;

fn lasting() -> RegistryOptions {
    RegistryOptions { ttl: Duration::from_secs(3600), ..RegistryOptions::default() }
}

fn get(url: &str) -> Value {
    let mut response = ureq::get(url).config().timeout_global(Some(2 * DEADLINE)).build().call().unwrap();
    serde_json::from_slice(&response.body_mut().read_to_vec().unwrap()).unwrap()
}

fn register(registry: &LiveRegistry, name: &str) -> String {
    let body = serde_json::json!({"name": name, "host": "127.0.0.1", "port": 7001}).to_string();
    let request = ureq::post(format!("{}/services", registry.url())).content_type("application/json");
    let response = request.send(body).unwrap();
    assert_eq!(response.status(), 201);
    format!("{}{}", registry.url(), response.headers()["location"].to_str().unwrap())
}

#[test]
fn a_service_registers_lives_by_heartbeats_and_leaves() {
    let registry = LiveRegistry::start_with(lasting());
    let lease = register(&registry, "write");
    assert_eq!(ureq::put(format!("{lease}/heartbeat")).send_empty().unwrap().status(), 204);
    let found = get(&format!("{}/services/write", registry.url()));
    assert_eq!(found["instances"][0]["port"], 7001);
    assert_eq!(ureq::delete(&lease).call().unwrap().status(), 204);
    let refused = ureq::delete(&lease).config().http_status_as_error(false).build().call().unwrap();
    assert_eq!(refused.status(), 404);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
}

#[test]
fn a_look_up_that_waits_is_answered_by_the_change() {
    let registry = LiveRegistry::start_with(lasting());
    let begun = Instant::now();
    let before = registry.gauges().index;
    let url = format!("{}/services/write?index={before}&wait=30", registry.url());
    let waiter = std::thread::spawn(move || get(&url));
    until("it waits", || registry.gauges().waiting == 1);
    register(&registry, "write");
    assert_eq!(waiter.join().unwrap()["index"], before + 1);
    assert!(begun.elapsed() < DEADLINE);
}

#[test]
fn a_host_that_no_client_can_connect_to_is_not_registered() {
    let registry = LiveRegistry::start_with(lasting());
    for host in ["0.0.0.0", "[", "127.0.0.1:80", "..", "127.1", "::", "224.0.0.1", "a.", "-a", "1.2.3.4.5"] {
        let body = serde_json::json!({"name": "write", "host": host, "port": 7001}).to_string();
        let request = ureq::post(format!("{}/services", registry.url())).content_type("application/json");
        let response = request.config().http_status_as_error(false).build().send(body).unwrap();
        assert_eq!(response.status(), 400, "{host}");
    }
    assert_eq!(registry.live("write"), 0);
}

#[test]
fn a_look_up_with_an_index_of_the_life_before_is_answered_at_once() {
    let registry = LiveRegistry::start_with(lasting());
    register(&registry, "write");
    let before = registry.gauges().index;
    let registry = LiveRegistry::start_at(registry.stop());
    // As many changes as in the life before.
    register(&registry, "write");
    let begun = Instant::now();
    let answer = get(&format!("{}/services/write?index={before}&wait=30", registry.url()));
    assert_eq!(answer["instances"].as_array().unwrap().len(), 1);
    assert!(begun.elapsed() < DEADLINE, "it has waited");
}

/// Fills the registry up to its limits. Returns the path of one instance.
fn fill(registry: &LiveRegistry) -> String {
    let metadata: std::collections::BTreeMap<String, String> =
        (0..7).map(|key| (key.to_string(), "x".repeat(256))).collect();
    let mut first = None;
    for number in 0.. {
        let name = format!("service-{}", number % 16);
        let body = serde_json::json!({"name": name, "host": "host", "port": 1, "metadata": metadata});
        let response = registry.handle(&Request::post("/services", &body.to_string()));
        if response.status != 201 {
            assert_eq!(response.status, 503);
            break;
        }
        first.get_or_insert_with(|| response.header("Location").unwrap().to_owned());
    }
    first.unwrap()
}

#[test]
fn the_answer_for_a_name_that_is_full_is_read_whole_by_the_client() {
    let registry = LiveRegistry::start_with(lasting());
    // A NUL is six bytes of the answer.
    let body =
        serde_json::json!({"name": "write", "host": "host", "port": 1, "metadata": {"x": "\0".repeat(256)}});
    let post = Request::post("/services", &body.to_string());
    let taken = (0..).take_while(|_| registry.handle(&post).status == 201).count();
    let client = RegistryClient::new(vec![registry.url().parse().unwrap()]);
    assert_eq!(client.instances("write").unwrap().len(), taken);
    let other = serde_json::json!({"name": "read", "host": "host", "port": 1}).to_string();
    assert_eq!(registry.handle(&Request::post("/services", &other)).status, 201);
}

#[test]
fn heartbeats_are_answered_beside_readers_of_a_full_registry() {
    let registry = LiveRegistry::start_with(lasting());
    let lease = fill(&registry);
    let bytes = registry.gauges().bytes;
    assert!((7 << 20..=8 << 20).contains(&bytes), "{bytes}");
    let done = AtomicBool::new(false);
    let mut times: Vec<_> = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(registry.handle(&Request::get("/services")).status, 200);
                }
            });
        }
        let beat = |_| {
            let begun = Instant::now();
            let request = Request::new(Method::PUT, &format!("{lease}/heartbeat"));
            assert_eq!(registry.handle(&request).status, 204);
            begun.elapsed()
        };
        let times = (0..200).map(beat).collect();
        done.store(true, Ordering::Relaxed);
        times
    });
    times.sort();
    eprintln!("heartbeats beside 4 readers of {bytes} bytes: p50 {:?}, p99 {:?}", times[100], times[197]);
}

#[test]
fn stopping_answers_those_who_wait() {
    let registry = LiveRegistry::start_with(lasting());
    let begun = Instant::now();
    let before = registry.gauges().index;
    let url = format!("{}/services?index={before}&wait=30", registry.url());
    let waiter = std::thread::spawn(move || get(&url));
    until("it waits", || registry.gauges().waiting == 1);
    registry.stop();
    assert_eq!(waiter.join().unwrap()["index"], before);
    assert!(begun.elapsed() < DEADLINE);
}

#[test]
fn the_log_says_who_came_who_was_replaced_who_left_and_who_expired_and_no_heartbeat() {
    let directory = Directory::fresh();
    let registry = Launch::on_free_port(Binary::Registry, &directory).flag("--ttl", "1").start();
    let id = "01936d5e-8f2a-7000-8000-000000000001";
    let body = serde_json::json!({"name": "write", "host": "::1", "port": 7001, "instance_id": id,
        "metadata": {"log_id": "x\ny"}});
    registry.client().post("/services", &body).expect(201);
    registry.wait_for_log(&format!(
        "INFO  tally::registry::journal write {id} at [::1]:7001 registered, log_id=\"x\\ny\""
    ));
    registry.client().post("/services", &body).expect(201);
    registry.wait_for_log("registered again");
    let path = format!("/services/write/{id}");
    for _ in 0..5 {
        registry.client().try_send("PUT", &format!("{path}/heartbeat"), &[], None).unwrap();
    }
    // Nobody asks the registry meanwhile: it notices by itself.
    registry.wait_for_log(&format!("WARN  tally::registry::journal write {id} at [::1]:7001 expired"));
    registry.client().post("/services", &body).expect(201);
    registry.client().try_send("DELETE", &path, &[], None).unwrap().expect(204);
    let ended = registry.stop();
    assert!(ended.stderr.contains("at [::1]:7001 deregistered"), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("journal").count(), 5, "{}", ended.stderr);
}

#[test]
fn a_storm_of_registrations_does_not_flood_the_log() {
    let directory = Directory::fresh();
    let registry = Launch::on_free_port(Binary::Registry, &directory).start();
    let body = serde_json::json!({"name": "write", "host": "127.0.0.1", "port": 7001});
    let (begun, client) = (Instant::now(), registry.client());
    for _ in 0..500 {
        client.post("/services", &body).expect(201);
    }
    let ended = registry.stop();
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    let lines = ended.stderr.matches(" registered").count();
    // A batch at once, a batch in each second, and a batch at the stop.
    assert!(lines <= 20 * (seconds + 3), "{lines} lines in {seconds} s");
    assert!(ended.stderr.contains("are left out of the log") || lines == 500, "{}", ended.stderr);
}
