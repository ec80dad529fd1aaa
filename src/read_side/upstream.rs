//! The write side, as far as the read side knows it: where it is, whether it answers, and its feed.
//!
//! The registry is asked on a thread of its own, every few seconds and whenever the feed fails,
//! so that a registry that hangs never holds up a feed that works; and a write side that moved
//! is followed.
//!
//! **Invariant:** every call has a deadline, and no proxy, redirect or endless body is followed.

use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use uuid::Uuid;

use super::page_size::{Pace, PageSize, Smaller};
use crate::discovery::{BaseUrl, Discovered};
use crate::es::{Feed, FeedError, Page};
use crate::watch::Watch;

/// The name that the write side registers under.
const SERVICE: &str = "write";
/// The longest pause between two look-ups. An address that fails is looked up at once.
const LOOK_UP_EVERY: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest page, in bytes: far above what the write side sends, far below what a process has.
const MAX_PAGE_BYTES: u64 = 64 << 20;
/// How much of a page is read before its deadline is looked at, in bytes.
const STEP_BYTES: usize = 64 << 10;

/// How long the write side may take.
#[derive(Clone, Copy, Debug)]
struct Deadlines {
    /// Without a byte of an answer, beyond the wait that was asked for.
    silence: Duration,
    /// For a page in all, from its first byte.
    page: Duration,
    /// For a page before it counts as too large for the line.
    slow: Duration,
}

impl Deadlines {
    /// A page has 1 MiB as a rule, which a line of 20 kB/s carries in a minute. More time would leave a
    /// peer that sends a byte a second unnoticed for longer.
    const OF_A_LINE: Self =
        Self { silence: Duration::from_secs(8), page: Duration::from_secs(60), slow: Duration::from_secs(8) };
}

/// Shared by the feed, the look-up thread and the health route.
#[derive(Debug)]
pub(super) struct Upstream {
    discovered: Discovered,
    contact: Mutex<Contact>,
    page_size: Mutex<PageSize>,
    deadlines: Deadlines,
    /// Counts the look-ups that were asked for.
    look_ups: Watch,
}

/// What came of the last call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Contact {
    /// There was none.
    Never,
    /// The write side at that address answered.
    Reached(String),
    /// It did not, or it has moved and did not answer yet: for that reason.
    Lost(String),
}

impl Upstream {
    /// Finds the write side at `pinned`, or else in those registries, on a thread of its own.
    /// `followed` returns the log that the read models have followed so far.
    pub(super) fn start(
        registries: Vec<BaseUrl>,
        pinned: Option<BaseUrl>,
        followed: impl Fn() -> Option<Uuid> + Send + 'static,
    ) -> io::Result<Arc<Self>> {
        let discovered = match pinned {
            Some(address) => Discovered::pinned(address, SERVICE),
            None => Discovered::new(registries, SERVICE),
        };
        let upstream = Arc::new(Self::over(discovered, Deadlines::OF_A_LINE));
        let looking = Arc::clone(&upstream);
        let look_up = move || looking.look_up_until_closed(followed);
        thread::Builder::new().name("discovery".into()).spawn(look_up)?;
        Ok(upstream)
    }

    fn over(discovered: Discovered, deadlines: Deadlines) -> Self {
        Self {
            discovered,
            contact: Mutex::new(Contact::Never),
            page_size: Mutex::new(PageSize::new(deadlines.slow)),
            deadlines,
            look_ups: Watch::at(0),
        }
    }

    /// Ends the look-ups.
    pub(super) fn close(&self) {
        self.look_ups.close();
    }

    pub(super) fn contact(&self) -> Contact {
        self.lock().clone()
    }

    fn look_up_until_closed(&self, followed: impl Fn() -> Option<Uuid>) {
        let mut done = 0;
        while !self.look_ups.is_closed() {
            self.discovered.refresh(followed());
            done = self.look_ups.wait_for(done + 1, LOOK_UP_EVERY);
        }
    }

    fn look_up_now(&self) {
        self.look_ups.raise(self.look_ups.value() + 1);
    }

    /// What answered is not the write side that was followed: another instance comes first, once a
    /// registry knows one.
    pub(super) fn distrust(&self) {
        if let Contact::Reached(address) = self.contact() {
            self.discovered.refused(&address);
            self.look_up_now();
        }
    }

    /// What answers is the write side that was followed.
    pub(super) fn trust(&self) {
        self.discovered.is_right();
    }

