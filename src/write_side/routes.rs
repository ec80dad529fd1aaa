//! The routes of the write side: commands, the event feed, health and readiness.
//!
//! **Invariant:** a command answers with a receipt, which names the place of the recorded facts and no field of
//! them. Data comes from the feed alone.
//!
//! Read next: `commands.rs`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::cloud_events::{self, BATCH};
use super::commands::{self, Command};
use super::headers::{Headers, at};
use super::problems::{self, UNHEALTHY};
use super::standing::Standing;
use crate::account::AccountCommand;
use crate::es::{Error, EventLog, Execution, Executor, MAX_PAGE_EVENTS, Page, Receipt};
use crate::gate::{Gate, Pass};
use crate::http::{self, LongPolls, Params, Problem, ProblemType, Query, Request, Response, Route};
use crate::limits::MAX_EXACT_INTEGER;

const DEFAULT_LIMIT: u32 = 1000;

/// The longest wait of a request for a turn to build a page: thousands of pages are built meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// The state of the service.
#[derive(Debug)]
pub struct WriteSide {
    bank: Executor,
    log: Arc<EventLog>,
    long_polls: LongPolls,
    /// Bounds how many pages are built at once, also in the form of CloudEvents.
    pages: Gate,
    /// `None` for a service without a registration.
    standing: Option<Arc<Standing>>,
}

impl WriteSide {
    /// Returns the service on the log `log`.
    pub fn new(bank: Executor, log: Arc<EventLog>, long_polls: LongPolls) -> Self {
        Self { bank, log, long_polls, pages: Gate::for_computing(), standing: None }
    }

    /// Adds the standing, which `/health` shows: whether the service is registered as the writer of the log.
    pub fn with_standing(self, standing: Arc<Standing>) -> Self {
        Self { standing: Some(standing), ..self }
    }

    /// Waits for the turn to build a page.
    fn turn(&self) -> Result<Pass<'_>, Problem> {
        let busy = || problems::of_error(&Error::Overloaded);
        self.pages.enter(PATIENCE).ok_or_else(busy)
    }

    fn execute(&self, request: &Request, command: Command) -> Result<Execution, Problem> {
        commands::execute(&self.bank, command, Headers::of(request)?)
    }

    /// Checks whether commands can be recorded; a failure is a problem of that kind.
    fn check(&self, kind: &'static ProblemType) -> Result<(), Problem> {
        // The log first: a file that was moved away explains failed commits.
        self.log.check().and_then(|()| self.bank.check()).map_err(|error| {
            Problem::new(kind, format!("commands cannot be recorded: {error}"))
                .with_header("Retry-After", problems::RETRY_AFTER)
        })
    }

    /// Returns the number of commands in the writer's queue.
    pub fn waiting_commands(&self) -> usize {
        self.bank.waiting()
    }

    /// Returns the number of long polls of the feed.
    pub fn waiting_readers(&self) -> usize {
        self.long_polls.waiting()
    }

    /// Ends all long polls, rejects new commands, and finishes the queued commands.
    pub fn close(&self) {
        // The long polls first: the writer's last commits may take a while.
        self.log.head().close();
        self.bank.stop();
    }
}

/// The route table.
pub const ROUTES: &[Route<WriteSide>] = &[
    Route::post("/accounts", open),
    Route::post("/accounts/{id}/deposit", deposit),
    Route::post("/accounts/{id}/withdraw", withdraw),
    Route::post("/accounts/{id}/close", close),
    Route::post("/transfers", transfer),
    Route::get("/events", events).with_query(&["after", "limit", "wait"]),
    Route::get("/streams/{id}/events", stream_events).with_query(&["after", "limit"]),
    Route::get("/health", health),
    Route::get("/ready", ready),
];

// -------------------------------------------------------------------------------- commands

fn open(service: &WriteSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    let execution = service.execute(request, commands::open(request)?)?;
    let location = format!("/accounts/{}", execution.stream_id());
    Ok(receipt(201, &execution).with_header("Location", location))
}

fn deposit(service: &WriteSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let command = commands::movement(params.uuid(0)?, request, AccountCommand::Deposit)?;
    Ok(receipt(200, &service.execute(request, command)?))
}

