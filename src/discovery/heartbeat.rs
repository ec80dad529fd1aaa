//! Keeps a service registered with every configured registry for as long as the service runs.
//!
//! ```text
//! Untried ──register──► Registered ──no answer──► Away ──heartbeat──► Registered
//!    │                      ▲  └────404, register again────┘
//!    └──may not register──► Withheld, asked again every second
//! ```
//!
//! **Invariant:** each registry has a thread of its own: an unreachable registry never delays the heartbeats
//! to another.
//!
//! Read next: `discovery/client.rs`, the requests; `registry/leases.rs`, the other side.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::Level;
use uuid::Uuid;

use super::backoff::{Backoff, jittered};
use super::base_url::BaseUrl;
use super::client::{Advertised, CALL_TIMEOUT, DiscoveryError, Endpoint, HeartbeatAnswer, LiveInstance};
use super::outage::Outage;
use super::registry_contact::RegistryContact;
use crate::watch::Watch;

/// The first retry pause, in milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest retry pause, in seconds: a registry that starts late is filled within a second, at the price
/// of one refused connection per second.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// The shortest heartbeat interval, in milliseconds. A registry that advises less would cause a flood.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// A service that registers itself.
pub trait Candidate: Send + Sync {
    /// Returns the name, address and metadata to register now. The name never changes.
    fn advertised(&self) -> Advertised;

    /// Decides whether the service may register now; called before each registration. `instances` looks up
    /// the live instances of the service's name, the service itself included while registered.
    ///
    /// # Errors
    /// The error of `instances`.
    fn may_register(
        &self,
        instances: &dyn Fn() -> Result<Vec<LiveInstance>, DiscoveryError>,
    ) -> Result<Permission, DiscoveryError>;
}

/// Whether a service may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Register now.
    Granted,
    /// Do not register now. The candidate logs the reason, and is asked again within a second.
    Withheld,
}

impl Candidate for Advertised {
    fn advertised(&self) -> Advertised {
        self.clone()
    }

    fn may_register(
        &self,
        _: &dyn Fn() -> Result<Vec<LiveInstance>, DiscoveryError>,
    ) -> Result<Permission, DiscoveryError> {
        Ok(Permission::Granted)
    }
}

/// The running registration of a service, one thread per registry. Dropping it is [`Heartbeats::stop`].
#[derive(Debug)]
pub struct Heartbeats {
    instance_id: Uuid,
    /// Closed to stop: the threads pause by waiting on this watch.
    stopping: Arc<Watch>,
    contacts: Vec<Arc<RegistryContact>>,
    threads: Vec<JoinHandle<()>>,
}

impl Heartbeats {
    /// Registers with every registry, retrying until it answers, and sends heartbeats at `interval`, or
    /// more often when a registry asks for more. Returns before the first call.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn start(
        urls: Vec<BaseUrl>,
        service: impl Candidate + 'static,
        interval: Duration,
    ) -> io::Result<Self> {
        // Version 7: ids sort by start time, and look-ups prefer the youngest process.
        let instance_id = Uuid::now_v7();
        let name = service.advertised().name;
        let service: Arc<dyn Candidate> = Arc::new(service);
        // Threads are pushed one by one: when a later one cannot start, dropping `heartbeats` joins the
        // others.
        let stopping = Arc::new(Watch::at(0));
        let mut heartbeats =
            Self { instance_id, stopping, contacts: Vec::new(), threads: Vec::with_capacity(urls.len()) };
        for url in urls {
            let contact = Arc::new(RegistryContact::with(url.clone()));
            heartbeats.contacts.push(Arc::clone(&contact));
            let keeper = Keeper {
                registry: Endpoint::new(url),
                name: name.clone(),
                service: Arc::clone(&service),
                instance_id,
                max_interval: interval,
                stopping: Arc::clone(&heartbeats.stopping),
                link: Link::Untried,
                outage: Outage::default(),
                contact,
            };
            let thread = thread::Builder::new().name("heartbeat".into()).spawn(move || keeper.run())?;
            heartbeats.threads.push(thread);
        }
        Ok(heartbeats)
    }

    /// Returns the id of the service, the same with every registry.
    pub fn instance_id(&self) -> Uuid {
        self.instance_id
    }

    /// Returns the contacts, one for each registry.
    pub fn contacts(&self) -> &[Arc<RegistryContact>] {
        &self.contacts
    }

    /// Deregisters from all registries and waits for the answers, 9 s at most: a call in flight and its
    /// repetition (4 s), or a look-up before the first registration and the calls to other instances
    /// (4 s each), then the deregistration (1 s).
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.stopping.close();
        // All threads see the closed watch at once, so the deregistrations run in parallel.
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a heartbeat thread panicked");
            }
        }
    }
}

