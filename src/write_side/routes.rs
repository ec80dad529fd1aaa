//! The routes of the write side.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::cloud_events::{self, BATCH};
use super::command::Command;
use super::context::context_of;
use super::precondition::Precondition;
use super::problems::{self, UNHEALTHY};
use super::standing::Standing;
use crate::es::{Error, EventLog, Execution, Executor, MAX_PAGE_EVENTS, Page};
use crate::gate::{Gate, Pass};
use crate::http::{self, Fields, LongPolls, Method, Params, Problem, Query, Request, Response, Route};
use crate::limits::MAX_EXACT_INTEGER;

const DEFAULT_LIMIT: u32 = 1000;

/// How long a request waits for its turn to build a page. Thousands of pages are built in that time.
const PATIENCE: Duration = Duration::from_secs(5);

/// The state of the service.
#[derive(Debug)]
pub struct WriteSide {
    bank: Executor,
    log: Arc<EventLog>,
    long_polls: LongPolls,
    /// Bounds how many pages are built at once, also in the form of CloudEvents.
    pages: Gate,
    /// None for a service that never registers.
    standing: Option<Arc<Standing>>,
}

impl WriteSide {
    /// The service on that log.
    pub fn new(bank: Executor, log: Arc<EventLog>, long_polls: LongPolls) -> Self {
        Self { bank, log, long_polls, pages: Gate::for_computing(), standing: None }
    }

    /// The same service, which shows on `/health` whether it is registered as the writer of its log.
    pub fn with_standing(self, standing: Arc<Standing>) -> Self {
        Self { standing: Some(standing), ..self }
    }

    /// Waits for the turn to build a page.
    fn turn(&self) -> Result<Pass<'_>, Problem> {
        let busy = || problems::of_error(&Error::Overloaded);
        self.pages.enter(PATIENCE).ok_or_else(busy)
    }

    /// Commands that wait for the writer now.
    pub fn waiting_commands(&self) -> usize {
        self.bank.waiting()
    }

    /// Readers of the feed that wait for an event now.
    pub fn waiting_readers(&self) -> usize {
        self.long_polls.waiting()
    }

    /// Ends all waits and takes no more commands; those that were taken are finished.
    pub fn close(&self) {
        self.log.head().close();
        self.bank.stop();
    }
}

/// The route table.
pub const ROUTES: &[Route<WriteSide>] = &[
    Route { method: Method::POST, pattern: "/accounts", handler: open },
    Route { method: Method::POST, pattern: "/accounts/{id}/deposit", handler: deposit },
    Route { method: Method::POST, pattern: "/accounts/{id}/withdraw", handler: withdraw },
    Route { method: Method::POST, pattern: "/accounts/{id}/close", handler: close },
    Route { method: Method::POST, pattern: "/transfers", handler: transfer },
    Route { method: Method::GET, pattern: "/events", handler: events },
    Route { method: Method::GET, pattern: "/streams/{id}/events", handler: stream_events },
    Route { method: Method::GET, pattern: "/health", handler: health },
    Route { method: Method::GET, pattern: "/ready", handler: ready },
];

// -------------------------------------------------------------------------------- commands

fn open(service: &WriteSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    let command = Command::open(fields(request)?)?;
    let response = execute(service, request, command, 201)?;
    let location = format!("/accounts/{}", response.stream_id);
    Ok(response.into_http().with_header("Location", location))
}

fn deposit(service: &WriteSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let command = Command::deposit(params.uuid(0)?, fields(request)?)?;
    Ok(execute(service, request, command, 200)?.into_http())
}

fn withdraw(service: &WriteSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let command = Command::withdraw(params.uuid(0)?, fields(request)?)?;
    Ok(execute(service, request, command, 200)?.into_http())
}

fn close(service: &WriteSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let account_id = params.uuid(0)?;
    no_query(request)?;
    let command = Command::close(account_id, Fields::of_optional(request)?)?;
    Ok(execute(service, request, command, 200)?.into_http())
}

fn transfer(service: &WriteSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    let command = Command::transfer(fields(request)?)?;
    Ok(execute(service, request, command, 200)?.into_http())
}

fn no_query(request: &Request) -> Result<(), Problem> {
    Query::of(request, &[]).map(drop)
}

fn fields(request: &Request) -> Result<Fields, Problem> {
    no_query(request)?;
    Fields::of(request)
}

/// A receipt on its way to the client. It says where the facts were recorded, and nothing of them.
struct Answer {
    status: u16,
    execution: Execution,
    stream_id: Uuid,
}

