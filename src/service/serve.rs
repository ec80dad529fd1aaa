//! What every service does to begin: routes on a listener, the address that it advertises, its database.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use super::about::{self, About, Profile};
use super::config::{self, Reachable};
use super::metrics;
use super::process::{StartError, http_options};
use super::telemetry::{self, HttpMetrics};
use crate::discovery::Advertised;
use crate::es::{DatabasePath, PathError};
use crate::http::{self, Admission, Route, Router, Server};

/// What `tally_http_waiting_requests` is, on every service.
pub(super) const WAITING: &str = "Requests that wait for news: long polls, and waits for a position.";

/// A service's routes, and the server that answers with them.
#[derive(Debug)]
pub(super) struct Served<S: 'static> {
    pub(super) router: Arc<Router<S>>,
    pub(super) server: Server,
}

/// Serves those routes, and those that every service has.
pub(super) fn serve<S: Send + Sync + 'static>(
    listener: TcpListener,
    service: &config::Service,
    state: S,
    routes: &'static [Route<S>],
    profile: &'static Profile,
    metrics: Arc<metrics::Registry>,
) -> Result<Served<S>, StartError> {
    let options = http_options(service);
    telemetry::show_server(&metrics, &options.connections, &options.answers);
    let origins: Vec<String> =
        service.allow_origins.iter().map(|origin| origin.as_str().to_owned()).collect();
    let observer = HttpMetrics::of(&metrics, routes);
    let common = About::new(profile, metrics);
    let router = Router::new(state, routes).with(common, about::ROUTES).observed_by(observer);
    let router = Arc::new(router.allow_origins(origins));
    let routed = Arc::clone(&router);
    let admission = admission(service);
    let server = http::serve(listener, options, move |request| {
        telemetry::logged(request, || match admission.check(request) {
            Err(problem) => problem.into(),
            Ok(()) => routed.handle(request),
        })
    })?;
    Ok(Served { router, server })
}

/// The names that the service answers to: those of its flags.
fn admission(service: &config::Service) -> Admission {
    let listened = Some(service.listen.host());
    let advertised = service.advertise.as_ref().map(|advertise| advertise.host());
    let own = listened.into_iter().chain(advertised).map(str::to_owned);
    Admission::to(own.chain(service.allow_hosts.iter().cloned()))
}

/// Returns where other services reach a service that serves already: what finds it is answered.
pub(super) fn advertised(name: &str, service: &config::Service, server: &Server) -> Advertised {
    let Reachable { host, port } = Reachable::of(server.local_addr(), service.advertise.as_ref());
    Advertised { name: name.to_owned(), host, port, metadata: BTreeMap::new() }
}

/// The resolved path of the database at `db`.
///
/// # Errors
/// A bad value of the command line where no database can be at that path; another failure where the system
/// refuses to look.
pub fn database_at(db: &Path) -> Result<DatabasePath, StartError> {
    DatabasePath::resolve(db).map_err(|error| match error {
        PathError::NotADatabase(what) => StartError::bad_value(what),
        PathError::Unusable(what) => StartError::new(what),
    })
}

/// The same for a service that makes its database, and the folders of it, where they are missing.
pub(super) fn database_or_new(db: &Path) -> Result<DatabasePath, StartError> {
    if let Some(folder) = db.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_folder(folder)?;
    }
    database_at(db)
}

pub(super) fn make_folder(folder: &Path) -> Result<(), StartError> {
    std::fs::create_dir_all(folder)
        .map_err(|error| StartError::new(format!("cannot make the directory {}: {error}", folder.display())))
}
