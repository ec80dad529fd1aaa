//! Tests of the routes, called without an HTTP engine.

use super::*;
use crate::http::Method;
use crate::limits::MAX_EXACT_INTEGER;
use crate::registry::{LIMITS, Limits, RegistryOptions};
use serde_json::Value;
use std::time::Instant;
use uuid::Uuid;

const ID: &str = "01936d5e-8f2a-7000-8000-000000000001";
const TTL: Duration = Duration::from_secs(3600);

fn service(options: RegistryOptions) -> Arc<Router<Arc<Registry>>> {
    Arc::new(router(Arc::new(Registry::new(options))))
}

fn lasting() -> Arc<Router<Arc<Registry>>> {
    service(RegistryOptions { ttl: TTL, ..RegistryOptions::default() })
}

fn json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

fn register(service: &Router<Arc<Registry>>, name: &str) -> Response {
    let body = json!({"name": name, "host": "127.0.0.1", "port": 7001, "metadata": {"zone": "a"}});
    service.handle(&Request::post("/services", &body.to_string()))
}

fn register_as(service: &Router<Arc<Registry>>, id: &str) -> Response {
    let body = json!({"name": "write", "host": "::1", "port": 7001, "instance_id": id});
    service.handle(&Request::post("/services", &body.to_string()))
}

fn get(service: &Router<Arc<Registry>>, target: &str) -> Value {
    let response = service.handle(&Request::get(target));
    assert_eq!(response.status, 200, "{target}");
    json(&response)
}

fn status_and_slug(service: &Router<Arc<Registry>>, request: &Request) -> (u16, String) {
    let response = service.handle(request);
    let slug = json(&response)["type"].as_str().unwrap_or_default().replace("/problems/", "");
    (response.status, slug)
}

fn index(service: &Router<Arc<Registry>>) -> u64 {
    service.state().gauges().index
}

/// Starts a long poll for the next change, and returns when the poll is waiting.
fn waiting(service: &Arc<Router<Arc<Registry>>>, path: &str) -> std::thread::JoinHandle<Value> {
    let target = format!("{path}?index={}&wait=30", index(service));
    let waiter = std::thread::spawn({
        let service = Arc::clone(service);
        move || {
            let begun = Instant::now();
            let answer = get(&service, &target);
            assert!(begun.elapsed() < Duration::from_secs(20), "woken by its own timeout only");
            answer
        }
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    while service.state().gauges().waiting == 0 {
        assert!(Instant::now() < deadline && !waiter.is_finished(), "it does not wait");
    }
    waiter
}

#[test]
fn one_wait_too_many_is_refused_and_other_requests_are_not() {
    let service = service(RegistryOptions { ttl: TTL, max_waits: 1, ..RegistryOptions::default() });
    let waiter = waiting(&service, "/services");
    let before = index(&service);
    let refused = service.handle(&Request::get(&format!("/services/write?index={before}&wait=30")));
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("1")));
    assert_eq!(register(&service, "write").status, 201);
    assert_eq!(waiter.join().unwrap()["index"], before + 1);
}

#[test]
fn a_registration_answers_its_lease_and_its_place() {
    let service = lasting();
    let response = register(&service, "write");
    let answer = json(&response);
    let id = answer["instance_id"].as_str().unwrap();
    assert_eq!(response.status, 201);
    assert_eq!((&answer["ttl_seconds"], &answer["heartbeat_seconds"]), (&json!(3600.0), &json!(1200.0)));
    let location = response.header("Location").unwrap();
    assert_eq!(location, format!("/services/write/{id}"));
    assert_eq!(get(&service, location)["instance_id"], id);
}

#[test]
fn a_look_up_shows_the_live_instances_of_that_name_alone() {
    let service = lasting();
    let before = index(&service);
    register(&service, "write");
    register(&service, "read");
    let answer = get(&service, "/services/write");
    assert_eq!((&answer["name"], &answer["index"]), (&json!("write"), &json!(before + 2)));
    let instances = answer["instances"].as_array().unwrap();
    assert_eq!(instances.len(), 1);
    let mut keys: Vec<_> = instances[0].as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected = ["host", "instance_id", "last_heartbeat_at", "metadata", "name", "port", "registered_at"];
    assert_eq!(keys, expected);
    assert_eq!(instances[0]["metadata"], json!({"zone": "a"}));
}

#[test]
fn a_name_that_nobody_has_is_no_error() {
    let service = lasting();
    let expected = json!({"name": "nobody", "index": index(&service), "instances": []});
    assert_eq!(get(&service, "/services/nobody"), expected);
}

