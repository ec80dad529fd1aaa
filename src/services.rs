//! The services as the binaries run them: each is started from its configuration, has an address,
//! and is stopped in order.
//!
//! **Invariant:** a service is stopped in the order of its promises. The other services are told
//! first, so that they look elsewhere; then waits are ended and requests in flight finished; and
//! what they need is closed last.
//!
//! Wiring: the only module, besides the binaries, that knows every part.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use crate::account::Account;
use crate::config::{self, Reachable, RegistryConfig, WriteConfig};
use crate::discovery::{Advertised, BaseUrl, Registration};
use crate::es::{Commit, EventLog, Executor, SqliteDatabase};
use crate::http::{self, LongPolls, Route, Router, Server};
use crate::metrics::{self, Buckets};
use crate::process::{StartError, http_options, listen};
use crate::registry::{self, Registry};
use crate::telemetry::{self, HttpMetrics};
use crate::write_side::{self, WriteSide};

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
        let registry = Arc::new(Registry::new(registry::Options {
            ttl: config.ttl,
            heartbeat_interval: Some(config.heartbeat_interval),
            ..Default::default()
        }));
        let metrics = Arc::new(metrics::Registry::default());
        show_registry(&metrics, &registry);
        let server =
            serve(listener, &config.service, Arc::clone(&registry), registry::ROUTES, metrics)?.server;
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

fn show_registry(metrics: &metrics::Registry, registry: &Arc<Registry>) {
    let shown = Arc::clone(registry);
    let index = move || shown.gauges().index as f64;
    metrics.computed_gauge("tally_registry_index", "Rises with each change of who is live.", &[], index);
    let shown = Arc::clone(registry);
    // One number for all names: they come from requests, and labels must not.
    let live = move || shown.gauges().live.values().sum::<usize>() as f64;
    metrics.computed_gauge("tally_registry_live_instances", "Instances whose lease runs.", &[], live);
}

/// A running write service.
#[derive(Debug)]
pub struct WriteService {
    registration: Registration,
    log: Arc<EventLog>,
    served: Served<WriteSide>,
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
        let metrics = Arc::new(metrics::Registry::default());
        let on_commit = commit_metrics(&metrics, &log);
        let bank = Executor::<Account>::start(Arc::clone(&log), on_commit).map_err(failed)?;
        let side = WriteSide::new(bank, Arc::clone(&log), LongPolls::new(LongPolls::DEFAULT_MAX));
        let served = serve(listener, &config.service, side, write_side::ROUTES, metrics)?;
        let registration = register(
            "write",
            &config.service,
            &config.registries,
            &served.server,
            config.heartbeat_interval,
        )?;
        Ok(Self { registration, log, served })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.served.server.local_addr()
    }

    /// Stops it: commands that were taken are finished and answered.
    pub fn stop(self) {
        self.registration.stop();
        self.log.head().close();
        self.served.server.stop();
        self.served.router.state().close();
    }
}

/// What is counted at each commit, and the head of the log.
fn commit_metrics(metrics: &metrics::Registry, log: &Arc<EventLog>) -> impl Fn(&Commit) + Send + 'static {
    let shown = Arc::clone(log);
    let head = move || shown.head().value() as f64;
    metrics.computed_gauge("tally_log_head_position", "Position of the last committed event.", &[], head);
    let events = metrics.counter("tally_log_appended_events_total", "Events made durable.", &[]);
    let help = "Commands answered with one commit; their number is the number of commits.";
    let commands = metrics.histogram("tally_commit_commands", help, &[], &Buckets::SIZE);
    let help = "Time to make one commit durable.";
    let sync = metrics.histogram("tally_commit_sync_duration_seconds", help, &[], &Buckets::LATENCY);
    move |commit| {
        events.add(commit.events);
        commands.observe(commit.commands as u64);
        sync.observe_duration(commit.sync);
    }
}

/// A service's routes, and the server that answers with them.
#[derive(Debug)]
struct Served<S: 'static> {
    router: Arc<Router<S>>,
    server: Server,
}

/// Serves those routes, and those that every service has.
fn serve<S: Send + Sync + 'static>(
    listener: TcpListener,
    service: &config::Service,
    state: S,
    routes: &'static [Route<S>],
    metrics: Arc<metrics::Registry>,
) -> Result<Served<S>, StartError> {
    let options = http_options(service);
    telemetry::show_server(&metrics, &options.connections);
    let router = Arc::new(Router::new(state, routes).observed_by(HttpMetrics::of(&metrics, routes)));
    let (own, common) = (Arc::clone(&router), telemetry::router(metrics));
    let server = http::serve(listener, options, move |request| {
        if common.knows(request.path()) { common.handle(request) } else { own.handle(request) }
    })?;
    Ok(Served { router, server })
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