    /// Notes how a call went, and says so in the log when that is news.
    fn note(&self, now: Contact) {
        let mut contact = self.lock();
        match (&*contact, &now) {
            (Contact::Reached(before), Contact::Reached(address)) if before == address => {}
            (_, Contact::Reached(address)) => log::info!("following the write side at {address}"),
            (Contact::Never | Contact::Reached(_), Contact::Lost(error)) => {
                log::warn!("the write side is away: {error}; trying again until it answers");
            }
            (Contact::Lost(_), Contact::Lost(_)) | (_, Contact::Never) => {}
        }
        *contact = now;
    }

    /// Says in the log when the line becomes too slow for its pages, and when it no longer is.
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

    /// Plain numbers: nothing can be half done.
    fn page_size(&self) -> MutexGuard<'_, PageSize> {
        self.page_size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A contact is one value: nothing can be half done.
    fn lock(&self) -> MutexGuard<'_, Contact> {
        self.contact.lock().unwrap_or_else(PoisonError::into_inner)
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
        let agent = Agent::config_builder()
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("tally/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self { upstream, agent }
    }

    fn fetch(&self, address: &str, after: u64, limit: u32, wait: Duration) -> Result<Page, CallError> {
        let failed = |error: &dyn fmt::Display| CallError::Failed(format!("{address}: {error}"));
        let url = format!("{address}/events?after={after}&limit={limit}&wait={}", wait.as_secs_f64());
        let Deadlines { silence, page, .. } = self.upstream.deadlines;
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

    /// Reads a page as it arrives, and learns from it how large the next one may be. A page that will not
    /// arrive in time is given up as soon as that shows.
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
                // A connection that breaks early says nothing about the line.
                Err(error) if arrival.begun.elapsed() < slow => {
                    return Err(CallError::Failed(format!("{address}: {error}")));
                }
                Err(error) => return Err(self.cut_off(&arrival, &error.to_string())),
            }
            let elapsed = arrival.begun.elapsed();
            self.upstream.note_pace(address, |size| size.arriving(elapsed));
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

/// A page that is arriving.
struct Arrival<'a> {
    address: &'a str,
    /// The number of events that were asked for.
    limit: u32,
    begun: Instant,
    /// The size of the whole page, where the write side says it.
    expected: Option<usize>,
    json: Vec<u8>,
}

impl Arrival<'_> {
    /// Returns how long the whole page will take if the rest comes as fast as what has arrived.
    fn will_take(&self) -> Duration {
        let received = self.json.len().max(1);
        let expected = self.expected.unwrap_or(received);
        Duration::try_from_secs_f64(self.begun.elapsed().as_secs_f64() * expected as f64 / received as f64)
            .unwrap_or(Duration::MAX)
    }
}

/// Why there is no page.
enum CallError {
    /// The write side is away, or answers with something else.
    Failed(String),
    /// It answers, but more than the line carries in time. A smaller page is worth asking for at once.
    TooLarge(String),
}

impl Feed for HttpFeed {
    fn rejected(&mut self) {
        self.upstream.distrust();
    }

    fn next_page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        let Some(address) = self.upstream.discovered.address() else {
            self.upstream.look_up_now();
            let error = "no registry knows where it is";
            self.upstream.note(Contact::Lost(error.to_owned()));
            return Err(FeedError::new(error));
        };
        // The first call to an address does not wait: whether it answers is worth knowing now.
        let known = match self.upstream.contact() {
            Contact::Reached(before) if before != address => {
                let error = format!("it has moved from {before} to {address}");
                self.upstream.note(Contact::Lost(error.clone()));
                return Err(FeedError::new(error));
            }
            Contact::Reached(_) => true,
            Contact::Never | Contact::Lost(_) => false,
        };
        let wait = if known { wait } else { Duration::ZERO };
        let limit = self.upstream.page_size().limit(limit);
        match self.fetch(&address, after, limit, wait) {
            Ok(page) => {
                if !known {
                    self.upstream.discovered.answered(&address);
                }
                self.upstream.note(Contact::Reached(address));
                Ok(page)
            }
            Err(CallError::TooLarge(error)) => Err(FeedError::new(error)),
            Err(CallError::Failed(error)) => {
                self.upstream.discovered.failed(&address);
                self.upstream.look_up_now();
                self.upstream.note(Contact::Lost(error.clone()));
                Err(FeedError::new(error))
            }
        }
    }
}

#[cfg(test)]
mod tests;
