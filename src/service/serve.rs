//! The steps that every service takes at its start: serve routes, derive the address to register, open the
//! database.
//!
//! **Invariant:** a service registers only after it serves.
//!
//! Read next: `service/about.rs`, the routes of every service.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use super::about::{self, About, Profile};
use super::config::{Reachable, ServiceConfig};
use super::metrics::{Gauge, Metrics, UNKNOWN};
use super::process::{ExitError, http_options};
use super::telemetry::{self, HttpMetrics};
use crate::discovery::{Advertised, BaseUrl, Heartbeats};
use crate::es::{DatabasePath, PathError};
use crate::http::{self, Admission, Route, Router, Server};

/// The help text of `tally_http_waiting_requests` on every service.
pub(super) const WAITING: &str = "Requests that wait for news: long polls, and waits for a position.";

/// The router of a service and its running server.
#[derive(Debug)]
pub(super) struct Served<S: 'static> {
    pub(super) router: Arc<Router<S>>,
    pub(super) server: Server,
    /// The number of requests that are being answered now.
    pub(super) in_flight: Gauge,
}

/// Serves `routes`, and the routes that every service has. The index links to `console`, a registry.
pub(super) fn serve<S: Send + Sync + 'static>(
    listener: TcpListener,
    service: &ServiceConfig,
    state: S,
    routes: &'static [Route<S>],
    profile: &'static Profile,
    metrics: Arc<Metrics>,
    console: Option<&BaseUrl>,
) -> Result<Served<S>, ExitError> {
    let options = http_options(service);
    // Before `http::serve` takes the options: the engine and the metrics share the counters.
    telemetry::show_server(&metrics, &options.connections, &options.answers);
    let origins: Vec<String> =
        service.allow_origins.iter().map(|origin| origin.as_str().to_owned()).collect();
    let observer = HttpMetrics::of(&metrics, routes);
    let in_flight = observer.in_flight();
    let common = About::new(profile, metrics, console.map(ToString::to_string));
    let router =
        Router::new(state, routes).with(common, about::ROUTES).with_hint(profile.hint).observed_by(observer);
    let router = Arc::new(router.allow_origins(origins));
    let routed = Arc::clone(&router);
    let admission = admission(service);
    let server = http::serve(listener, options, move |request| {
        // Before the router: a request for a foreign host name (DNS rebinding) reaches no route.
        telemetry::logged(request, || match admission.check(request) {
            Err(problem) => problem.into(),
            Ok(()) => about::shown_to_people(request, routed.handle(request)),
        })
    })?;
    Ok(Served { router, server, in_flight })
}

impl<S> Served<S> {
    /// Logs where `program` serves, and with which registries it registers `entry`.
    pub(super) fn log_start(&self, program: &str, entry: Option<&Advertised>, registries: &[BaseUrl]) {
        let (version, address) = (env!("CARGO_PKG_VERSION"), self.server.local_addr());
        let registries: Vec<_> = registries.iter().map(ToString::to_string).collect();
        let registering = entry.map(|entry| {
            let reachable = Reachable { host: entry.host.clone(), port: entry.port };
            format!(", registering http://{reachable} with {}", registries.join(", "))
        });
        log::info!("{program} {version} serves http://{address}{}", registering.unwrap_or_default());
    }
}

/// Adds the registrations of a service to its metrics.
pub(super) fn show_registrations(metrics: &Metrics, heartbeats: &Heartbeats) {
    for contact in heartbeats.contacts() {
        let registry = contact.registry().to_string();
        // From the configuration, so the set of values is fixed at the start.
        let labels = [("registry", registry.as_str())];
        let shown = Arc::clone(contact);
        let is_registered = move || f64::from(u8::from(shown.is_registered()));
        let help = "1 while the service is registered with the registry, else 0.";
        metrics.computed_gauge("tally_registered_info", help, &labels, is_registered);
        let shown = Arc::clone(contact);
        let last = move || shown.last_heartbeat().map_or(UNKNOWN, |time| time.as_secs_f64());
        let help = "Unix time of the last heartbeat that the registry accepted; absent before the first.";
        metrics.computed_gauge("tally_registry_last_heartbeat_timestamp_seconds", help, &labels, last);
    }
}

/// Returns a figure of the service's state for its metrics; `None` after the service has stopped.
///
/// The router owns the metrics. A metric that owned the router in turn would keep both for ever, and with them
/// the connections to the database.
pub(super) fn figure<S: Send + Sync + 'static, T>(
    router: &Arc<Router<S>>,
    read: impl Fn(&S) -> T + Send + Sync + 'static,
) -> impl Fn() -> Option<T> + Send + Sync + 'static {
    let router = Arc::downgrade(router);
    move || router.upgrade().map(|router| read(router.state()))
}

/// Returns the host names that the service answers to.
fn admission(service: &ServiceConfig) -> Admission {
    let listened = Some(service.listen.host());
    let advertised = service.advertise.as_ref().map(|advertise| advertise.host());
    let own = listened.into_iter().chain(advertised).map(str::to_owned);
    Admission::to(own.chain(service.allow_hosts.iter().cloned()))
}

/// Returns the entry to register. Called after the server runs, so that a client of the
/// entry gets an answer.
pub(super) fn advertised(name: &str, service: &ServiceConfig, server: &Server) -> Advertised {
    let Reachable { host, port } = Reachable::of(server.local_addr(), service.advertise.as_ref());
    // The write side adds the id of its log.
    Advertised { name: name.to_owned(), host, port, metadata: BTreeMap::new() }
}

/// Resolves the path of the database at `db`.
///
/// # Errors
/// A bad value of the command line when no database can exist at `db`; another failure when the system denies
/// access.
pub fn database_at(db: &Path) -> Result<DatabasePath, ExitError> {
    DatabasePath::resolve(db).map_err(|error| match error {
        PathError::NotADatabase(reason) => ExitError::bad_value(reason),
        PathError::Unusable(reason) => ExitError::new(reason),
    })
}

/// Resolves the path of a database that may not exist yet, and makes its folders.
pub(super) fn database_or_new(db: &Path) -> Result<DatabasePath, ExitError> {
    if let Some(folder) = db.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_folder(folder)?;
    }
    database_at(db)
}

pub(super) fn make_folder(folder: &Path) -> Result<(), ExitError> {
    std::fs::create_dir_all(folder)
        .map_err(|error| ExitError::new(format!("cannot make the directory {}: {error}", folder.display())))
}
