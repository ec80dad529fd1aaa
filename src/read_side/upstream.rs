//! The write side, as the read side knows it: the address, the contact, and the feed.
//!
//! A separate thread asks the registry, every few seconds and whenever the feed fails, so the read side
//! follows a moved write side.
//!
//! **Invariant:** every call has a deadline, and no proxy, redirect or endless body is followed.
//!
//! Threads: `discovery`, for the registry.
//!
//! Read next: `page_size.rs`.

use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ureq::Agent;
use uuid::Uuid;

use super::page_size::{Pace, PageSize, Smaller};
use crate::discovery::{BaseUrl, Locator, http_agent};
use crate::es::{Feed, FeedError, Page};
use crate::lock::lock;
use crate::watch::Watch;

/// The registered name of the write side.
const SERVICE: &str = "write";
/// The longest pause between two look-ups. A failing address is looked up at once.
const LOOK_UP_EVERY: Duration = Duration::from_secs(5);
/// The largest page, in bytes: far above the pages of the write side, far below the memory of a process.
const MAX_PAGE_BYTES: u64 = 64 << 20;
/// How long the feed waits for the first look-up: as long as one registry that hangs takes. Without the wait,
/// every start would report that no registry knows a write side.
const FIRST_LOOK_UP: Duration = Duration::from_secs(2);
/// Reasons of one absence that are logged, at most: reasons that alternate would fill the log.
const MAX_REASONS: usize = 8;
/// Bytes of a page between two looks at the deadline.
const STEP_BYTES: usize = 64 << 10;

/// How long the write side may take.
#[derive(Clone, Copy, Debug)]
struct Deadlines {
    /// Without a byte of an answer, beyond the requested wait.
    silence: Duration,
    /// For a page in all, from the first byte.
    page: Duration,
    /// For a page before it counts as too large for the line.
    slow: Duration,
}

impl Deadlines {
    /// A page has 1 MiB as a rule, which a line of 20 kB/s carries in a minute. With more time, a
    /// peer sending a byte a second would go unnoticed for longer.
    const OF_A_LINE: Self =
        Self { silence: Duration::from_secs(8), page: Duration::from_secs(60), slow: Duration::from_secs(8) };
}

/// Shared by the feed, the look-up thread and the health route.
#[derive(Debug)]
pub(super) struct Upstream {
    discovered: Locator,
    line: Mutex<Line>,
    page_size: Mutex<PageSize>,
    deadlines: Deadlines,
    /// The number of requested look-ups.
    look_ups: Watch,
    /// The number of look-ups that have ended.
    looked_up: Watch,
}

/// The contact, and the memory that the log lines and the metrics need.
#[derive(Debug)]
struct Line {
    contact: Contact,
    last_contact: Option<SystemTime>,
    /// The reasons that were logged since the last answer.
    reasons: Vec<String>,
}

/// The result of the last call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Contact {
    /// No call was made.
    Never,
    /// The write side at the given address answered.
    Reached(String),
    /// The write side did not answer, or has moved and did not answer yet, for the given reason.
    Lost(String),
}

impl Upstream {
    /// Finds the write side at `pinned`, or else in the registries, on a separate thread.
    /// `followed` returns the log of the read models so far.
    pub(super) fn start(
        registries: Vec<BaseUrl>,
        pinned: Option<BaseUrl>,
        followed: impl Fn() -> Option<Uuid> + Send + 'static,
    ) -> io::Result<Arc<Self>> {
        let discovered = match pinned {
            Some(address) => Locator::pinned(address, SERVICE),
            None => Locator::new(registries, SERVICE),
        };
        let upstream = Arc::new(Self::over(discovered, Deadlines::OF_A_LINE));
        let looking = Arc::clone(&upstream);
        let look_up = move || looking.look_up_until_closed(followed);
        // A thread of its own: a hanging registry never holds up a working feed.
        thread::Builder::new().name("discovery".into()).spawn(look_up)?;
        Ok(upstream)
    }

    fn over(discovered: Locator, deadlines: Deadlines) -> Self {
        Self {
            discovered,
            line: Mutex::new(Line { contact: Contact::Never, last_contact: None, reasons: Vec::new() }),
            page_size: Mutex::new(PageSize::new(deadlines.slow)),
            deadlines,
            look_ups: Watch::at(0),
            looked_up: Watch::at(0),
        }
    }

    /// Ends the look-ups. From now on an absence of the write side is expected, and not logged.
    pub(super) fn close(&self) {
        self.look_ups.close();
        self.looked_up.close();
    }

    pub(super) fn contact(&self) -> Contact {
        self.lock().contact.clone()
    }

