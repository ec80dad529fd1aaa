//! The registry behind a socket.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::registry_peer::{DEADLINE, LiveRegistry, until};
use tally::registry::Options;

fn lasting() -> Options {
    Options { ttl: Duration::from_secs(3600), ..Options::default() }
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
