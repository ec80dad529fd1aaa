//! The routes of the write side: the table, commands, health and readiness.
//!
//! **Invariant:** a command answers with a receipt, which names the place of the recorded facts and no field of
//! them. Data comes from the feed alone.
//!
//! Read next: `commands.rs`, then `feed.rs`.

use serde_json::json;

use super::commands;
use super::feed;
use super::headers::at;
use super::problems::UNHEALTHY;
use super::service::WriteSide;
use crate::account::AccountCommand;
use crate::es::{Execution, Receipt, Timing};
use crate::http::{self, Fields, Params, Problem, Request, Response, Route};

/// The route table.
pub const ROUTES: &[Route<WriteSide>] = &[
    Route::post("/accounts", open),
    Route::post("/accounts/{id}/deposit", deposit),
    Route::post("/accounts/{id}/withdraw", withdraw),
    Route::post("/accounts/{id}/close", close),
    Route::post("/transfers", transfer),
    Route::get("/events", feed::events).with_query(feed::QUERY),
    Route::get("/events/{position}", feed::event),
    Route::get("/event-types", feed::event_types),
    Route::get("/streams/{id}/events", feed::stream_events).with_query(&["after", "limit"]),
    Route::get("/health", health),
    Route::get("/ready", ready),
];

// -------------------------------------------------------------------------------- commands

fn open(service: &WriteSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    let executed = service.execute(request, commands::open(request)?)?;
    // The path of a query: the read service answers at this path.
    let location = format!("/accounts/{}", executed.0.stream_id());
    Ok(receipt(201, executed).with_header("Location", location))
}

fn deposit(service: &WriteSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    to_account(service, request, params, |fields| Ok(AccountCommand::Deposit(commands::movement(fields)?)))
}

fn withdraw(service: &WriteSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    to_account(service, request, params, |fields| Ok(AccountCommand::Withdraw(commands::movement(fields)?)))
}

fn close(service: &WriteSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let command = commands::close(params.uuid(0)?, request)?;
    Ok(receipt(200, service.execute(request, command)?))
}

fn transfer(service: &WriteSide, request: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    Ok(receipt(200, service.execute(request, commands::transfer(request)?)?))
}

/// Runs a command to the account in the path; `read` reads the fields of the body.
fn to_account(
    service: &WriteSide,
    request: &Request,
    params: &Params<'_>,
    read: fn(&mut Fields) -> Result<AccountCommand, Problem>,
) -> Result<Response, Problem> {
    let command = commands::to_account(params.uuid(0)?, request, read)?;
    Ok(receipt(200, service.execute(request, command)?))
}

/// Returns the receipt of a command as a response.
fn receipt(status: u16, (execution, timing): (Execution, Timing)) -> Response {
    let (stream_id, version) = (execution.stream_id(), execution.version());
    let receipt = Receipt { stream_id, version, position: execution.position() };
    let response = Response::json(status, &receipt).with_header("ETag", format!("\"{version}\""));
    let response = at(receipt.position, response).with_header("Server-Timing", server_timing(&timing));
    match execution {
        // Every command of the bank records events; an unchanged account would keep its version.
        Execution::Recorded(_) | Execution::Unchanged { .. } => response,
        Execution::Replayed(_) => response.with_header("Idempotency-Replayed", "true"),
    }
}

/// Returns the times of a command's steps, in milliseconds, as browsers read them (W3C Server Timing).
fn server_timing(Timing { queue, decide, sync }: &Timing) -> String {
    let mut text = String::with_capacity(64);
    for (name, step) in [("queue;dur=", queue), (", decide;dur=", decide), (", sync;dur=", sync)] {
        let micros = step.as_micros() as u64;
        text.push_str(name);
        text.push_str(&(micros / 1000).to_string());
        text.push('.');
        // Digit by digit: the formatting of fractions would cost as much as all other headers together.
        text.extend([100, 10, 1].map(|digit| char::from(b'0' + (micros / digit % 10) as u8)));
    }
    text
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
