//! `tally events`: the log, printed and followed.
//!
//! **Invariant:** each event is printed once and in order, also over a restart of the write side. The memory
//! holds one page.
//!
//! Read next: `feed.rs`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use uuid::Uuid;

use super::failure::CommandFailure;
use super::feed::{FeedPage, FeedReader, placed};
use super::queries::cell;
use super::services::{WRITE, field};
use super::session::Session;
use super::terminal::{Terminal, fitted, harmless_json, remark};
use crate::limits::MAX_EXACT_INTEGER;

/// Seconds that the write side may let a long poll wait: below the limit of a request.
const WAIT_SECONDS: u64 = 20;
/// Pauses between two attempts while the write side is away: the first, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The widest text of an event's data, in characters.
const MAX_DATA: usize = 100;

/// Prints the events, and follows the log if asked to.
pub(super) fn events(session: &Session) -> Result<(), CommandFailure> {
    let after = session.given.number("after", &(0..=MAX_EXACT_INTEGER))?.unwrap_or(0);
    let stream: Option<Uuid> = session.given.parsed("stream", "a UUID")?;
    // Before the first request, so that Ctrl-C never ends a follower with a failure.
    let follows = session.given.has("follow");
    if follows {
        end_on_signal()?;
    }
    let mut feed =
        FeedReader::after(&session.services, after).with_filter("type", session.given.text("type")?);
    let mut printer = Printer { terminal: session.terminal, stream, has_heading: false };
    if let (Some(stream), false) = (stream, follows) {
        return print_stream(session, stream, after, &mut printer);
    }
    let mut first_head = None;
    let mut is_away = false;
    let mut pause = FIRST_PAUSE;
    loop {
        // Without --follow the log ends at its first head, so a busy log does not keep the command.
        let wait = if follows && first_head.is_some() { WAIT_SECONDS } else { 0 };
        let answer = match feed.fetch(wait) {
            Ok(answer) => answer,
            // A write side that has shown pages before returns, or starts again: ask from the same position.
            Err(failure) if follows && first_head.is_some() && is_passing(&failure) => {
                if !std::mem::replace(&mut is_away, true) {
                    remark("the write service does not answer; the events go on when it is back");
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        // The next failure is a new one: said again, and retried soon.
        (is_away, pause) = (false, FIRST_PAUSE);
        let page = feed.page(&answer)?;
        let end = *first_head.get_or_insert(page.head);
        printer.print(&page, if follows { u64::MAX } else { end })?;
        let before = feed.position();
        feed.pass(&page)?;
        // Without progress there is nothing left to scan.
        if !follows && (feed.position() >= end || feed.position() == before) {
            return Ok(());
        }
    }
}

/// Returns whether a failure may pass by itself: no answer, or a 503.
fn is_passing(failure: &CommandFailure) -> bool {
    match failure {
        CommandFailure::Failed(_) => true,
        CommandFailure::Refused(refusal) => refusal.status == 503,
        CommandFailure::Usage(_) | CommandFailure::ClosedPipe => false,
    }
}

/// Ends the process with status 0 on Ctrl-C: the user has seen enough.
fn end_on_signal() -> Result<(), CommandFailure> {
    for signal in [SIGINT, SIGTERM] {
        // In the handler itself, because the command waits for the write side most of the time.
        let ended = flag::register_conditional_shutdown(signal, 0, Arc::new(AtomicBool::new(true)));
        ended.map_err(|error| {
            CommandFailure::failed(format!("the system refused a signal handler: {error}"))
        })?;
    }
    Ok(())
}

/// Prints the events of one stream after a position.
fn print_stream(
    session: &Session,
    stream: Uuid,
    after: u64,
    printer: &mut Printer,
) -> Result<(), CommandFailure> {
    let wanted = session.given.text("type")?;
    // The route pages by version, and the caller speaks of positions.
    let mut version = 0;
    loop {
        let path = format!("/streams/{stream}/events?after={version}&limit=1000");
        let answer = session.services.get(WRITE, &path)?;
        let mut feed = FeedReader::after(&session.services, 0);
        let mut page = feed.page(&answer.body)?;
        // An empty page is the end of the stream.
        let Some(last) = page.events.last() else { return Ok(()) };
        version = placed(last)?.version;
        // A stream is short beside the log, so its events are chosen here.
        page.events.retain(|event| {
            let event: Value = serde_json::from_str(event.get()).unwrap_or_default();
            field(&event, "position").as_u64() > Some(after)
                && wanted.is_none_or(|wanted| field(&event, "type") == wanted)
        });
        printer.print(&page, u64::MAX)?;
    }
}

/// Prints events as lines.
#[derive(Debug)]
struct Printer {
    terminal: Terminal,
    /// The only stream to print.
    stream: Option<Uuid>,
    has_heading: bool,
}

impl Printer {
    /// Prints the events of a page up to a position, with one write.
    fn print(&mut self, page: &FeedPage<'_>, until: u64) -> Result<(), CommandFailure> {
        let mut text = String::new();
        if !self.terminal.is_json && !std::mem::replace(&mut self.has_heading, true) {
            let heading = event_line(
                ["position", "recorded_at", "type", "stream_id", "version", "data"].map(str::to_owned),
            );
            text = self.terminal.heading(&heading) + "\n";
        }
        for event in &page.events {
            // Events that were recorded meanwhile belong to the next call.
            if placed(event)?.position > until {
                break;
            }
            text += &self.line(event)?;
        }
        if text.is_empty() { Ok(()) } else { self.terminal.print(&text) }
    }

    fn line(&self, raw: &RawValue) -> Result<String, CommandFailure> {
        let event: Value = serde_json::from_str(raw.get())
            .map_err(|error| CommandFailure::failed(format!("expected an event of the feed: {error}")))?;
        // A followed stream is chosen here: the feed has no such filter.
        if self.stream.is_some_and(|stream| *field(&event, "stream_id") != stream.to_string()) {
            return Ok(String::new());
        }
        Ok(if self.terminal.is_json { harmless_json(raw.get()) } else { shown_event(&event) } + "\n")
    }
}

/// Returns an event as a line for people.
pub(super) fn shown_event(event: &Value) -> String {
    // The feed's own order of the fields, as text that stays on the line.
    event_line(
        ["position", "recorded_at", "type", "stream_id", "version", "data"]
            .map(|name| cell(field(event, name))),
    )
}

fn event_line([position, time, kind, stream, version, data]: [String; 6]) -> String {
    let (time, kind, stream) = (fitted(&time, 27), fitted(&kind, 30), fitted(&stream, 36));
    format!("{position:>8}  {time:<27}  {kind:<14}  {stream:<36}  {version:>7}  {}", fitted(&data, MAX_DATA))
}