/// The lease of the service with one registry.
struct Keeper {
    registry: Endpoint,
    name: String,
    service: Arc<dyn Candidate>,
    instance_id: Uuid,
    max_interval: Duration,
    stopping: Arc<Watch>,
    link: Link,
    outage: Outage,
    contact: Arc<RegistryContact>,
}

/// The outcome of the last call to the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Untried,
    /// Registered, with heartbeats at this interval.
    Registered(Duration),
    /// The registry did not answer. With an interval the lease may still be alive, so the next call is a
    /// heartbeat; without, the service never had a lease.
    Away(Option<Duration>),
    /// The registry answers, and the candidate may not register now.
    Withheld,
}

impl Keeper {
    fn run(mut self) {
        let retry = MAX_PAUSE.min(self.max_interval);
        let mut backoff = Backoff::new(FIRST_PAUSE, retry);
        while !self.stopping.is_closed() {
            let pause = match self.renew_or_register() {
                Ok(Some(interval)) => {
                    self.link = Link::Registered(interval);
                    self.outage.end();
                    self.contact.record_lease();
                    backoff.reset();
                    jittered(interval)
                }
                Ok(None) => {
                    self.link = Link::Withheld;
                    self.outage.end();
                    self.contact.record_absence();
                    jittered(retry)
                }
                Err(error) => {
                    self.mark_away(&error);
                    backoff.pause()
                }
            };
            // Not a sleep: closing the watch ends the pause.
            self.stopping.wait_for(1, pause);
        }
        // On the heartbeat thread: no heartbeat can overtake the deregistration.
        self.deregister();
    }

    /// Renews the lease, or registers when the registry does not know the service. Returns the heartbeat
    /// interval, or `None` when the candidate may not register now.
    fn renew_or_register(&self) -> Result<Option<Duration>, DiscoveryError> {
        let url = self.registry.url();
        if let Link::Registered(interval) | Link::Away(Some(interval)) = self.link {
            match self.registry.heartbeat(&self.name, self.instance_id)? {
                HeartbeatAnswer::Renewed => {
                    if self.link != Link::Registered(interval) {
                        log::info!("the registry at {url} is back");
                    }
                    return Ok(Some(interval));
                }
                HeartbeatAnswer::Unknown => {
                    log::info!("the registry at {url} does not know this service; registering again");
                }
            }
        }
        match self.service.may_register(&|| self.registry.instances(&self.name, CALL_TIMEOUT))? {
            Permission::Granted if !self.stopping.is_closed() => {}
            // The look-up took a while. A service that stops meanwhile must not register any more.
            Permission::Granted | Permission::Withheld => return Ok(None),
        }
        let advised = self.registry.register(&self.service.advertised(), self.instance_id)?;
        log::info!("registered as {} with the registry at {url}", self.name);
        // A registry may ask for more heartbeats than configured, never for fewer.
        Ok(Some(advised.min(self.max_interval).max(MIN_INTERVAL)))
    }

    /// Records that the registry is unreachable, and logs each new reason.
    fn mark_away(&mut self, error: &DiscoveryError) {
        let interval = match self.link {
            Link::Untried | Link::Withheld => None,
            // The lease may outlive a short outage.
            Link::Away(interval) => interval,
            Link::Registered(interval) => Some(interval),
        };
        self.link = Link::Away(interval);
        self.contact.record_absence();
        // A service that stops waits for no registry.
        if self.stopping.is_closed() {
            return;
        }
        match self.outage.record(&error.to_string(), Instant::now()) {
            Some(Level::Info) => log::info!("waiting for a registry: {error}"),
            Some(level) => log::log!(level, "{error}; retrying until the registry answers"),
            None => {}
        }
    }

    fn deregister(&self) {
        // Also after `Away`: the registry may have recorded a registration whose answer was lost.
        if matches!(self.link, Link::Untried | Link::Withheld) {
            return;
        }
        match self.registry.deregister(&self.name, self.instance_id) {
            Ok(()) => log::info!("deregistered from the registry at {}", self.registry.url()),
            // Not a warning: the registry may stop together with the service.
            Err(error) => log::info!("not deregistered: {error}; the lease expires by itself"),
        }
    }
}
