//! The routes of the registry.
//!
//! **Invariant:** a handler copies from the lease table under its lock and writes the answer outside.
//!
//! Read next: `discovery/client.rs`, the client of these routes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::changes::{Change, Departure};
use super::filter::{METADATA, MetadataFilter};
use super::instance::{Instance, Registration};
use super::leases::{Full, NotRegistered};
use super::registration::is_service_name;
use super::service::Registry;
use super::targets::ScrapeTarget;
use crate::console;
use crate::http::{Params, Problem, ProblemType, Request, Response, Route, Router, problems};
use crate::time::Timestamp;

/// The longest list that is written without a turn, in bytes: one for each connection takes no more memory
/// than the connections' own buffers.
const SHORT_LIST_BYTES: usize = 32 << 10;
/// The shortest list that gets an unmapped buffer, in bytes: the allocator keeps little of a shorter one.
/// See [`list`].
const LONG_LIST_BYTES: usize = 512 << 10;
/// The capacity of an unmapped buffer, in bytes: glibc returns a block of this size to the system when the
/// block is freed. See [`list`].
const UNMAPPED_WHEN_FREED_BYTES: usize = 33 << 20;

/// 404: the lease is unknown or has expired.
pub const INSTANCE_NOT_FOUND: ProblemType = ProblemType {
    slug: "instance-not-found",
    status: 404,
    title: "There is no such instance",
    meaning: "No live instance has this name and id: it never registered here, its lease ran out, or the registry was restarted. A service that gets this on a heartbeat registers again.",
};

/// The problems of the registry alone.
pub const PROBLEMS: &[&ProblemType] = &[&INSTANCE_NOT_FOUND];

/// The query parameters of a list: see [`Registry::wait_as_asked`] and [`MetadataFilter`].
const LIST: &[&str] = &["index", "wait", METADATA];

/// The routes of the registry.
pub const ROUTES: &[Route<Arc<Registry>>] = &[
    Route::get("/", console_page),
    Route::get("/health", health),
    Route::get("/ready", ready),
    Route::post("/services", register),
    Route::get("/services", all_services).with_query(LIST),
    Route::get("/services/{name}", one_service).with_query(LIST),
    Route::get("/services/{name}/{instance_id}", one_instance),
    Route::delete("/services/{name}/{instance_id}", deregister),
    Route::put("/services/{name}/{instance_id}/heartbeat", heartbeat),
    Route::get("/prometheus/targets", prometheus_targets),
];

/// Returns the service, for an HTTP engine or for direct calls.
pub fn router(registry: Arc<Registry>) -> Router<Arc<Registry>> {
    Router::new(registry, ROUTES)
}

fn register(registry: &Arc<Registry>, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
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

fn heartbeat(registry: &Arc<Registry>, _: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let (name, id) = (service_name(params)?, params.uuid(1)?);
    registry.with_leases(|leases, now| leases.heartbeat(name, id, now, Timestamp::now()))?;
    Ok(Response::empty(204))
}

fn deregister(registry: &Arc<Registry>, _: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let (name, id) = (service_name(params)?, params.uuid(1)?);
    registry.with_leases(|leases, now| leases.deregister(name, id, now, Timestamp::now()))?;
    Ok(Response::empty(204))
}

fn one_instance(registry: &Arc<Registry>, _: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let (name, id) = (service_name(params)?, params.uuid(1)?);
    let instance = registry.with_leases(|leases, now| leases.instance(name, id, now)).ok_or(NotRegistered)?;
    Ok(Response::json(200, &*instance))
}

fn one_service(registry: &Arc<Registry>, _: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Answer<'a> {
        name: &'a str,
        index: u64,
        instances: Vec<&'a Instance>,
    }
    let name = service_name(params)?;
    let filter = MetadataFilter::of(params.query())?;
    registry.wait_as_asked(params.query())?;
    // After the wait, because a long poll must not hold a turn. A short list needs none: a crowd of clients
    // with large lists does not hold up the look-up of one service.
    let bytes = registry.with_leases(|leases, now| leases.bytes_of(name, now));
    let _turn = if bytes > SHORT_LIST_BYTES { Some(registry.turn()?) } else { None };
    // Read again: the turn may have taken seconds.
    let (index, bytes, instances) = registry.with_leases(|leases, now| {
        (leases.index(now), leases.bytes_of(name, now), leases.instances(name, now))
    });
    Ok(list(bytes, &Answer { name, index, instances: shown(&instances, &filter) }))
}