fn withdraw(service: &WriteSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let command = commands::movement(params.uuid(0)?, request, AccountCommand::Withdraw)?;
    Ok(receipt(200, &service.execute(request, command)?))
}

fn close(service: &WriteSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let command = commands::close(params.uuid(0)?, request)?;
    Ok(receipt(200, &service.execute(request, command)?))
}

fn transfer(service: &WriteSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    Ok(receipt(200, &service.execute(request, commands::transfer(request)?)?))
}

/// Returns the receipt of a command as a response.
fn receipt(status: u16, execution: &Execution) -> Response {
    let (stream_id, version) = (execution.stream_id(), execution.version());
    let receipt = Receipt { stream_id, version, position: execution.position() };
    let response = Response::json(status, &receipt).with_header("ETag", format!("\"{version}\""));
    let response = at(receipt.position, response);
    match execution {
        // Every command of the bank records events; an unchanged account would keep its version.
        Execution::Recorded(_) | Execution::Unchanged { .. } => response,
        Execution::Replayed(_) => response.with_header("Idempotency-Replayed", "true"),
    }
}

// ------------------------------------------------------------------------------- the feed

fn events(service: &WriteSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let query = params.query();
    let after = query.whole_number("after", 0..=MAX_EXACT_INTEGER)?.unwrap_or(0);
    let (limit, wait) = (limit(query)?, query.wait()?.unwrap_or(Duration::ZERO));
    // A request for events that exist already takes no permit, so long polls cannot hold up other readers.
    let must_wait = !wait.is_zero() && service.log.head().value() <= after;
    let permit = must_wait.then(|| service.long_polls.enter()).transpose()?;
    if must_wait {
        service.log.head().wait_for(after.saturating_add(1), wait);
    }
    // Before the turn: a request with its event no longer waits for one.
    drop(permit);
    let _turn = service.turn()?;
    // The wait of zero: this thread has waited above, where the permit counts the wait.
    let page = service.log.page(after, limit, Duration::ZERO).map_err(|error| problems::of_error(&error))?;
    page_response(request, page)
}

fn stream_events(service: &WriteSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let stream_id = params.uuid(0)?;
    let query = params.query();
    let after = query.whole_number("after", 0..=MAX_EXACT_INTEGER)?.unwrap_or(0);
    let limit = limit(query)?;
    let _turn = service.turn()?;
    let page = service.log.stream_page(stream_id, after, limit);
    match page.map_err(|error| problems::of_error(&error))? {
        // Not an empty page: a stream without events does not exist.
        None => Err(Problem::new(&http::problems::NOT_FOUND, format!("there is no stream {stream_id}"))),
        Some(page) => page_response(request, page),
    }
}

fn limit(query: &Query) -> Result<u32, Problem> {
    let limit = query.whole_number("limit", 1..=u64::from(MAX_PAGE_EVENTS))?;
    Ok(limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(DEFAULT_LIMIT))
}

/// Returns the page in the client's preferred form: JSON or CloudEvents.
fn page_response(request: &Request, page: Page) -> Result<Response, Problem> {
    let response = if request.preferred(&["application/json", BATCH]) == 0 {
        Response::new(200, "application/json", page.json)
    } else {
        let (batch, head) = cloud_events::batch(&page)
            .map_err(|error| problems::of_error(&Error::Corrupt(error.to_string())))?;
        at(head, Response::new(200, BATCH, batch))
    };
    // For caches: the same address has two forms.
    Ok(response.with_header("Vary", "Accept"))
}

// ------------------------------------------------------------------------------ operations

fn health(service: &WriteSide, _: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    service.check(&UNHEALTHY)?;
    Ok(Response::json(
        200,
        &json!({
            "status": "ok",
            "service": "write",
            // The same check decides readiness.
            "ready": true,
            "log_id": service.log.log_id(),
            "head": service.log.head().value(),
            "log_ahead_seconds": service.log.ahead_of_clock().as_secs(),
            "waiting_commands": service.bank.waiting(),
            "not_registered": service.standing.as_ref().and_then(|standing| standing.withheld()),
        }),
    ))
}

/// Answers whether commands can be recorded.
fn ready(service: &WriteSide, _: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    service.check(&http::problems::NOT_READY)?;
    Ok(Response::json(200, &json!({ "status": "ready", "service": "write" })))
}