    /// Returns the time at which a write side last answered.
    pub(super) fn last_contact(&self) -> Option<SystemTime> {
        self.lock().last_contact
    }

    /// Returns the address to call, after the first look-up.
    fn address(&self) -> Option<String> {
        if let Some(address) = self.discovered.address() {
            return Some(address);
        }
        self.looked_up.wait_for(1, FIRST_LOOK_UP);
        self.discovered.address()
    }

    fn look_up_until_closed(&self, followed: impl Fn() -> Option<Uuid>) {
        let mut done = 0;
        while !self.look_ups.is_closed() {
            self.discovered.refresh(followed());
            self.looked_up.raise(self.looked_up.value() + 1);
            // Requests during a look-up are not lost: the wait then returns at once.
            done = self.look_ups.wait_for(done + 1, LOOK_UP_EVERY);
        }
    }

    fn look_up_now(&self) {
        // Two callers may raise to the same number: one look-up serves both.
        self.look_ups.raise(self.look_ups.value() + 1);
    }

    /// Distrusts the address in use, which serves another history: another instance comes first, once a
    /// registry knows another.
    fn distrust(&self) {
        if let Contact::Reached(address) = self.contact() {
            self.discovered.mark_rejected(&address);
            self.look_up_now();
        }
    }

    /// Trusts the address in use.
    pub(super) fn trust(&self) {
        self.discovered.mark_trusted();
    }

    /// Records an answer of the write side at `address`, and logs a change of the address.
    fn note_answer(&self, address: &str) {
        let mut line = self.lock();
        let now = Contact::Reached(address.to_owned());
        if line.contact != now {
            log::info!("following the write side at {address}");
        }
        *line = Line { contact: now, last_contact: Some(SystemTime::now()), reasons: Vec::new() };
    }

    /// Records that the write side is away, and logs each reason once until the next answer.
    fn note_absence(&self, reason: String) {
        let mut line = self.lock();
        let is_news = !self.look_ups.is_closed();
        if is_news && line.reasons.len() < MAX_REASONS && !line.reasons.contains(&reason) {
            // A read side may be started before its write side, and then all is well.
            match line.last_contact {
                None => log::info!("waiting for a write side: {reason}"),
                Some(_) => log::warn!("the write side is away: {reason}; trying again until it answers"),
            }
            line.reasons.push(reason.clone());
        }
        line.contact = Contact::Lost(reason);
    }

    /// Logs when the line becomes too slow for whole pages, and when whole pages pass again.
    fn note_pace(&self, address: &str, observe: impl FnOnce(&mut PageSize) -> Pace) {
        let pace = observe(&mut self.page_size());
        match pace {
            Pace::Same => {}
            Pace::Slow => log::warn!(
                "a page from the write side at {address} takes longer than {} s to arrive; asking for smaller pages",
                self.deadlines.slow.as_secs_f64()
            ),
            Pace::Normal => log::info!("whole pages from the write side at {address} arrive in time again"),
        }
    }

    /// Plain numbers, which are consistent after any panic.
    fn page_size(&self) -> MutexGuard<'_, PageSize> {
        lock(&self.page_size)
    }

    /// Plain values, which are consistent after any panic.
    fn lock(&self) -> MutexGuard<'_, Line> {
        lock(&self.line)
    }
}

/// The write side's event feed over HTTP. Clones share connections.
#[derive(Clone, Debug)]
pub(super) struct HttpFeed {
    upstream: Arc<Upstream>,
    agent: Agent,
}

impl HttpFeed {
    pub(super) fn new(upstream: Arc<Upstream>) -> Self {
        // No limit for a whole call: each request sets limits for its parts.
        Self { upstream, agent: http_agent(None) }
    }

    /// Records why the write side is away, and returns the reason for the projector.
    fn away(&self, reason: String) -> FeedError {
        self.upstream.note_absence(reason.clone());
        FeedError::new(reason)
    }

    fn fetch(&self, address: &str, after: u64, limit: u32, wait: Duration) -> Result<Page, CallError> {
        let failed = |error: &dyn fmt::Display| CallError::Failed(format!("{address}: {error}"));
        let url = format!("{address}/events?after={after}&limit={limit}&wait={}", wait.as_secs_f64());
        let Deadlines { silence, page, .. } = self.upstream.deadlines;
        // The write side is silent during a long poll, so the requested wait comes on top of each limit.
        let request = self.agent.get(&url).config().timeout_per_read(Some(wait + silence));
        let request = request.timeout_send_request(Some(silence)).timeout_recv_response(Some(wait + silence));
        let request = request.timeout_recv_body(Some(page)).build();
        let response = request.call().map_err(|error| failed(&error))?;
        let status = response.status();
        if status != 200 {
            return Err(CallError::Failed(format!("{address} answers the feed with {status}")));
        }
        self.receive(address, limit, response.into_body())
    }