#[test]
fn all_services_are_listed_by_name() {
    let service = lasting();
    let before = index(&service);
    register(&service, "write");
    register(&service, "read");
    register(&service, "read");
    let answer = get(&service, "/services");
    assert_eq!(answer["index"], before + 3);
    assert_eq!(answer["services"]["read"].as_array().unwrap().len(), 2);
    let gauges = service.state().gauges();
    assert_eq!((gauges.index, gauges.live["read"], gauges.live["write"]), (before + 3, 2, 1));
}

#[test]
fn a_heartbeat_keeps_and_a_removal_ends_and_then_both_are_404() {
    let service = lasting();
    register_as(&service, &ID.to_uppercase());
    let beat = Request::new(Method::PUT, &format!("/services/write/{ID}/heartbeat"));
    let removal = Request::new(Method::DELETE, &format!("/services/write/{ID}"));
    assert_eq!(service.handle(&beat).status, 204);
    assert_eq!(service.handle(&removal).status, 204);
    for request in [beat, removal, Request::get(&format!("/services/write/{ID}"))] {
        assert_eq!(status_and_slug(&service, &request), (404, "instance-not-found".into()));
    }
    assert_eq!(register_as(&service, ID).status, 201);
    assert_eq!(register_as(&service, ID).status, 201);
    let answer = get(&service, "/services/write");
    assert_eq!(answer["instances"].as_array().unwrap().len(), 1);
    assert_eq!(answer["instances"][0]["instance_id"], ID);
}

#[test]
fn paths_and_queries_that_are_not_valid_are_400() {
    let service = lasting();
    let long = format!("/services/{}", "a".repeat(64));
    let not_uuid = "/services/write/7/heartbeat";
    for (request, slug) in [
        (Request::get("/services/Write"), "invalid-id"),
        (Request::get("/services/%20"), "invalid-id"),
        (Request::get(&long), "invalid-id"),
        (Request::new(Method::PUT, not_uuid), "invalid-id"),
        (Request::new(Method::DELETE, "/services/write/7"), "invalid-id"),
        (Request::get("/services?index=-1"), "invalid-query"),
        (Request::get("/services/write?wait=31"), "invalid-query"),
        (Request::get("/services/write?wait=x&index=0"), "invalid-query"),
        (Request::get("/services/write?indx=1"), "invalid-query"),
        (Request::get("/services?metadata.=a"), "invalid-query"),
        (Request::get("/services?metadata=a"), "invalid-query"),
        (Request::get("/services/write?metadata.zone"), "invalid-query"),
        (Request::post("/services", "[]"), "invalid-json"),
        (Request::post("/services", "{}"), "invalid-field"),
    ] {
        assert_eq!(status_and_slug(&service, &request), (400, slug.into()), "{request:?}");
    }
}

#[test]
fn a_full_registry_says_when_to_come_back() {
    let service = service(RegistryOptions {
        ttl: TTL,
        limits: Limits { instances: 1, ..LIMITS },
        ..RegistryOptions::default()
    });
    register(&service, "write");
    let refused = register(&service, "write");
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("3600")));
}

#[test]
fn a_registration_wakes_those_who_wait() {
    let service = lasting();
    register_as(&service, ID);
    let waiter = waiting(&service, "/services/write");
    register(&service, "write");
    assert_eq!(waiter.join().unwrap()["instances"].as_array().unwrap().len(), 2);
}

#[test]
fn a_removal_wakes_those_who_wait_and_a_heartbeat_does_not() {
    let service = lasting();
    register_as(&service, ID);
    let before = index(&service);
    let waiter = waiting(&service, "/services");
    service.handle(&Request::new(Method::PUT, &format!("/services/write/{ID}/heartbeat")));
    service.handle(&Request::new(Method::DELETE, &format!("/services/write/{ID}")));
    let answer = waiter.join().unwrap();
    assert_eq!((&answer["index"], &answer["services"]), (&json!(before + 1), &json!({})));
}

#[test]
fn a_lease_that_runs_out_wakes_those_who_wait() {
    let service = service(RegistryOptions { ttl: Duration::from_millis(50), ..RegistryOptions::default() });
    let before = index(&service);
    register_as(&service, ID);
    let begun = Instant::now();
    let answer = get(&service, &format!("/services/write?index={}&wait=30", before + 1));
    assert_eq!(answer, json!({"name": "write", "index": before + 2, "instances": []}));
    assert!(begun.elapsed() < Duration::from_secs(20), "woken by its own timeout only");
}

