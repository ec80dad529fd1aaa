//! The routes of the read side: queries, and what an operator asks of it.
//!
//! **Invariant:** a query changes nothing, and its answer says in `Event-Position` how far the rows
//! that it was read from have come, also when it is 304 or an error.

#[cfg(test)]
mod tests;

use serde_json::{Value, json};
use uuid::Uuid;

use super::cursor;
use super::history::{self, Moment, StatementPage, scope};
use super::preconditions::{await_position, await_rows, client_has};
use super::problems::{
    ACCOUNT_NOT_FOUND, PROJECTION_NOT_FOUND, REBUILD_NOT_FOUND, REBUILD_RUNNING, RETRY_AFTER, UNHEALTHY,
};
use super::queries::{self, AccountJson, Filter, Fresh};
use super::service::ReadSide;
use super::upstream::Contact;
use super::views::{ProjectionView, Projections, RebuildView, Summary};
use crate::es::{ProjectionState, ProjectionStatus, RebuildRefused};
use crate::http::{Fields, Method, Params, Problem, Query, Request, Response, Route, problems};
use crate::limits::MAX_EXACT_INTEGER;
use crate::time::Timestamp;

const DEFAULT_LIMIT: u64 = 100;
/// Of a list: some hundred KiB.
const MAX_LIMIT: u64 = 1000;
/// All read models.
const ALL: &[&str] = &["accounts", "transactions", "summary"];

/// The route table.
pub const ROUTES: &[Route<ReadSide>] = &[
    Route {
        method: Method::GET,
        pattern: "/accounts/{id}",
        handler: |service, request, params| dated(service, account(service, request, params)),
    },
    Route {
        method: Method::GET,
        pattern: "/accounts/{id}/transactions",
        handler: |service, request, params| dated(service, transactions(service, request, params)),
    },
    Route {
        method: Method::GET,
        pattern: "/accounts",
        handler: |service, request, params| dated(service, accounts(service, request, params)),
    },
    Route {
        method: Method::GET,
        pattern: "/summary",
        handler: |service, request, params| dated(service, summary(service, request, params)),
    },
    Route {
        method: Method::GET,
        pattern: "/position",
        handler: |service, request, params| dated(service, position(service, request, params)),
    },
    Route {
        method: Method::GET,
        pattern: "/projections",
        handler: |service, request, params| dated(service, projections(service, request, params)),
    },
    Route { method: Method::POST, pattern: "/projections/{name}/rebuild", handler: rebuild },
    Route { method: Method::DELETE, pattern: "/projections/{name}/rebuild", handler: cancel_rebuild },
    Route { method: Method::GET, pattern: "/ready", handler: ready },
    Route { method: Method::GET, pattern: "/health", handler: health },
];

// --------------------------------------------------------------------------------- queries

/// Says how fresh the read model is with a refusal too, whose reason is in the request alone.
fn dated(service: &ReadSide, answer: Result<Response, Problem>) -> Result<Response, Problem> {
    answer.map_err(|problem| {
        if problem.headers.iter().any(|(name, _)| *name == "Event-Position") {
            return problem;
        }
        problem.with_header("Event-Position", slowest(&service.projector.status()).to_string())
    })
}

fn account(service: &ReadSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let account_id = params.uuid(0)?;
    let query = Query::of(request, &["at_version", "as_of", "min_position", "wait"])?;
    let moment = moment(&query)?;
    let fresh = match moment {
        None => {
            await_rows(service, &query, &["accounts"])?;
            service.database.read(|db| queries::account(db, account_id))
        }
        Some(moment) => {
            await_rows(service, &query, &["transactions"])?;
            service.database.read_snapshot(|db| history::account_then(db, account_id, &moment))
        }
    }?;
    match fresh.value {
        None => Err(no_account(account_id, fresh.position)),
        Some(account) => account_response(request, fresh.position, account),
    }
}

