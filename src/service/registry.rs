//! The registry service, from start to stop.
//!
//! **Invariant:** the labels of a metric come from a fixed list, never from a registered name.
//!
//! Read next: `registry/service.rs`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use super::about;
use super::config::{Config, Reachable, RegistryConfig};
use super::metrics::Metrics;
use super::process::{ExitError, listen};
use super::serve::{Served, WAITING, serve};
use crate::registry::{self, Gauges, Registry};

/// A running service registry.
#[derive(Debug)]
pub struct RegistryService {
    registry: Arc<Registry>,
    served: Served<Arc<Registry>>,
    journal: JoinHandle<()>,
}

impl RegistryService {
    /// Starts the service, which serves before the function returns.
    ///
    /// # Errors
    /// When the address cannot be bound, or the system cannot start a thread.
    pub fn start(config: &RegistryConfig) -> Result<Self, ExitError> {
        let listener = listen(&config.service.listen)?;
        let mut options = config.registry.clone();
        let advertised = config.service.advertise.as_ref();
        // Without --advertise, the request for the targets says how it reached the registry.
        options.advertised = match advertised {
            None => None,
            Some(_) => Some(Reachable::of(listener.local_addr()?, advertised).to_string()),
        };
        let registry = Arc::new(Registry::new(options));
        let metrics = Arc::new(Metrics::default());
        // The metrics may own the registry here: the registry does not own the metrics in turn.
        show_registry(&metrics, &registry);
        let served = serve(
            listener,
            &config.service,
            Arc::clone(&registry),
            registry::ROUTES,
            &about::REGISTRY,
            metrics,
            None,
        )?;
        served.log_start(RegistryConfig::PROGRAM, None, &[]);
        let logged = Arc::clone(&registry);
        let journal = Builder::new().name("registry-log".into());
        let journal = journal.spawn(move || registry::log_changes(&logged))?;
        Ok(Self { registry, served, journal })
    }

    /// Returns the listening address.
    pub fn address(&self) -> SocketAddr {
        self.served.server.local_addr()
    }

    /// Stops the service.
    pub fn stop(self) {
        // Counted first: long polls are requests in flight as well.
        let in_flight = self.served.in_flight.value();
        // Before the server: its stop waits for requests in flight, and long polls end only now.
        self.registry.close();
        self.served.server.stop();
        if self.journal.join().is_err() {
            log::error!("the thread that logs registrations panicked");
        }
        // After the last request, so that no departure is missing in the log.
        registry::log_rest(&self.registry);
        let live: usize = self.registry.gauges().live.values().sum();
        log::info!(
            "{} stopped: requests drained: {in_flight}, {live} instances live",
            RegistryConfig::PROGRAM
        );
    }
}

fn show_registry(metrics: &Metrics, registry: &Arc<Registry>) {
    let gauge = |name, help, value: fn(&Gauges) -> f64| {
        let registry = Arc::clone(registry);
        metrics.computed_gauge(name, help, &[], move || value(&registry.gauges()));
    };
    let help = "Begins at the clock in microseconds, and rises with each registration, removal and expiry.";
    gauge("tally_registry_index", help, |gauges| gauges.index as f64);
    let help = "Bytes of all live instances as they are answered.";
    gauge("tally_registry_instance_bytes", help, |gauges| gauges.bytes as f64);
    gauge("tally_http_waiting_requests", WAITING, |gauges| gauges.waiting as f64);
    let (expired, help) = (Arc::clone(registry), "Leases that ended without a heartbeat.");
    let count = move || expired.gauges().expired as f64;
    metrics.computed_counter("tally_registry_expirations_total", help, &[], count);
    for label in [WRITE, READ, OTHER] {
        let shown = Arc::clone(registry);
        let live = move || live_instances(&shown, label) as f64;
        let help = "Instances whose lease runs, by service.";
        metrics.computed_gauge("tally_registry_live_instances", help, &[("service", label)], live);
    }
}

/// The values of the label `service`: the services of this system, and one for all others. A name from a
/// request must not become a label.
const WRITE: &str = "write";
const READ: &str = "read";
const OTHER: &str = "other";

fn live_instances(registry: &Registry, label: &str) -> usize {
    let belongs = |name: &str| if label == OTHER { ![WRITE, READ].contains(&name) } else { name == label };
    let live = registry.gauges().live;
    live.iter().filter(|(name, _)| belongs(name)).map(|(_, instances)| instances).sum()
}