#[test]
fn a_wait_without_a_change_ends_with_what_there_is() {
    let service = lasting();
    let before = index(&service);
    let answer = get(&service, &format!("/services/write?index={before}&wait=0.01"));
    assert_eq!(answer["index"], before);
}

#[test]
fn an_index_from_elsewhere_is_answered_at_once() {
    // No request may wait: a long poll would be rejected.
    let service = service(RegistryOptions { ttl: TTL, max_waits: 0, ..RegistryOptions::default() });
    register_as(&service, ID);
    let now = index(&service);
    for elsewhere in [0, 1, now - 2, now - 1, now + 1, MAX_EXACT_INTEGER] {
        assert_eq!(get(&service, &format!("/services/write?index={elsewhere}&wait=30"))["index"], now);
    }
    assert_eq!(get(&service, "/services?wait=30")["index"], now, "without an index, nothing was seen");
}

#[test]
fn closing_ends_the_waits_and_nothing_else() {
    let service = lasting();
    let waiter = waiting(&service, "/services");
    let before = index(&service);
    service.state().close();
    assert_eq!(waiter.join().unwrap()["index"], before);
    assert_eq!(register(&service, "write").status, 201);
}

#[test]
fn health_counts_the_living() {
    let service = lasting();
    register(&service, "write");
    assert_eq!(
        get(&service, "/health"),
        json!({"status": "ok", "service": "registry", "ready": false, "index": index(&service), "instances": 1})
    );
}