    /// Reads a page during the arrival, and learns the size of the next page. A page that will be late is
    /// given up at once.
    fn receive(&self, address: &str, limit: u32, body: ureq::Body) -> Result<Page, CallError> {
        let Deadlines { page: deadline, slow, .. } = self.upstream.deadlines;
        let expected = body.content_length().and_then(|length| usize::try_from(length).ok());
        let mut body = body.into_with_config().limit(MAX_PAGE_BYTES).reader();
        let mut step = vec![0; STEP_BYTES];
        let mut arrival = Arrival { address, limit, begun: Instant::now(), expected, json: Vec::new() };
        loop {
            match body.read(&mut step) {
                Ok(0) => break,
                Ok(bytes) => arrival.json.extend_from_slice(&step[..bytes]),
                // A connection that broke early says nothing about the bandwidth.
                Err(error) if arrival.begun.elapsed() < slow => {
                    return Err(CallError::Failed(format!("{address}: {error}")));
                }
                Err(error) => return Err(self.cut_off(&arrival, &error.to_string())),
            }
            let elapsed = arrival.begun.elapsed();
            // While the page arrives: the log reports a slow line before the page has ended.
            self.upstream.note_pace(address, |size| size.arriving(elapsed));
            // Not before `slow`: the first steps say little about the speed of the line.
            if elapsed >= slow && arrival.will_take() > deadline {
                return Err(self.cut_off(&arrival, "the rest would come too late"));
            }
        }
        let Arrival { begun, json, .. } = arrival;
        self.upstream.note_pace(address, |size| size.arrived(limit, json.len(), begun.elapsed()));
        Ok(Page { json })
    }

    fn cut_off(&self, arrival: &Arrival<'_>, why: &str) -> CallError {
        let Arrival { address, limit, expected, .. } = *arrival;
        let (received, slow) = (arrival.json.len(), self.upstream.deadlines.slow);
        self.upstream.note_pace(address, |size| size.arriving(slow));
        let all = expected.map_or_else(|| "an unknown number".to_owned(), |bytes| bytes.to_string());
        let error = format!("{address}: {received} bytes of {all} of a page arrived: {why}");
        match self.upstream.page_size().cut_off(limit, received, expected) {
            Smaller::Possible => CallError::TooLarge(error),
            Smaller::Impossible => CallError::Failed(error),
        }
    }
}

/// An arriving page.
struct Arrival<'a> {
    address: &'a str,
    /// The number of requested events.
    limit: u32,
    begun: Instant,
    /// The size of the whole page, if the write side sends the size.
    expected: Option<usize>,
    json: Vec<u8>,
}

impl Arrival<'_> {
    /// Returns the expected time for the whole page, at the speed so far.
    fn will_take(&self) -> Duration {
        let received = self.json.len().max(1);
        // Without a length, the page counts as almost complete, and the deadline alone ends the arrival.
        let expected = self.expected.unwrap_or(received);
        Duration::try_from_secs_f64(self.begun.elapsed().as_secs_f64() * expected as f64 / received as f64)
            .unwrap_or(Duration::MAX)
    }
}

/// Why no page has arrived.
enum CallError {
    /// The write side is away, or does not answer with a page.
    Failed(String),
    /// The page is too large for the line. Ask for a smaller page at once.
    TooLarge(String),
}

impl Feed for HttpFeed {
    fn rejected(&mut self) {
        self.upstream.distrust();
    }

    fn next_page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        let Some(address) = self.upstream.address() else {
            self.upstream.look_up_now();
            return Err(self.away(self.upstream.discovered.absence()));
        };
        // The first call to an address does not wait: the contact is worth knowing now.
        let known = match self.upstream.contact() {
            Contact::Reached(before) if before != address => {
                return Err(self.away(format!("it has moved from {before} to {address}")));
            }
            Contact::Reached(_) => true,
            Contact::Never | Contact::Lost(_) => false,
        };
        let wait = if known { wait } else { Duration::ZERO };
        let limit = self.upstream.page_size().limit(limit);
        match self.fetch(&address, after, limit, wait) {
            Ok(page) => {
                if !known {
                    self.upstream.discovered.mark_up(&address);
                }
                self.upstream.note_answer(&address);
                Ok(page)
            }
            // The write side works, so the contact and the address stay: the next page is smaller.
            Err(CallError::TooLarge(error)) => Err(FeedError::new(error)),
            Err(CallError::Failed(error)) => {
                self.upstream.discovered.mark_down(&address);
                self.upstream.look_up_now();
                Err(self.away(error))
            }
        }
    }
}

#[cfg(test)]
mod tests;
