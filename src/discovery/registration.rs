//! Keeps a service registered, with every registry it was given, for as long as it runs.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use uuid::Uuid;

use super::client::{CALL_TIMEOUT, Endpoint, Lease};
use super::{Backoff, BaseUrl, DiscoveryError, Instance, jittered};
use crate::watch::Watch;

/// The first pause after a registry did not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two tries: a registry that comes late or comes back is filled within a
/// second, at the cost of a refused connection now and then.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The shortest interval between heartbeats, whatever a registry wishes.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// What a service says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// The service: 1 to 63 of a-z, 0-9 and `-`.
    pub name: String,
    /// The host under which its clients reach it.
    pub host: String,
    /// The port under which its clients reach it.
    pub port: u16,
    /// Whatever else they want to know, within the registry's limits.
    pub metadata: BTreeMap<String, String>,
}

/// A service that asks to be registered.
pub trait Candidate: Send + Sync {
    /// Returns what it says about itself now. The name is always the same.
    fn advertised(&self) -> Advertised;

    /// Decides whether it may register now; asked before each registration. `instances` looks up the
    /// live instances of its name, itself among them where it is registered.
    ///
    /// # Errors
    /// That of `instances`.
    fn may_register(
        &self,
        instances: &dyn Fn() -> Result<Vec<Instance>, DiscoveryError>,
    ) -> Result<Permission, DiscoveryError>;
}

/// Whether a service may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// It may.
    Granted,
    /// Not now. It is asked again every second at the latest, and says itself what is wrong.
    Withheld,
}

impl Candidate for Advertised {
    fn advertised(&self) -> Advertised {
        self.clone()
    }

    fn may_register(
        &self,
        _: &dyn Fn() -> Result<Vec<Instance>, DiscoveryError>,
    ) -> Result<Permission, DiscoveryError> {
        Ok(Permission::Granted)
    }
}

/// A service that is being registered: one thread for each registry, so that one that is away or
/// slow does not delay the heartbeats to the others.
///
/// Dropping it is [`Registration::stop`].
#[derive(Debug)]
pub struct Registration {
    instance_id: Uuid,
    /// Closed to stop: the pauses between heartbeats are waits for that.
    stopping: Arc<Watch>,
    threads: Vec<JoinHandle<()>>,
}

impl Registration {
    /// Registers with every registry, now or as soon as it answers, and sends heartbeats at
    /// `interval`, or as often as a registry wishes when that is more often. Does not block.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        urls: Vec<BaseUrl>,
        service: impl Candidate + 'static,
        interval: Duration,
    ) -> io::Result<Self> {
        let instance_id = Uuid::now_v7();
        let name = service.advertised().name;
        let service: Arc<dyn Candidate> = Arc::new(service);
        let mut registration =
            Self { instance_id, stopping: Arc::new(Watch::at(0)), threads: Vec::with_capacity(urls.len()) };
        for url in urls {
            let keeper = Keeper {
                registry: Endpoint::new(url),
                name: name.clone(),
                service: Arc::clone(&service),
                instance_id,
                wished_interval: interval,
                stopping: Arc::clone(&registration.stopping),
                link: Link::Untried,
            };
            let thread = thread::Builder::new().name("heartbeat".into()).spawn(move || keeper.run())?;
            registration.threads.push(thread);
        }
        Ok(registration)
    }

    /// The id under which the service is registered, the same with every registry.
    pub fn instance_id(&self) -> Uuid {
        self.instance_id
    }

    /// Deregisters everywhere and returns when that is done, within 9 s, each step with its deadline:
    /// what is in flight, which is a call and one repetition of it or a look before the first
    /// registration (4 s for its answer, 4 s for those of other instances), and a farewell.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.stopping.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a heartbeat thread had panicked");
            }
        }
    }
}

/// The lease with one registry.
struct Keeper {
    registry: Endpoint,
    name: String,
    service: Arc<dyn Candidate>,
    instance_id: Uuid,
    wished_interval: Duration,
    stopping: Arc<Watch>,
    link: Link,
}

/// What the last call to the registry said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Untried,
    /// Registered, with heartbeats at that interval.
    Registered(Duration),
    /// It did not answer. It may still have the lease, so the next call is a heartbeat, unless
    /// there never was one.
    Away(Option<Duration>),
    /// It answers, and the service may not register now.
    Withheld,
}

impl Keeper {
    fn run(mut self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE.min(self.wished_interval));
        while !self.stopping.is_closed() {
            let pause = match self.keep() {
                Ok(Some(interval)) => {
                    self.link = Link::Registered(interval);
                    backoff.reset();
                    jittered(interval)
                }
                Ok(None) => {
                    self.link = Link::Withheld;
                    jittered(LONGEST_PAUSE.min(self.wished_interval))
                }
                Err(error) => {
                    self.lose(&error);
                    backoff.pause()
                }
            };
            self.stopping.wait_for(1, pause);
        }
        self.leave();
    }

    /// Renews the lease, or makes a new one where there is none. Returns the interval of heartbeats, or
    /// nothing when the service may not register now.
    fn keep(&self) -> Result<Option<Duration>, DiscoveryError> {
        let url = self.registry.url();
        if let Link::Registered(interval) | Link::Away(Some(interval)) = self.link {
            match self.registry.heartbeat(&self.name, self.instance_id)? {
                Lease::Renewed => {
                    if self.link != Link::Registered(interval) {
                        log::info!("the registry at {url} is back");
                    }
                    return Ok(Some(interval));
                }
                Lease::Unknown => log::info!("the registry at {url} no longer knows this service"),
            }
        }
        match self.service.may_register(&|| self.registry.instances(&self.name, CALL_TIMEOUT))? {
            Permission::Granted if !self.stopping.is_closed() => {}
            Permission::Granted | Permission::Withheld => return Ok(None),
        }
        let interval = self.registry.register(&self.service.advertised(), self.instance_id)?;
        log::info!("registered as {} with the registry at {url}", self.name);
        Ok(Some(interval.min(self.wished_interval).max(SHORTEST_INTERVAL)))
    }

    /// Notes that the registry is away, and says so once, not at each try.
    fn lose(&mut self, error: &DiscoveryError) {
        self.link = match self.link {
            Link::Away(interval) => Link::Away(interval),
            Link::Untried | Link::Withheld => self.away(None, error),
            Link::Registered(interval) => self.away(Some(interval), error),
        };
    }

    fn away(&self, interval: Option<Duration>, error: &DiscoveryError) -> Link {
        log::warn!("{error}; trying again until it does");
        Link::Away(interval)
    }

    /// Deregisters, also where no answer ever came: a registration may have arrived without one.
    fn leave(&self) {
        if matches!(self.link, Link::Untried | Link::Withheld) {
            return;
        }
        if let Err(error) = self.registry.deregister(&self.name, self.instance_id) {
            log::debug!("{error}; the lease runs out by itself");
        }
    }
}
