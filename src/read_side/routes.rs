//! The route table of the read side, and the queries on accounts. A model with queries of its own has them in its
//! file.
//!
//! **Invariant:** a query changes no state. Each answer to a query has `Event-Position`, the position of the
//! rows, also a 304 and an error.
//!
//! Read next: `freshness.rs` and `models/mod.rs`; `operations.rs` for the routes of an operator.

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use serde_json::json;
use uuid::Uuid;

use super::at::At;
use super::cursor;
use super::freshness::{await_rows, complete, has_version};
use super::models::accounts::{self, AccountJson, Filter};
use super::models::statements::{self, StatementPage};
use super::models::time_travel::{Moment, account_then};
use super::models::{self, NAMES, position_of_all};
use super::operations::{cancel_rebuild, health, pause, projections, ready, rebuild, resume};
use super::problems::ACCOUNT_NOT_FOUND;
use super::service::ReadSide;
use crate::http::{Params, Problem, Query, Request, Response, Route};
use crate::limits::MAX_EXACT_INTEGER;
use crate::time::Timestamp;

const DEFAULT_LIMIT: u64 = 100;
/// The most items of a page: some hundred KiB.
const MAX_LIMIT: u64 = 1000;

/// The query parameters of a query without others.
const FRESH: &[&str] = &["min_position", "wait"];

/// Returns the route table: the routes of this folder, and those of each read model.
pub fn routes() -> &'static [Route<ReadSide>] {
    static ROUTES: LazyLock<Vec<Route<ReadSide>>> = LazyLock::new(|| {
        let of_models = models::read_models().into_iter().flat_map(|model| model.routes);
        of_accounts().into_iter().chain(of_models).chain(of_the_service()).collect()
    });
    &ROUTES
}

fn of_accounts() -> [Route<ReadSide>; 3] {
    [
        Route::get("/accounts/{id}", account)
            .with_query(&["at_version", "as_of", "min_position", "wait"])
            .completed_by(complete),
        Route::get("/accounts/{id}/transactions", transactions)
            .with_query(&["limit", "cursor", "min_position", "wait"])
            .completed_by(complete),
        Route::get("/accounts", accounts)
            .with_query(&["owner", "status", "limit", "cursor", "min_position", "wait"])
            .completed_by(complete),
    ]
}

fn of_the_service() -> [Route<ReadSide>; 8] {
    [
        Route::get("/position", position).with_query(FRESH).completed_by(complete),
        Route::get("/projections", projections).with_query(FRESH).completed_by(complete),
        Route::post("/projections/pause", pause),
        Route::post("/projections/resume", resume),
        Route::post("/projections/{name}/rebuild", rebuild),
        Route::delete("/projections/{name}/rebuild", cancel_rebuild),
        Route::get("/ready", ready),
        Route::get("/health", health),
    ]
}

// -------------------------------------------------------------------------------- an account

fn account(service: &ReadSide, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let (account_id, query) = (params.uuid(0)?, params.query());
    let moment = moment(query)?;
    let found = match &moment {
        // The present is in another model than the past: a single row instead of a walk.
        None => {
            await_rows(service, query, &["accounts"])?;
            service.database.read(|db| accounts::account(db, account_id))
        }
        Some(moment) => {
            await_rows(service, query, &["transactions"])?;
            service.database.read_snapshot(|db| account_then(db, account_id, moment))
        }
    }?;
    found.answer(|account| match account {
        None if moment.is_some() => {
            let detail = format!(
                "account {account_id} had no such version or was not open at that time, or does not exist"
            );
            Err(Problem::new(&ACCOUNT_NOT_FOUND, detail))
        }
        None => Err(no_account(account_id)),
        Some(account) => account_response(request, account),
    })
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
            // In the form of the log: the read models compare times as texts.
            Ok(Some(Moment::Time(time.to_string())))
        }
        (Some(_), Some(_)) => {
            Err(Problem::invalid_query("as_of", "at_version and as_of cannot both be given"))
        }
    }
}

fn account_response(request: &Request, account: AccountJson) -> Result<Response, Problem> {
    let response = if has_version(request, account.version)? {
        Response::empty(304)
    } else {
        Response::new(200, "application/json", account.json)
    };
    Ok(response.with_header("ETag", format!("\"{}\"", account.version)))
}

fn no_account(account_id: Uuid) -> Problem {
    Problem::new(&ACCOUNT_NOT_FOUND, format!("there is no account {account_id}"))
}

// -------------------------------------------------------------------------------------- lists

fn transactions(service: &ReadSide, _: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let (account_id, query) = (params.uuid(0)?, params.query());
    let from = read_cursor(query, &statements::scope(&account_id.to_string()))?;
    let limit = limit(query)?;
    await_rows(service, query, &["transactions"])?;
    let page = service.database.read_snapshot(|db| statements::transactions(db, account_id, from, limit))?;
    page.answer(|page| match page {
        StatementPage::Page(json) => Ok(Response::new(200, "application/json", json)),
        StatementPage::NoAccount => Err(no_account(account_id)),
        // The checksum was right, so the cursor comes from another log, or from a guess.
        StatementPage::UnknownCursor => Err(bad_cursor()),
    })
}

fn accounts(service: &ReadSide, _: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let query = params.query();
    let filter = Filter { owner: query.text("owner"), status: query.text("status") };
    if !filter.is_valid() {
        return Err(Problem::invalid_query("status", "must be open or closed"));
    }
    // All parameters are read before the wait: a malformed query fails at once.
    let after = read_cursor(query, &filter.scope())?.unwrap_or(0);
    let limit = limit(query)?;
    await_rows(service, query, &["accounts"])?;
    let page = service.database.read_snapshot(|db| accounts::accounts(db, &filter, after, limit))?;
    page.answer(|json| Ok(Response::new(200, "application/json", json)))
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

// ---------------------------------------------------------------------------------- the bank

fn position(service: &ReadSide, _: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    await_rows(service, params.query(), &NAMES)?;
    let position = service.database.read(position_of_all)?;
    At { position, value: json!({ "position": position }) }.answer(|json| Ok(Response::json(200, &json)))
}
