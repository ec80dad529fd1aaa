//! The services as the binaries run them: each is started from its configuration, has an address,
//! and is stopped in order.
//!
//! **Invariant:** a service is stopped in the order of its promises. The other services are told
//! first, so that they look elsewhere; then waits are ended and requests in flight finished; and
//! what they need is closed last.
//!
//! Wiring: the only module, besides the binaries, that knows every part.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::account::Account;
use crate::config::{self, Reachable, ReadConfig, ReadTask, RegistryConfig, WriteConfig};
use crate::discovery::{Advertised, BaseUrl, Registration};
use crate::es::{EventLog, Executor, ProjectionStatus, SqliteDatabase};
use crate::http::{LongPolls, Router, Server, serve};
use crate::process::{StartError, http_options, listen};
use crate::read_side::{self, Patience, ReadSide};
use crate::registry::{self, Registry};
use crate::write_side::{ROUTES, WriteSide};

/// A running service registry.
#[derive(Debug)]
pub struct RegistryService {
    registry: Arc<Registry>,
    server: Server,
}

impl RegistryService {
    /// Starts it; it serves when this returns.
    ///
    /// # Errors
    /// When it cannot listen, or the system has no thread for it.
    pub fn start(config: &RegistryConfig) -> Result<Self, StartError> {
        let listener = listen(&config.service.listen)?;
        let registry = Arc::new(Registry::new(registry::Options { ttl: config.ttl, ..Default::default() }));
        let router = registry::router(Arc::clone(&registry));
        let server = serve(listener, http_options(&config.service), move |request| router.handle(request))?;
        Ok(Self { registry, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Stops it.
    pub fn stop(self) {
        self.registry.close();
        self.server.stop();
    }
}

/// A running write service.
#[derive(Debug)]
pub struct WriteService {
    registration: Registration,
    log: Arc<EventLog>,
    router: Arc<Router<WriteSide>>,
    server: Server,
}

impl WriteService {
    /// Starts it; it serves when this returns.
    ///
    /// # Errors
    /// When its database cannot be opened, it cannot listen, or the system has no thread for it.
    pub fn start(config: &WriteConfig) -> Result<Self, StartError> {
        let listener = listen(&config.service.listen)?;
        let failed =
            |error| StartError::new(format!("cannot open the event store {}: {error}", config.db.display()));
        let log = EventLog::open(SqliteDatabase::open(&config.db).map_err(failed)?).map_err(failed)?;
        let bank = Executor::<Account>::start(Arc::clone(&log), |_| ()).map_err(failed)?;
        let side = WriteSide::new(bank, Arc::clone(&log), LongPolls::new(LongPolls::DEFAULT_MAX));
        let router = Arc::new(Router::new(side, ROUTES));
        let serving = Arc::clone(&router);
        let server = serve(listener, http_options(&config.service), move |request| serving.handle(request))?;
        let registration =
            register("write", &config.service, &config.registries, &server, config.heartbeat_interval)?;
        Ok(Self { registration, log, router, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Stops it: commands that were taken are finished and answered.
    pub fn stop(self) {
        let Self { registration, log, router, server } = self;
        registration.stop();
        log.head().close();
        server.stop();
        router.state().close();
    }
}

/// A running read service.
#[derive(Debug)]
pub struct ReadService {
    registration: Registration,
    router: Arc<Router<ReadSide>>,
    server: Server,
}

impl ReadService {
    /// Starts it; it serves when this returns. With [`ReadTask::RebuildThenServe`] it rebuilds its
    /// read models first, for as long as `progress` has patience.
    ///
    /// # Errors
    /// When its database cannot be opened, it cannot listen, or the system has no thread for it.
    pub fn start(
        config: &ReadConfig,
        progress: impl FnMut(&[ProjectionStatus]) -> Patience,
    ) -> Result<Self, StartError> {
        let listener = listen(&config.service.listen)?;
        let options = read_side::Options {
            db: config.db.clone(),
            registries: config.registries.clone(),
            poll_interval: config.poll_interval,
            max_waits: LongPolls::DEFAULT_MAX,
        };
        let side = ReadSide::start(options).map_err(|error| StartError::new(error.to_string()))?;
        match config.task {
            ReadTask::Serve | ReadTask::Verify => {}
            ReadTask::RebuildThenServe => side.rebuild_all(progress),
        }
        let router = Arc::new(Router::new(side, read_side::ROUTES));
        let serving = Arc::clone(&router);
        let server = serve(listener, http_options(&config.service), move |request| serving.handle(request))?;
        let registration =
            register("read", &config.service, &config.registries, &server, config.heartbeat_interval)?;
        Ok(Self { registration, router, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Stops it: waits for a position end, requests in flight are answered.
    pub fn stop(self) {
        let Self { registration, router, server } = self;
        registration.stop();
        router.state().close();
        server.stop();
    }
}

/// Registers a service that serves already: whoever finds it is answered.
fn register(
    name: &str,
    service: &config::Service,
    registries: &[BaseUrl],
    server: &Server,
    heartbeat_interval: Duration,
) -> Result<Registration, StartError> {
    let Reachable { host, port } = Reachable::of(server.local_addr(), service.advertise.as_ref());
    let advertised = Advertised { name: name.to_owned(), host, port, metadata: BTreeMap::new() };
    Ok(Registration::start(registries.to_vec(), advertised, heartbeat_interval)?)
}
