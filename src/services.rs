//! The services as the binaries run them: each is started from its configuration, has an address,
//! and is stopped in order.
//!
//! **Invariant:** a service is stopped in the order of its promises. It takes no more work first: waits end,
//! and requests in flight are finished. Then it deregisters, so that clients look elsewhere. What requests
//! need is closed last.
//!
//! Wiring: the only module, besides the binaries, that knows every part.

mod file_watch;
mod read;
mod registry;
mod upkeep;
mod write;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use crate::about::{self, Profile};
use crate::config::{self, AllConfig, Config, Reachable, ReadConfig, RegistryConfig, WriteConfig};
use crate::discovery::{Advertised, BaseUrl};
use crate::es::{DatabasePath, PathError};
use crate::http::{self, Admission, Route, Router, Server};
use crate::metrics;
use crate::process::{StartError, announce, http_options};
use crate::telemetry::{self, HttpMetrics};

pub use read::ReadService;
pub use registry::RegistryService;
pub use upkeep::{back_up_log, verify_log};
pub use write::WriteService;

/// What `tally_http_waiting_requests` is, on every service.
const WAITING: &str = "Requests that wait for news: long polls, and waits for a position.";

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
    profile: &'static Profile,
    metrics: Arc<metrics::Registry>,
) -> Result<Served<S>, StartError> {
    let options = http_options(service);
    telemetry::show_server(&metrics, &options.connections, &options.answers);
    let origins: Vec<String> =
        service.allow_origins.iter().map(|origin| origin.as_str().to_owned()).collect();
    let observer = HttpMetrics::of(&metrics, routes);
    let router = Router::new(state, routes).observed_by(observer).allow_origins(origins.clone());
    let router = Arc::new(router);
    let (own, common) = (Arc::clone(&router), about::router(profile, metrics).allow_origins(origins));
    let admission = admission(service);
    let server = http::serve(listener, options, move |request| {
        telemetry::logged(request, || match admission.check(request) {
            Err(problem) => problem.into(),
            Ok(()) if common.knows(request.path()) => common.handle(request),
            Ok(()) => own.handle(request),
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
fn advertised(name: &str, service: &config::Service, server: &Server) -> Advertised {
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
fn database_or_new(db: &Path) -> Result<DatabasePath, StartError> {
    if let Some(folder) = db.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_folder(folder)?;
    }
    database_at(db)
}

fn make_folder(folder: &Path) -> Result<(), StartError> {
    std::fs::create_dir_all(folder)
        .map_err(|error| StartError::new(format!("cannot make the directory {}: {error}", folder.display())))
}

/// All three services in one process. They still speak to each other over HTTP and through the
/// registry alone.
#[derive(Debug)]
pub struct AllServices {
    read: ReadService,
    write: WriteService,
    registry: RegistryService,
}

impl AllServices {
    /// Starts them; they serve when this returns.
    ///
    /// # Errors
    /// When the data directory cannot be made, or one of them cannot start.
    pub fn start(mut config: AllConfig) -> Result<Self, StartError> {
        make_folder(&config.data_dir)?;
        let registry = RegistryService::start(&config.registry)?;
        let url = base_url(registry.address())?;
        config.write.registries = vec![url.clone()];
        config.read.registries = vec![url];
        let write = WriteService::start(&config.write)?;
        let read = ReadService::start(&config.read)?;
        Ok(Self { read, write, registry })
    }

    /// Says on stdout where each of them listens.
    pub fn announce(&self) {
        announce(RegistryConfig::PROGRAM, self.registry.address());
        announce(WriteConfig::PROGRAM, self.write.address());
        announce(ReadConfig::PROGRAM, self.read.address());
    }

    /// Where the write side and the read side listen.
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.write.address(), self.read.address())
    }

    /// Stops them, who depends on another before the other.
    pub fn stop(self) {
        self.read.stop();
        self.write.stop();
        self.registry.stop();
    }
}

/// The URL under which this process reaches what listens on `address`.
fn base_url(address: SocketAddr) -> Result<BaseUrl, StartError> {
    let url = format!("http://{}", Reachable::of(address, None));
    url.parse().map_err(|_| StartError::new(format!("{url} is no address of a registry")))
}