fn execute(service: &WriteSide, request: &Request, command: Command, status: u16) -> Result<Answer, Problem> {
    let (context, command) = context_of(request, command)?;
    let precondition = Precondition::of(request)?;
    let execution = service
        .bank
        .transact(context, move |work| command.run(&precondition, work))
        .map_err(problems::of_execution)?;
    Ok(Answer { status, execution, stream_id: execution.receipt().stream_id })
}

impl Answer {
    fn into_http(self) -> Response {
        let receipt = self.execution.receipt();
        let response = Response::json(self.status, receipt)
            .with_header("ETag", format!("\"{}\"", receipt.version))
            .with_header("Event-Position", receipt.position.to_string());
        match self.execution {
            Execution::Recorded(_) => response,
            Execution::Replayed(_) => response.with_header("Idempotency-Replayed", "true"),
        }
    }
}

// ------------------------------------------------------------------------------- the feed

fn events(service: &WriteSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    let query = Query::of(request, &["after", "limit", "wait"])?;
    let after = query.whole_number("after", 0..=MAX_EXACT_INTEGER)?.unwrap_or(0);
    let (limit, wait) = (limit(&query)?, query.wait()?.unwrap_or(Duration::ZERO));
    // Only a request that really has to wait takes one of the places for waiting.
    let must_wait = !wait.is_zero() && service.log.head().value() <= after;
    let permit = must_wait.then(|| service.long_polls.enter()).transpose()?;
    if must_wait {
        service.log.head().wait_for(after.saturating_add(1), wait);
    }
    drop(permit);
    let _turn = service.turn()?;
    let page = service.log.page(after, limit, Duration::ZERO).map_err(|error| problems::of_error(&error))?;
    page_response(request, page)
}

fn stream_events(service: &WriteSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let stream_id = params.uuid(0)?;
    let query = Query::of(request, &["after", "limit"])?;
    let after = query.whole_number("after", 0..=MAX_EXACT_INTEGER)?.unwrap_or(0);
    let limit = limit(&query)?;
    let _turn = service.turn()?;
    let page = service.log.stream_page(stream_id, after, limit);
    match page.map_err(|error| problems::of_error(&error))? {
        None => Err(Problem::new(&http::problems::NOT_FOUND, format!("there is no stream {stream_id}"))),
        Some(page) => page_response(request, page),
    }
}

fn limit(query: &Query) -> Result<u32, Problem> {
    let limit = query.whole_number("limit", 1..=u64::from(MAX_PAGE_EVENTS))?;
    Ok(limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(DEFAULT_LIMIT))
}

/// The page in the form that the client prefers.
fn page_response(request: &Request, page: Page) -> Result<Response, Problem> {
    let response = if request.preferred(&["application/json", BATCH]) == 0 {
        Response::new(200, "application/json", page.json)
    } else {
        let (batch, head) = cloud_events::batch(&page)
            .map_err(|error| problems::of_error(&Error::Corrupt(error.to_string())))?;
        Response::new(200, BATCH, batch).with_header("Event-Position", head.to_string())
    };
    Ok(response.with_header("Vary", "Accept"))
}

// ------------------------------------------------------------------------------ operations

fn health(service: &WriteSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    no_query(request)?;
    if let Err(error) = service.log.check().and_then(|()| service.bank.check()) {
        let problem = Problem::new(&UNHEALTHY, format!("commands cannot be recorded: {error}"));
        return Err(problem.with_header("Retry-After", problems::RETRY_AFTER));
    }
    Ok(Response::json(
        200,
        &json!({
            "status": "ok",
            "service": "write",
            "ready": true,
            "log_id": service.log.log_id(),
            "head": service.log.head().value(),
            "log_ahead_seconds": service.log.ahead_of_clock().as_secs(),
            "waiting_commands": service.bank.waiting(),
            "not_registered": service.standing.as_ref().and_then(|standing| standing.withheld()),
        }),
    ))
}

/// The write side is ready when commands can be recorded.
fn ready(service: &WriteSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    no_query(request)?;
    let refuse = |error: Error| {
        let problem =
            Problem::new(&http::problems::NOT_READY, format!("commands cannot be recorded: {error}"));
        problem.with_header("Retry-After", problems::RETRY_AFTER)
    };
    service.log.check().and_then(|()| service.bank.check()).map_err(refuse)?;
    Ok(Response::json(200, &json!({ "status": "ready", "service": "write" })))
}