fn moment(query: &Query) -> Result<Option<Moment>, Problem> {
    let version = query.whole_number("at_version", 1..=MAX_EXACT_INTEGER)?;
    match (version, query.text("as_of")) {
        (None, None) => Ok(None),
        (Some(version), None) => Ok(Some(Moment::Version(version))),
        (None, Some(time)) => {
            let hint =
                "must be an RFC 3339 time, such as 2026-01-31T12:00:00Z (encode the + of an offset as %2B)";
            let time: Timestamp = time.parse().map_err(|_| Problem::invalid_query("as_of", hint))?;
            Ok(Some(Moment::Time(time.to_string())))
        }
        (Some(_), Some(_)) => {
            Err(Problem::invalid_query("as_of", "at_version and as_of cannot both be given"))
        }
    }
}

fn account_response(request: &Request, position: u64, account: AccountJson) -> Result<Response, Problem> {
    let response = if client_has(request, account.version)? {
        Response::empty(304)
    } else {
        Response::new(200, "application/json", account.json)
    };
    let tag = format!("\"{}\"", account.version);
    Ok(response.with_header("ETag", tag).with_header("Event-Position", position.to_string()))
}

fn no_account(account_id: Uuid, position: u64) -> Problem {
    let detail = format!("there is no account {account_id}, or it was not that old then");
    Problem::new(&ACCOUNT_NOT_FOUND, detail).with_header("Event-Position", position.to_string())
}

fn transactions(service: &ReadSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let account_id = params.uuid(0)?;
    let query = Query::of(request, &["limit", "cursor", "min_position", "wait"])?;
    let from = read_cursor(&query, &scope(&account_id.to_string()))?;
    let limit = limit(&query)?;
    await_rows(service, &query, &["transactions"])?;
    let Fresh { position, value } =
        service.database.read_snapshot(|db| history::transactions(db, account_id, from, limit))?;
    match value {
        StatementPage::Page(json) => Ok(page(json, position)),
        StatementPage::NoAccount => Err(no_account(account_id, position)),
        StatementPage::NoSuchCursor => Err(bad_cursor().with_header("Event-Position", position.to_string())),
    }
}

fn accounts(service: &ReadSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    let query = Query::of(request, &["owner", "status", "limit", "cursor", "min_position", "wait"])?;
    let filter = Filter { owner: query.text("owner"), status: query.text("status") };
    if filter.status.is_some_and(|status| status != "open" && status != "closed") {
        return Err(Problem::invalid_query("status", "must be open or closed"));
    }
    let after = read_cursor(&query, &filter.scope())?.unwrap_or(0);
    let limit = limit(&query)?;
    await_rows(service, &query, &["accounts"])?;
    let fresh = service.database.read_snapshot(|db| queries::accounts(db, &filter, after, limit))?;
    Ok(page(fresh.value, fresh.position))
}

fn limit(query: &Query) -> Result<u64, Problem> {
    Ok(query.whole_number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT))
}

fn read_cursor(query: &Query, scope: &[&str]) -> Result<Option<u64>, Problem> {
    let Some(text) = query.text("cursor") else {
        return Ok(None);
    };
    cursor::decode(scope, text).map(Some).ok_or_else(bad_cursor)
}

fn bad_cursor() -> Problem {
    Problem::invalid_query("cursor", "must be the next_cursor of a page of this list with these filters")
}

fn page(json: Vec<u8>, position: u64) -> Response {
    Response::new(200, "application/json", json).with_header("Event-Position", position.to_string())
}

fn summary(service: &ReadSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    let query = Query::of(request, &["min_position", "wait"])?;
    await_rows(service, &query, &["summary"])?;
    let Fresh { position, value } = service.database.read_snapshot(queries::summary)?;
    let response = Response::json(200, &Summary { currencies: value });
    Ok(response.with_header("Event-Position", position.to_string()))
}

