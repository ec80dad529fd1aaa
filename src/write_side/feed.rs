//! The log over HTTP: the feed for programs, searches for people, and the types of the events.
//!
//! **Invariant:** a request without a filter is answered by [`EventLog::page`] alone. Searches cost the readers
//! that follow the log nothing.
//!
//! Read next: `src/es/log/search.rs`, then `cloud_events.rs`.

use std::time::{Duration, Instant};

use super::cloud_events::{self, BATCH};
use super::headers::{MAX_CORRELATION_ID, at};
use super::problems::{self, EVENT_NOT_FOUND};
use super::service::WriteSide;
#[cfg(doc)]
use crate::es::EventLog;
use crate::es::{Error, EventFilter, MAX_PAGE_EVENTS, MAX_SCANNED_EVENTS, Page, SearchFrom, SearchPage};
use crate::http::{self, Params, Permit, Problem, Query, Request, Response};
use crate::limits::MAX_EXACT_INTEGER;
use crate::time::Timestamp;

/// The query parameters of `GET /events`.
pub(super) const QUERY: &[&str] =
    &["after", "before", "correlation_id", "limit", "since", "stream_type", "type", "wait"];

const DEFAULT_LIMIT: u32 = 1000;

/// The event types with the JSON Schema of their data and an example.
const EVENT_TYPES: &str = include_str!("../../openapi/event_types.json");

// -------------------------------------------------------------------------------- the feed

pub(super) fn events(
    service: &WriteSide,
    request: &Request,
    params: &Params<'_>,
) -> Result<Response, Problem> {
    let query = params.query();
    let after = query.whole_number("after", 0..=MAX_EXACT_INTEGER)?;
    let before = query.whole_number("before", 1..=MAX_EXACT_INTEGER)?;
    let (limit, wait) = (limit(query)?, query.wait()?);
    let filter = filter(query)?;
    if let Some(before) = before {
        let excluded = if after.is_some() { Some("after") } else { wait.map(|_| "wait") };
        if let Some(parameter) = excluded {
            return Err(Problem::invalid_query(parameter, "cannot be given together with before"));
        }
        return page_response(request, search(service, SearchFrom::Before(before), &filter, limit)?.page);
    }
    let (after, wait) = (after.unwrap_or(0), wait.unwrap_or(Duration::ZERO));
    if filter != EventFilter::default() {
        return page_response(request, await_match(service, after, &filter, limit, wait)?);
    }
    let mut permit = None;
    await_event(service, after, wait, &mut permit)?;
    // Before the turn of the page: a request with its event no longer waits for one.
    drop(permit);
    let _turn = service.turn()?;
    // The wait of zero: this thread has waited above, where the permit counts the wait.
    let page = service.log.page(after, limit, Duration::ZERO).map_err(|error| problems::of_error(&error))?;
    page_response(request, page)
}

/// Waits up to `wait` for the event after a position. The request takes its permit for long polls with the
/// first wait, and keeps the permit in `permit`.
fn await_event<'s>(
    service: &'s WriteSide,
    after: u64,
    wait: Duration,
    permit: &mut Option<Permit<'s>>,
) -> Result<(), Problem> {
    // A request for events that exist already takes no permit, so long polls cannot hold up other readers.
    if wait.is_zero() || service.log.head().value() > after {
        return Ok(());
    }
    if permit.is_none() {
        *permit = Some(service.long_polls.enter()?);
    }
    service.log.head().wait_for(after.saturating_add(1), wait);
    Ok(())
}

/// Searches forwards until an event matches, the time is over, or as many events are scanned as one request
/// may scan.
fn await_match(
    service: &WriteSide,
    after: u64,
    filter: &EventFilter,
    limit: u32,
    wait: Duration,
) -> Result<Page, Problem> {
    let deadline = Instant::now() + wait;
    let (mut from, mut scanned) = (after, 0);
    // Kept over all waits: an event that does not match must not cost the request its place.
    let mut permit = None;
    loop {
        await_event(service, from, deadline.saturating_duration_since(Instant::now()), &mut permit)?;
        let found = search(service, SearchFrom::After(from), filter, limit)?;
        // Counted in events that were read: a time skips the events before it without reading them.
        scanned += found.scanned;
        let is_done = found.events > 0 || scanned >= MAX_SCANNED_EVENTS;
        // Without progress the time is over, or the service stops and has ended the wait.
        if is_done || found.scanned_to == from {
            return Ok(found.page);
        }
        from = found.scanned_to;
    }
}

fn search(
    service: &WriteSide,
    from: SearchFrom,
    filter: &EventFilter,
    limit: u32,
) -> Result<SearchPage, Problem> {
    let _turn = service.turn()?;
    service.log.search(from, filter, limit).map_err(|error| problems::of_error(&error))
}

pub(super) fn stream_events(
    service: &WriteSide,
    request: &Request,
    params: &Params<'_>,
) -> Result<Response, Problem> {
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

pub(super) fn event(service: &WriteSide, _: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let text = params.text(0);
    let position = Some(text)
        // `parse` alone also accepts a plus sign.
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|position| (1..=MAX_EXACT_INTEGER).contains(position));
    let Some(position) = position else {
        let what = format!("the position in the path must be a whole number from 1 to {MAX_EXACT_INTEGER}");
        return Err(Problem::new(&http::problems::INVALID_ID, what));
    };
    let _turn = service.turn()?;
    let Some(event) = service.log.event(position).map_err(|error| problems::of_error(&error))? else {
        let head = service.log.head().value();
        return Err(Problem::new(&EVENT_NOT_FOUND, format!("the log ends at position {head}")));
    };
    let mut json = Vec::new();
    event.as_recorded().write_json(&mut json);
    Ok(at(position, Response::new(200, "application/json", json)))
}

pub(super) fn event_types(_: &WriteSide, _: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    Ok(Response::new(200, "application/json", EVENT_TYPES.as_bytes().to_vec()))
}

// ------------------------------------------------------------------------------- parameters

fn limit(query: &Query) -> Result<u32, Problem> {
    let limit = query.whole_number("limit", 1..=u64::from(MAX_PAGE_EVENTS))?;
    Ok(limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(DEFAULT_LIMIT))
}

fn filter(query: &Query) -> Result<EventFilter, Problem> {
    let text = |name: &str| match query.text(name) {
        // An unknown name finds no event: a newer build may write events of the name tomorrow.
        Some(text) if is_visible(text) => Ok(Some(text.to_owned())),
        None => Ok(None),
        Some(_) => {
            let what = format!("must be 1 to {MAX_CORRELATION_ID} visible ASCII characters");
            Err(Problem::invalid_query(name, what))
        }
    };
    let time = |text: &str| {
        let hint =
            "must be an RFC 3339 time, such as 2026-01-31T12:00:00Z (encode the + of an offset as %2B)";
        text.parse::<Timestamp>().map_err(|_| Problem::invalid_query("since", hint))
    };
    Ok(EventFilter {
        event_type: text("type")?,
        stream_type: text("stream_type")?,
        correlation_id: text("correlation_id")?,
        since: query.text("since").map(time).transpose()?,
    })
}

fn is_visible(text: &str) -> bool {
    (1..=MAX_CORRELATION_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

// ------------------------------------------------------------------------------------ pages

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
