//! The routes of the registry, as the contract lists them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::leases::{Full, Instance, NotRegistered, Registration};
use super::registration::is_service_name;
use super::service::Registry;
use crate::http::{Method, Params, Problem, ProblemType, Query, Request, Response, Route, Router, problems};
use crate::time::Timestamp;

/// Lists of at most this many bytes are built without waiting for a turn: with one for each connection they
/// are no more than the connections' own buffers.
const SHORT_LIST_BYTES: usize = 32 << 10;
/// Shorter lists, in bytes, leave too little behind to matter.
const LONG_LIST_BYTES: usize = 512 << 10;
/// A buffer of this capacity, in bytes, goes back to the system when it is freed. See [`list`].
const UNMAPPED_WHEN_FREED_BYTES: usize = 33 << 20;

/// 404: the lease is unknown or has run out.
pub const INSTANCE_NOT_FOUND: ProblemType = ProblemType {
    slug: "instance-not-found",
    status: 404,
    title: "There is no such instance",
    meaning: "No live instance has this name and id: it never registered here, its lease ran out, or the registry was restarted. A service that gets this on a heartbeat registers again.",
};

/// The problems that only the registry has.
pub const PROBLEMS: &[&ProblemType] = &[&INSTANCE_NOT_FOUND];

/// The routes of the registry.
pub const ROUTES: &[Route<Arc<Registry>>] = &[
    Route { method: Method::GET, pattern: "/health", handler: health },
    Route { method: Method::GET, pattern: "/ready", handler: ready },
    Route { method: Method::POST, pattern: "/services", handler: register },
    Route { method: Method::GET, pattern: "/services", handler: all_services },
    Route { method: Method::GET, pattern: "/services/{name}", handler: one_service },
    Route { method: Method::GET, pattern: "/services/{name}/{instance_id}", handler: one_instance },
    Route { method: Method::DELETE, pattern: "/services/{name}/{instance_id}", handler: deregister },
    Route { method: Method::PUT, pattern: "/services/{name}/{instance_id}/heartbeat", handler: heartbeat },
];

/// The service: hand it to an engine, or call it directly.
pub fn router(registry: Arc<Registry>) -> Router<Arc<Registry>> {
    Router::new(registry, ROUTES)
}

fn register(registry: &Arc<Registry>, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    Query::of(request, &[])?;
    let registration = Registration::of(request)?;
    let location = format!("/services/{}/{}", registration.name, registration.instance_id);
    let answer = json!({
        "instance_id": registration.instance_id,
        "ttl_seconds": registry.ttl().as_secs_f64(),
        "heartbeat_seconds": registry.heartbeat_interval().as_secs_f64(),
    });
    registry
        .with_leases(|leases, now| leases.register(registration, now, Timestamp::now()))
        .map_err(|full| overloaded(full, registry.ttl()))?;
    Ok(Response::json(201, &answer).with_header("Location", location))
}

fn heartbeat(registry: &Arc<Registry>, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    Query::of(request, &[])?;
    let (name, id) = (service_name(params)?, params.uuid(1)?);
    registry.with_leases(|leases, now| leases.heartbeat(name, id, now, Timestamp::now()))?;
    Ok(Response::empty(204))
}

fn deregister(registry: &Arc<Registry>, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    Query::of(request, &[])?;
    let (name, id) = (service_name(params)?, params.uuid(1)?);
    registry.with_leases(|leases, now| leases.deregister(name, id, now))?;
    Ok(Response::empty(204))
}

fn one_instance(
    registry: &Arc<Registry>,
    request: &Request,
    params: &Params<'_>,
) -> Result<Response, Problem> {
    Query::of(request, &[])?;
    let (name, id) = (service_name(params)?, params.uuid(1)?);
    let instance = registry.with_leases(|leases, now| leases.instance(name, id, now)).ok_or(NotRegistered)?;
    Ok(Response::json(200, &*instance))
}

fn one_service(
    registry: &Arc<Registry>,
    request: &Request,
    params: &Params<'_>,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Answer<'a> {
        name: &'a str,
        index: u64,
        instances: Vec<&'a Instance>,
    }
    let name = service_name(params)?;
    registry.wait_as_asked(request)?;
    // Clients that ask for large lists in a crowd do not hold up those that look for one service.
    let bytes = registry.with_leases(|leases, now| leases.bytes_of(name, now));
    let _turn = if bytes > SHORT_LIST_BYTES { Some(registry.turn()?) } else { None };
    let (index, bytes, instances) = registry.with_leases(|leases, now| {
        (leases.index(now), leases.bytes_of(name, now), leases.instances(name, now))
    });
    Ok(list(bytes, &Answer { name, index, instances: shown(&instances) }))
}

