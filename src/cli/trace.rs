//! `tally trace`: what one request caused, as a tree, and which projections have it.
//!
//! **Invariant:** the memory is bounded: a trace shows the first [`MAX_EVENTS`] events of a correlation, and
//! says when there are more.
//!
//! Read next: `feed.rs`.

use serde_json::Value;

use super::arguments::wrong;
use super::events::shown_event;
use super::failure::CommandFailure;
use super::feed::{FeedReader, placed};
use super::queries::cell;
use super::services::{READ, WRITE, field};
use super::session::Session;
use super::terminal::harmless;

/// The longest trace, in events: more fit on no screen.
const MAX_EVENTS: usize = 1_000;

/// Prints the events of one correlation.
pub(super) fn trace(session: &Session) -> Result<(), CommandFailure> {
    let text = session.given.operand_text(0, "CORRELATION|POSITION")?;
    // A correlation of digits alone is read as a position; programs send UUIDs.
    let correlation = match text.parse::<u64>() {
        // Positions count from 1.
        Ok(0) => return Err(wrong("POSITION", "a position from 1 on", text)),
        Ok(position) => correlation_of(session, position)?,
        Err(_) => text.to_owned(),
    };
    let (events, is_whole) = find(session, &correlation)?;
    if events.is_empty() {
        return Err(CommandFailure::failed(format!(
            "no event has the correlation {correlation:?}: check the id, or give the position of an event"
        )));
    }
    // A read side that is away does not hide the events.
    let projections =
        session.services.get(READ, "/projections").and_then(|answer| answer.json()).unwrap_or_default();
    if session.terminal.is_json {
        let projections = field(&projections, "projections");
        let (correlation, events) = (Value::from(correlation), Value::from(events));
        let document = format!(
            "{{\"correlation_id\":{correlation},\"events\":{events},\"whole\":{is_whole},\"projections\":{projections}}}"
        );
        return session.terminal.print_json(&document);
    }
    let mut text = session.terminal.heading(&format!("correlation {}", harmless(&correlation))) + "\n";
    text += &tree(&events);
    if !is_whole {
        text += &format!("the first {MAX_EVENTS} events; there are more\n");
    }
    session.terminal.print(&(text + &reached(&events, &projections)))
}

/// Returns the correlation of the event at a position.
fn correlation_of(session: &Session, position: u64) -> Result<String, CommandFailure> {
    let answer = session.services.get(WRITE, &format!("/events?after={}&limit=1", position - 1))?;
    let page = answer.json()?;
    let event = field(&page, "events").get(0).unwrap_or(&Value::Null);
    if field(event, "position").as_u64() != Some(position) {
        return Err(CommandFailure::failed(format!(
            "there is no event {position}: the log ends at {}",
            field(&page, "head")
        )));
    }
    let correlation = field(field(event, "metadata"), "correlation_id").as_str().map(str::to_owned);
    correlation.ok_or_else(|| {
        CommandFailure::failed(format!(
            "event {position} has no correlation: its command came without X-Correlation-Id and traceparent"
        ))
    })
}

/// Returns the events of a correlation, and whether these are all.
fn find(session: &Session, correlation: &str) -> Result<(Vec<Value>, bool), CommandFailure> {
    let mut feed = FeedReader::after(&session.services, 0).with_filter("correlation_id", Some(correlation));
    let mut events = Vec::new();
    let mut end = None;
    loop {
        let answer = feed.fetch(0)?;
        let page = feed.page(&answer)?;
        let end = *end.get_or_insert(page.head);
        for raw in &page.events {
            // A correlation that a client repeats for ever would fill the memory.
            if events.len() == MAX_EVENTS {
                return Ok((events, false));
            }
            placed(raw)?;
            events.push(serde_json::from_str(raw.get()).unwrap_or_default());
        }
        let before = feed.position();
        feed.pass(&page)?;
        // Without progress there is nothing left to scan.
        if feed.position() >= end || feed.position() == before {
            return Ok((events, true));
        }
    }
}

/// Returns the events under the command that caused them.
fn tree(events: &[Value]) -> String {
    let cause = |event: &Value| cell(field(field(event, "metadata"), "causation_id"));
    let mut text = String::new();
    for (index, event) in events.iter().enumerate() {
        // Events of one command are neighbours, because a command is one append.
        let is_first = index == 0 || cause(&events[index - 1]) != cause(event);
        let is_last = events.get(index + 1).is_none_or(|next| cause(next) != cause(event));
        if is_first && !cause(event).is_empty() {
            text += &format!("└─ command {}\n", harmless(&cause(event)));
        }
        let branch = if is_last { "└─" } else { "├─" };
        text += &format!("   {branch} {}\n", shown_event(event).trim_start());
    }
    text
}

/// Returns a line for each projection: whether its rows have the last of the events.
fn reached(events: &[Value], projections: &Value) -> String {
    // A projection that has the last event has the others too.
    let last = events.last().and_then(|event| field(event, "position").as_u64()).unwrap_or(0);
    let mut text = String::new();
    for projection in field(projections, "projections").as_array().into_iter().flatten() {
        let has_it = field(projection, "position").as_u64() >= Some(last);
        let state = if has_it { "has them" } else { "does not have them yet" };
        let (name, position) = (harmless(&cell(field(projection, "name"))), field(projection, "position"));
        text += &format!("projection {name} {state}: it is at position {position}\n");
    }
    text
}
