//! The routes of an operator: the state of the projections, rebuilds, health and readiness.
//!
//! Read next: `service.rs`, which holds the projector.

use serde::Serialize;
use serde_json::{Value, json};

use super::at::At;
use super::freshness::{await_position, slowest};
use super::models::{NAMES, position_of_all};
use super::problems::{PROJECTION_NOT_FOUND, REBUILD_NOT_FOUND, REBUILD_RUNNING, RETRY_AFTER, UNHEALTHY};
use super::service::ReadSide;
use super::upstream::Contact;
use crate::es::{PauseError, ProjectionState, ProjectionStatus, RebuildError, RebuildRefused};
use crate::http::{Fields, Params, Problem, Request, Response, admit_local_pages, problems};

/// The state of a projection, field by field as the API answers.
#[derive(Debug, Serialize)]
struct ProjectionView<'a> {
    name: &'a str,
    position: u64,
    /// Null while the head is unknown: no write side answers, or its page was rejected.
    head: Option<u64>,
    lag_events: Option<u64>,
    lag_seconds: f64,
    state: &'a str,
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rebuild: Option<RebuildView>,
}

#[derive(Debug, Serialize)]
struct RebuildView {
    position: u64,
    events_per_second: f64,
    seconds_left: Option<f64>,
}

pub(super) fn projections(service: &ReadSide, _: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Answer<'a> {
        projections: Vec<ProjectionView<'a>>,
    }
    await_position(service, params.query(), &NAMES)?;
    let statuses = service.projector.status();
    let projections = statuses.iter().map(shown).collect();
    At { position: slowest(&statuses), value: Answer { projections } }
        .answer(|answer| Ok(Response::json(200, &answer)))
}

fn shown(status: &ProjectionStatus) -> ProjectionView<'_> {
    ProjectionView {
        name: status.name,
        position: status.position,
        head: status.head,
        lag_events: status.lag(),
        lag_seconds: status.behind_for.as_secs_f64(),
        state: status.state.as_str(),
        error: status.error.as_deref(),
        rebuild: status.rebuild.map(|rebuild| RebuildView {
            position: rebuild.position,
            events_per_second: rebuild.events_per_second,
            seconds_left: rebuild.seconds_left,
        }),
    }
}

pub(super) fn rebuild(
    service: &ReadSide,
    request: &Request,
    params: &Params<'_>,
) -> Result<Response, Problem> {
    // POST may have a body; this route knows no fields.
    Fields::of_optional(request)?.finish()?;
    let name = params.text(0);
    service.projector.rebuild(name).map_err(|refused| problem_of(refused, name))?;
    Ok(Response::json(202, &json!({ "name": name, "state": "rebuilding" })))
}

pub(super) fn cancel_rebuild(
    service: &ReadSide,
    _: &Request,
    params: &Params<'_>,
) -> Result<Response, Problem> {
    let name = params.text(0);
    service.projector.cancel_rebuild(name).map_err(|error| match error {
        RebuildError::Refused(refused) => problem_of(refused, name),
        RebuildError::GivenUp(_) | RebuildError::TimedOut => unhealthy(&error.to_string()),
    })?;
    Ok(Response::empty(204))
}

/// Pauses following: the answer means that no event is applied any more.
pub(super) fn pause(service: &ReadSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    follow_order(request, || service.projector.pause())
}

pub(super) fn resume(service: &ReadSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    follow_order(request, || service.projector.resume())
}

fn follow_order(
    request: &Request,
    order: impl FnOnce() -> Result<(), PauseError>,
) -> Result<Response, Problem> {
    // A pause stops the rows for every client, so no page from elsewhere may ask for one.
    admit_local_pages(request)?;
    Fields::of_optional(request)?.finish()?;
    order().map_err(|error| unhealthy(&error.to_string()))?;
    Ok(Response::empty(204))
}

fn problem_of(refused: RebuildRefused, name: &str) -> Problem {
    match refused {
        RebuildRefused::UnknownProjection => {
            Problem::new(&PROJECTION_NOT_FOUND, format!("there is no projection {name:?}"))
        }
        RebuildRefused::Running => Problem::new(&REBUILD_RUNNING, refused.to_string()),
        RebuildRefused::NotRunning => Problem::new(&REBUILD_NOT_FOUND, refused.to_string()),
        RebuildRefused::Busy | RebuildRefused::Stopped => unhealthy(&refused.to_string()),
    }
}

/// Answers whether the service has met a write side, and its rows are near the end of the log. The service
/// stays ready while the write side is away: no other read service has newer rows then.
pub(super) fn ready(service: &ReadSide, _: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    service.readiness().map_err(|reason| {
        Problem::new(&problems::NOT_READY, reason).with_header("Retry-After", RETRY_AFTER)
    })?;
    Ok(Response::json(200, &json!({ "status": "ready", "service": "read" })))
}

/// Answers whether the rows can be read and each projection moves. A lost write side is reported and is not
/// a failure, because queries still work; a projection that an event has stopped needs a person.
pub(super) fn health(service: &ReadSide, _: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    // Checks the file at once; a query checks the file only now and then.
    service.check_file().map_err(|what| unhealthy(&what))?;
    let statuses = service.projector.status();
    if let Some(status) = statuses.iter().find(|status| status.state == ProjectionState::Stalled) {
        let error = status.error.as_deref().unwrap_or("the reason is not known");
        let problem = unhealthy(&format!("projection {} is stalled: {error}", status.name));
        return Err(problem.with("projection", status.name));
    }
    // From the database, not from the status: a successful query proves readable rows.
    let position = service.database.read(position_of_all)?;
    let states: serde_json::Map<String, Value> =
        statuses.iter().map(|status| (status.name.to_owned(), status.state.as_str().into())).collect();
    Ok(Response::json(
        200,
        &json!({
            "status": "ok",
            "service": "read",
            "ready": service.readiness().is_ok(),
            "position": position,
            // Reported, and no reason for a 503: a pause is what an operator has asked for.
            "paused": service.projector.is_paused(),
            "projections": states,
            // Reported, and no reason for a 503: a prober must not restart a service that answers.
            "write_side": contact(&service.upstream.contact()),
        }),
    ))
}

fn unhealthy(why: &str) -> Problem {
    Problem::new(&UNHEALTHY, why).with_header("Retry-After", RETRY_AFTER)
}

fn contact(contact: &Contact) -> Value {
    match contact {
        Contact::Never => json!({ "state": "not-met" }),
        Contact::Reached(address) => json!({ "state": "reachable", "address": address }),
        Contact::Lost(error) => json!({ "state": "unreachable", "error": error }),
    }
}