/// Returns all services, and the facts that let a page count leases down and say why an instance is gone.
fn all_services(registry: &Arc<Registry>, _: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Answer<'a> {
        index: u64,
        ttl_seconds: f64,
        now: String,
        services: BTreeMap<&'a str, Vec<&'a Instance>>,
        departed: Vec<Departed<'a>>,
    }
    let filter = MetadataFilter::of(params.query())?;
    registry.wait_as_asked(params.query())?;
    // Any list of all services may be long, so each takes a turn.
    let _turn = registry.turn()?;
    let (index, bytes, services, departed) = registry.with_leases(|leases, now| {
        let departed = leases.changes(now).departed();
        (leases.index(now), leases.bytes(now), leases.services(now), departed)
    });
    let services = services.iter().map(|(name, instances)| (name.as_ref(), shown(instances, &filter)));
    // A name whose instances are all filtered out is not listed, as a name without instances.
    let services = services.filter(|(_, instances)| !instances.is_empty()).collect();
    let departed = departed.iter().filter_map(Departed::of);
    let departed = departed.filter(|departed| filter.is_match(departed.instance)).collect();
    let (ttl_seconds, now) = (registry.ttl().as_secs_f64(), Timestamp::now().to_string());
    Ok(list(bytes, &Answer { index, ttl_seconds, now, services, departed }))
}

/// An instance that is gone, in the form of the answers.
#[derive(Serialize)]
struct Departed<'a> {
    #[serde(flatten)]
    instance: &'a Instance,
    reason: Departure,
    at: Timestamp,
}

impl<'a> Departed<'a> {
    /// Returns `None` for a change after which the instance lives.
    fn of(change: &'a Change) -> Option<Self> {
        Some(Self { instance: &change.instance, reason: change.departure()?, at: change.at })
    }
}

/// Answers a Prometheus server that asks whom to scrape: all instances, and the registry itself.
fn prometheus_targets(
    registry: &Arc<Registry>,
    request: &Request,
    _: &Params<'_>,
) -> Result<Response, Problem> {
    // An incomplete list would end the scraping of live instances. Prometheus keeps its last list over a 503.
    complete(registry)?;
    let _turn = registry.turn()?;
    let (bytes, services) = registry.with_leases(|leases, now| (leases.bytes(now), leases.services(now)));
    // The name by which the request reached the registry works for the asker. Only --advertise knows better.
    // A request of HTTP/1.0 may lack the header, and then gets the services alone.
    let own = registry.advertised.as_deref().or_else(|| request.header("Host"));
    let own = own.map(|address| ScrapeTarget::at(address.to_owned(), "registry", registry.instance_id));
    let others = services.values().flatten().map(|instance| ScrapeTarget::of(instance));
    Ok(list(bytes, &own.into_iter().chain(others).collect::<Vec<_>>()))
}

/// Returns a list of instances; `bytes` is their size as JSON.
fn list(bytes: usize, answer: &impl Serialize) -> Response {
    // glibc keeps freed blocks of some MiB in the arena of each thread, but unmaps a block of more than 32
    // MiB as soon as the block is freed (mallopt(3), M_MMAP_THRESHOLD). Only the filled pages cost memory.
    let capacity = if bytes > LONG_LIST_BYTES { UNMAPPED_WHEN_FREED_BYTES } else { 0 };
    let mut body = Vec::with_capacity(capacity);
    // Maps with text keys always serialize, and a Vec accepts every write.
    serde_json::to_writer(&mut body, answer).expect("a list is JSON");
    Response::new(200, "application/json", body)
}

fn shown<'a>(instances: &'a [Arc<Instance>], filter: &MetadataFilter<'_>) -> Vec<&'a Instance> {
    instances.iter().map(AsRef::as_ref).filter(|instance| filter.is_match(instance)).collect()
}

/// Returns the console. The page may talk to the hosts that are registered now.
fn console_page(registry: &Arc<Registry>, _: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    // The two services that the page talks to: other names must not open the policy.
    let instances =
        registry.with_leases(|leases, now| [leases.instances("write", now), leases.instances("read", now)]);
    Ok(console::page(instances.iter().flatten().map(|instance| instance.host.as_str())))
}

fn health(registry: &Arc<Registry>, _: &Request, _: &Params<'_>) -> Result<Response, Problem> {
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

/// Answers 200 from one TTL after the start: every live service has sent a heartbeat by then, so the list is
/// complete.
fn ready(registry: &Arc<Registry>, _: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    complete(registry)?;
    Ok(Response::json(200, &json!({ "status": "ready", "service": "registry" })))
}

/// Checks that the list of services is complete.
///
/// # Errors
/// 503 `not-ready` until one TTL after the start.
fn complete(registry: &Registry) -> Result<(), Problem> {
    let Some(left) = registry.filled_in() else {
        return Ok(());
    };
    let seconds = left.as_secs_f64().ceil();
    let detail = format!("the list of services is full one TTL after the start, in {seconds} s");
    Err(Problem::new(&problems::NOT_READY, detail).with_header("Retry-After", seconds.to_string()))
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
    // A dead instance frees its room within one TTL.
    let seconds = ttl.as_secs_f64().ceil();
    let reason = match full {
        Full::Table => "the registry takes no more instances until a lease runs out",
        Full::Name => "the registry takes no more instances of this name until a lease of it runs out",
    };
    Problem::new(&problems::OVERLOADED, reason).with_header("Retry-After", seconds.to_string())
}

#[cfg(test)]
mod tests;