fn position(service: &ReadSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    let query = Query::of(request, &["min_position", "wait"])?;
    await_rows(service, &query, ALL)?;
    let position = service.database.read(queries::position_of_all)?;
    Ok(at_position(Response::json(200, &json!({ "position": position })), position))
}

fn at_position(response: Response, position: u64) -> Response {
    response.with_header("Event-Position", position.to_string())
}

// ------------------------------------------------------------------------------ operations

fn projections(service: &ReadSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    let query = Query::of(request, &["min_position", "wait"])?;
    await_position(service, &query, ALL)?;
    let statuses = service.projector.status();
    let furthest = statuses.iter().map(|status| status.position).max().unwrap_or(0);
    let shown: Vec<_> = statuses.iter().map(|status| shown(status, furthest)).collect();
    Ok(at_position(Response::json(200, &Projections { projections: shown }), slowest(&statuses)))
}

fn slowest(statuses: &[ProjectionStatus]) -> u64 {
    statuses.iter().map(|status| status.position).min().unwrap_or(0)
}

fn shown(status: &ProjectionStatus, furthest: u64) -> ProjectionView<'_> {
    ProjectionView {
        name: status.name,
        position: status.position,
        // While the head is not known, the furthest rows are all that is known of the log.
        head: status.head.unwrap_or(furthest),
        lag_events: status.lag().unwrap_or(furthest.saturating_sub(status.position)),
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

fn rebuild(service: &ReadSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    Query::of(request, &[])?;
    Fields::of_optional(request)?.finish()?;
    let name = params.text(0);
    service.projector.rebuild(name).map_err(|refused| problem_of(refused, name))?;
    Ok(Response::json(202, &json!({ "name": name, "state": "rebuilding" })))
}

fn cancel_rebuild(service: &ReadSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    Query::of(request, &[])?;
    let name = params.text(0);
    service.projector.cancel_rebuild(name).map_err(|refused| problem_of(refused, name))?;
    Ok(Response::empty(204))
}

fn problem_of(refused: RebuildRefused, name: &str) -> Problem {
    match refused {
        RebuildRefused::UnknownProjection => {
            Problem::new(&PROJECTION_NOT_FOUND, format!("there is no projection {name:?}"))
        }
        RebuildRefused::Running => Problem::new(&REBUILD_RUNNING, refused.to_string()),
        RebuildRefused::NotRunning => Problem::new(&REBUILD_NOT_FOUND, refused.to_string()),
        RebuildRefused::Stopped => unhealthy(&refused.to_string()),
    }
}

/// A read side is ready once it has met a write side and its rows are near the end of the log. It stays
/// ready while the write side is away: its rows are as new as rows can be then.
fn ready(service: &ReadSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    Query::of(request, &[])?;
    service.readiness().map_err(|reason| {
        Problem::new(&problems::NOT_READY, reason).with_header("Retry-After", RETRY_AFTER)
    })?;
    Ok(Response::json(200, &json!({ "status": "ready", "service": "read" })))
}

/// A read side that has lost the write side still answers, so that is no failure, only said. One
/// that an event has stopped needs a person.
fn health(service: &ReadSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    Query::of(request, &[])?;
    service.check_file().map_err(|what| unhealthy(&what))?;
    let statuses = service.projector.status();
    if let Some(status) = statuses.iter().find(|status| status.state == ProjectionState::Stalled) {
        let error = status.error.as_deref().unwrap_or("the reason is not known");
        let problem = unhealthy(&format!("projection {} is stalled: {error}", status.name));
        return Err(problem.with("projection", status.name));
    }
    // The rows must be readable, or no query is answered.
    let position = service.database.read(queries::position_of_all)?;
    let states: serde_json::Map<String, Value> =
        statuses.iter().map(|status| (status.name.to_owned(), status.state.as_str().into())).collect();
    Ok(Response::json(
        200,
        &json!({
            "status": "ok",
            "service": "read",
            "ready": service.readiness().is_ok(),
            "position": position,
            "projections": states,
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
