//! The write side, as far as the read side knows it: where it is, whether it answers, and its feed.
//!
//! The registry is asked on a thread of its own, every few seconds and whenever the feed fails,
//! so that a registry that hangs never holds up a feed that works; and a write side that moved
//! is followed.
//!
//! **Invariant:** every call has a deadline, and no proxy, redirect or endless body is followed.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ureq::Agent;

use crate::discovery::{BaseUrl, Discovered};
use crate::es::{Feed, FeedError, Page};
use crate::watch::Watch;

/// The name that the write side registers under.
const SERVICE: &str = "write";
/// The longest pause between two look-ups. An address that fails is looked up at once.
const LOOK_UP_EVERY: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a page may take beyond the wait that was asked for: it has some megabytes at most.
const PAGE_TIMEOUT: Duration = Duration::from_secs(8);
/// The largest page, in bytes: far above what the write side sends, far below what a process has.
const MAX_PAGE_BYTES: u64 = 64 << 20;

/// Shared by the feed, the look-up thread and the health route.
#[derive(Debug)]
pub(super) struct Upstream {
    discovered: Discovered,
    contact: Mutex<Contact>,
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
    /// Looks for the write side in those registries, on a thread of its own.
    pub(super) fn start(registries: Vec<BaseUrl>) -> io::Result<Arc<Self>> {
        let upstream = Arc::new(Self {
            discovered: Discovered::new(registries, SERVICE),
            contact: Mutex::new(Contact::Never),
            look_ups: Watch::at(0),
        });
        let looking = Arc::clone(&upstream);
        thread::Builder::new().name("discovery".into()).spawn(move || looking.look_up_until_closed())?;
        Ok(upstream)
    }

    /// Ends the look-ups.
    pub(super) fn close(&self) {
        self.look_ups.close();
    }

    pub(super) fn contact(&self) -> Contact {
        self.lock().clone()
    }

    fn look_up_until_closed(&self) {
        let mut done = 0;
        while !self.look_ups.is_closed() {
            self.discovered.refresh();
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
        let url = format!("{address}/events?after={after}&limit={limit}&wait={}", wait.as_secs_f64());
        let request = self.agent.get(&url).config().timeout_global(Some(wait + PAGE_TIMEOUT)).build();
        let response = request.call().map_err(|error| CallError(format!("{address}: {error}")))?;
        let status = response.status();
        if status != 200 {
            return Err(CallError(format!("{address} answers the feed with {status}")));
        }
        let body = response.into_body().into_with_config().limit(MAX_PAGE_BYTES).read_to_vec();
        body.map(|json| Page { json }).map_err(|error| CallError(format!("{address}: {error}")))
    }
}

struct CallError(String);

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Feed for HttpFeed {
    fn page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
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
        match self.fetch(&address, after, limit, wait) {
            Ok(page) => {
                if !known {
                    self.upstream.discovered.answered(&address);
                }
                self.upstream.note(Contact::Reached(address));
                Ok(page)
            }
            Err(error) => {
                self.upstream.discovered.failed(&address);
                self.upstream.look_up_now();
                self.upstream.note(Contact::Lost(error.to_string()));
                Err(FeedError::new(error.to_string()))
            }
        }
    }
}