#[test]
fn an_id_is_made_where_none_is_sent() {
    let answer = json(&register(&lasting(), "write"));
    let id: Uuid = answer["instance_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(id.get_version_num(), 7);
}

#[test]
fn a_short_list_is_answered_while_large_ones_are_built() {
    let registry = Arc::new(Registry::new(RegistryOptions::default()));
    let routes = router(Arc::clone(&registry));
    let lookup = || routes.handle(&Request::get("/services/write")).status;
    assert_eq!(registry.lists.alone(Duration::from_secs(5), lookup), Some(200));
}

fn register_with(service: &Router<Arc<Registry>>, name: &str, metadata: &Value) {
    let body = json!({"name": name, "host": "127.0.0.1", "port": 7001, "metadata": metadata});
    assert_eq!(service.handle(&Request::post("/services", &body.to_string())).status, 201);
}

#[test]
fn a_look_up_by_metadata_shows_the_instances_that_have_all_pairs() {
    let service = lasting();
    register_with(&service, "write", &json!({"zone": "a", "rack": "1"}));
    register_with(&service, "write", &json!({"zone": "a", "rack": "2"}));
    register_with(&service, "read", &json!({"zone": "b=c"}));
    for (query, writes, reads) in [
        ("metadata.zone=a", 2, 0),
        ("metadata.zone=a&metadata.rack=2", 1, 0),
        ("metadata.zone=a&metadata.zone=a", 2, 0),
        ("metadata.zone=a&metadata.zone=b", 0, 0),
        ("metadata.zone=b%3Dc", 0, 1),
        ("metadata.zone=", 0, 0),
        ("metadata.floor=a", 0, 0),
        ("index=0&wait=30&metadata.rack=1", 1, 0),
    ] {
        let one = get(&service, &format!("/services/write?{query}"));
        assert_eq!(one["instances"].as_array().unwrap().len(), writes, "{query}");
        let all = get(&service, &format!("/services?{query}"))["services"].clone();
        let found = |name: &str| all[name].as_array().map_or(0, Vec::len);
        assert_eq!((found("write"), found("read")), (writes, reads), "{query}");
        assert!(all.as_object().unwrap().values().all(|list| list != &json!([])), "{query}");
    }
}

#[test]
fn a_filter_that_no_metadata_can_match_is_refused_with_its_name() {
    let service = lasting();
    let parameter = |target: &str| json(&service.handle(&Request::get(target)))["parameter"].clone();
    let long_key = format!("metadata.{}", "k".repeat(65));
    assert_eq!(parameter(&format!("/services?{long_key}=a")), json!(long_key));
    assert_eq!(parameter(&format!("/services/write?metadata.k={}", "v".repeat(257))), "metadata.k");
    assert_eq!(get(&service, &format!("/services?metadata.k={}", "v".repeat(256)))["services"], json!({}));
    let many: Vec<_> = (0..17).map(|key| format!("metadata.{key}=a")).collect();
    assert_eq!(parameter(&format!("/services?{}", many.join("&"))), "metadata.16");
    assert_eq!(service.handle(&Request::get(&format!("/services?{}", many[..16].join("&")))).status, 200);
}

#[test]
fn a_filtered_look_up_that_waits_sees_the_change_of_an_instance_that_it_does_not_show() {
    let service = lasting();
    register_with(&service, "write", &json!({"zone": "b"}));
    let before = index(&service);
    let target = format!("/services/write?metadata.zone=a&index={before}&wait=30");
    let waiter = std::thread::spawn({
        let service = Arc::clone(&service);
        move || get(&service, &target)
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    while service.state().gauges().waiting == 0 {
        assert!(Instant::now() < deadline && !waiter.is_finished(), "it does not wait");
    }
    register_with(&service, "write", &json!({"zone": "b"}));
    let answer = waiter.join().unwrap();
    assert_eq!((&answer["index"], &answer["instances"]), (&json!(before + 1), &json!([])));
}

#[test]
fn the_list_of_services_says_how_long_leases_live_and_why_instances_are_gone() {
    let service = lasting();
    register_as(&service, ID);
    let live = get(&service, "/services");
    assert_eq!((&live["ttl_seconds"], &live["departed"]), (&json!(3600.0), &json!([])));
    let heartbeat = live["services"]["write"][0]["last_heartbeat_at"].as_str().unwrap();
    assert!(heartbeat <= live["now"].as_str().unwrap());
    // Replaced: the instance lives, so it is not gone.
    register_as(&service, ID);
    assert_eq!(get(&service, "/services")["departed"], json!([]));
    service.handle(&Request::new(Method::DELETE, &format!("/services/write/{ID}")));
    let departed = get(&service, "/services")["departed"].clone();
    assert_eq!((&departed[0]["instance_id"], &departed[0]["reason"]), (&json!(ID), &json!("deregistered")));
    assert!(departed[0]["at"].as_str().unwrap() >= heartbeat);
    assert_eq!((&departed[0]["host"], departed.as_array().unwrap().len()), (&json!("::1"), 1));
}

#[test]
fn a_lease_that_runs_out_is_told_as_expired_one_ttl_after_its_last_heartbeat() {
    let ttl = Duration::from_millis(50);
    let service = service(RegistryOptions { ttl, ..RegistryOptions::default() });
    let before = index(&service);
    register_as(&service, ID);
    let gone = get(&service, &format!("/services?index={}&wait=30", before + 1))["departed"][0].clone();
    assert_eq!(gone["reason"], "expired");
    let time = |field: &str| gone[field].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert_eq!(time("at"), time("last_heartbeat_at").plus(ttl));
    assert_eq!(service.state().gauges().expired, 1);
}

#[test]
fn the_targets_of_prometheus_are_a_503_until_the_list_of_services_is_full() {
    let ask = Request::get("/prometheus/targets").with_header("Host", "127.0.0.1:7000");
    let refused = lasting().handle(&ask);
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("3600")));
    assert_eq!(json(&refused)["type"], "/problems/not-ready");
}

#[test]
fn the_targets_of_prometheus_are_all_instances_and_the_registry_as_the_asker_reached_it() {
    let service = service(RegistryOptions { ttl: Duration::from_millis(50), ..RegistryOptions::default() });
    let ask = Request::get("/prometheus/targets").with_header("Host", "registry.example:7000");
    let deadline = Instant::now() + Duration::from_secs(10);
    let targets = loop {
        // Each time, because the lease is short.
        register_with(&service, "write", &json!({"log_id": "x"}));
        let targets = json(&service.handle(&ask));
        if targets.as_array().is_some_and(|targets| targets.len() > 1) {
            break targets;
        }
        assert!(Instant::now() < deadline, "the registry has no targets: {targets}");
    };
    let of = |at: usize| (&targets[at]["targets"][0], &targets[at]["labels"]["__meta_tally_service"]);
    assert_eq!(of(0), (&json!("registry.example:7000"), &json!("registry")));
    assert_eq!(of(1), (&json!("127.0.0.1:7001"), &json!("write")));
    assert_eq!(targets[1]["labels"]["__meta_tally_metadata_log_id"], "x");
}

#[test]
fn an_advertised_registry_is_a_target_at_that_address() {
    let advertised = Some("registry.example:80".to_owned());
    let options =
        RegistryOptions { ttl: Duration::from_millis(50), advertised, ..RegistryOptions::default() };
    let service = service(options);
    let ask = Request::get("/prometheus/targets").with_header("Host", "127.0.0.1:7000");
    let deadline = Instant::now() + Duration::from_secs(10);
    while service.handle(&ask).status == 503 {
        assert!(Instant::now() < deadline, "the registry does not get ready");
    }
    assert_eq!(json(&service.handle(&ask))[0]["targets"][0], "registry.example:80");
}