fn all_services(registry: &Arc<Registry>, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Answer<'a> {
        index: u64,
        services: BTreeMap<&'a str, Vec<&'a Instance>>,
    }
    registry.wait_as_asked(request)?;
    let _turn = registry.turn()?;
    let (index, bytes, services) =
        registry.with_leases(|leases, now| (leases.index(now), leases.bytes(now), leases.services(now)));
    let services = services.iter().map(|(name, instances)| (name.as_ref(), shown(instances))).collect();
    Ok(list(bytes, &Answer { index, services }))
}

/// A list of instances of `bytes` in all.
///
/// glibc keeps freed blocks of some MiB in the arena of each thread that allocated one, but unmaps a block of
/// more than 32 MiB as soon as it is freed (mallopt(3), `M_MMAP_THRESHOLD`). A large list therefore gets a
/// buffer of that size; only the pages that the list fills cost memory.
fn list(bytes: usize, answer: &impl Serialize) -> Response {
    let capacity = if bytes > LONG_LIST_BYTES { UNMAPPED_WHEN_FREED_BYTES } else { 0 };
    let mut body = Vec::with_capacity(capacity);
    serde_json::to_writer(&mut body, answer).expect("a list is JSON");
    Response::new(200, "application/json", body)
}

fn shown(instances: &[Arc<Instance>]) -> Vec<&Instance> {
    instances.iter().map(AsRef::as_ref).collect()
}

fn health(registry: &Arc<Registry>, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    Query::of(request, &[])?;
    let (index, instances) = registry.with_leases(|leases, now| (leases.index(now), leases.count(now)));
    Ok(Response::json(
        200,
        &json!({
            "status": "ok",
            "service": "registry",
            "ready": registry.filled_in().is_none(),
            "index": index,
            "instances": instances,
        }),
    ))
}

/// The registry is ready one TTL after its start: every live service has sent a heartbeat by then, so its
/// list is full.
fn ready(registry: &Arc<Registry>, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    Query::of(request, &[])?;
    match registry.filled_in() {
        None => Ok(Response::json(200, &json!({ "status": "ready", "service": "registry" }))),
        Some(left) => {
            let seconds = left.as_secs_f64().ceil();
            let detail = format!("the list of services is full one TTL after the start, in {seconds} s");
            Err(Problem::new(&problems::NOT_READY, detail).with_header("Retry-After", seconds.to_string()))
        }
    }
}

fn service_name<'a>(params: &Params<'a>) -> Result<&'a str, Problem> {
    let name = params.text(0);
    if is_service_name(name) {
        return Ok(name);
    }
    Err(Problem::new(&problems::INVALID_ID, "a service name in the path must be 1 to 63 of a-z, 0-9 and -"))
}

impl From<NotRegistered> for Problem {
    fn from(NotRegistered: NotRegistered) -> Self {
        Self::new(&INSTANCE_NOT_FOUND, "no live instance has this name and id: register again")
    }
}

fn overloaded(full: Full, ttl: Duration) -> Problem {
    let seconds = ttl.as_secs_f64().ceil();
    let reason = match full {
        Full::Table => "the registry takes no more instances until a lease runs out",
        Full::Name => "the registry takes no more instances of this name until a lease of it runs out",
    };
    Problem::new(&problems::OVERLOADED, reason).with_header("Retry-After", seconds.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_EXACT_INTEGER;
    use crate::registry::{LIMITS, Limits, Options};
    use serde_json::Value;
    use std::time::Instant;
    use uuid::Uuid;

    const ID: &str = "01936d5e-8f2a-7000-8000-000000000001";
    const TTL: Duration = Duration::from_secs(3600);

    fn service(options: Options) -> Arc<Router<Arc<Registry>>> {
        Arc::new(router(Arc::new(Registry::new(options))))
    }

    fn lasting() -> Arc<Router<Arc<Registry>>> {
        service(Options { ttl: TTL, ..Options::default() })
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

    /// A request that waits for the next change, begun for sure.
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
        let service = service(Options { ttl: TTL, max_waits: 1, ..Options::default() });
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
        let expected =
            ["host", "instance_id", "last_heartbeat_at", "metadata", "name", "port", "registered_at"];
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
            (Request::post("/services", "[]"), "invalid-json"),
            (Request::post("/services", "{}"), "invalid-field"),
        ] {
            assert_eq!(status_and_slug(&service, &request), (400, slug.into()), "{request:?}");
        }
    }

    #[test]
    fn a_full_registry_says_when_to_come_back() {
        let service =
            service(Options { ttl: TTL, limits: Limits { instances: 1, ..LIMITS }, ..Options::default() });
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
        assert_eq!(waiter.join().unwrap(), json!({"index": before + 1, "services": {}}));
    }

    #[test]
    fn a_lease_that_runs_out_wakes_those_who_wait() {
        let service = service(Options { ttl: Duration::from_millis(50), ..Options::default() });
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
        // No request may wait, so one that would is refused.
        let service = service(Options { ttl: TTL, max_waits: 0, ..Options::default() });
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
}
