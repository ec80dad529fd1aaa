//! The event feed as a client reads it: page after page, filtered by the write side.
//!
//! **Invariant:** a reader remembers one number, the position up to which the feed has been read. After a
//! failure the reader asks from there again, so no event is skipped and none is shown twice. A feed of
//! another log is refused.
//!
//! Read next: `events.rs`, `trace.rs`.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::failure::CommandFailure;
use super::services::{Services, WRITE};

/// Events in one page: a page stays below some hundred kilobytes.
const PAGE_EVENTS: u32 = 1_000;

/// One page; each event is the text that the write side sent.
#[derive(Debug, Deserialize)]
pub(super) struct FeedPage<'a> {
    log_id: Uuid,
    #[serde(borrow)]
    pub(super) events: Vec<&'a RawValue>,
    pub(super) head: u64,
    /// Up to where a filtered page has looked.
    #[serde(default)]
    scanned_to: Option<u64>,
}

/// The fields of an event that a client goes by.
#[derive(Debug, Deserialize)]
pub(super) struct Placed {
    pub(super) position: u64,
    pub(super) version: u64,
}

#[inline(never)]
pub(super) fn placed(event: &RawValue) -> Result<Placed, CommandFailure> {
    serde_json::from_str(event.get()).map_err(|error| not_a_feed(&error))
}

fn not_a_feed(error: &serde_json::Error) -> CommandFailure {
    CommandFailure::failed(format!("expected a page of the event feed from the write service: {error}"))
}

/// A place in the feed.
#[derive(Debug)]
pub(super) struct FeedReader<'s> {
    services: &'s Services,
    filter: String,
    after: u64,
    log_id: Option<Uuid>,
}

impl<'s> FeedReader<'s> {
    /// Returns a reader of the events after a position.
    pub(super) fn after(services: &'s Services, after: u64) -> Self {
        Self { services, filter: String::new(), after, log_id: None }
    }

    /// Lets the write side send the events alone whose field has this value.
    pub(super) fn with_filter(mut self, field: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            // Every other character than letters and digits is encoded, so no value can add a parameter.
            self.filter += &format!("&{field}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
        self
    }

    /// Returns the position up to which the feed has been read.
    pub(super) fn position(&self) -> u64 {
        self.after
    }

    /// Returns the answer for the next page; the write side waits up to `wait` seconds for an event.
    #[inline(never)]
    pub(super) fn fetch(&self, wait: u64) -> Result<String, CommandFailure> {
        let Self { after, filter, .. } = self;
        let path = format!("/events?after={after}&limit={PAGE_EVENTS}&wait={wait}{filter}");
        self.services.get(WRITE, &path).map(|answer| answer.body)
    }

    /// Reads a fetched page, without moving on.
    #[inline(never)]
    pub(super) fn page<'a>(&mut self, answer: &'a str) -> Result<FeedPage<'a>, CommandFailure> {
        let page: FeedPage<'_> = serde_json::from_str(answer).map_err(|error| not_a_feed(&error))?;
        // The first page decides which log is followed.
        let log_id = *self.log_id.get_or_insert(page.log_id);
        if log_id != page.log_id {
            return Err(CommandFailure::failed(format!(
                "the write service has another log now: expected {log_id}, found {}; start again to follow that log",
                page.log_id
            )));
        }
        // An answer from behind the reader means a restored log, whose next events differ.
        if page.head < self.after && page.events.is_empty() && self.after > 0 {
            return Err(CommandFailure::failed(format!(
                "expected a log of {} events or more, found {}: give a smaller --after, or the log was restored \
                 from a backup",
                self.after, page.head
            )));
        }
        Ok(page)
    }

    /// Moves on behind a page whose events have been used.
    #[inline(never)]
    pub(super) fn pass(&mut self, page: &FeedPage<'_>) -> Result<(), CommandFailure> {
        let last = page.events.last().map(|event| placed(event)).transpose()?.map(|event| event.position);
        // A filtered page may have looked further than its last event.
        self.after = page.scanned_to.max(last).unwrap_or(self.after).max(self.after);
        Ok(())
    }
}
