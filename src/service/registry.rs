//! The registry service, from start to stop.
//!
//! **Invariant:** the labels of a metric come from a fixed list, never from a registered name.
//!
//! Read next: `registry/service.rs`.

use std::net::SocketAddr;
use std::sync::Arc;

use super::about;
use super::config::RegistryConfig;
use super::metrics::Metrics;
use super::process::{ExitError, listen};
use super::serve::{WAITING, serve};
use crate::http::Server;
use crate::registry::{self, Gauges, Registry};

/// A running service registry.
#[derive(Debug)]
pub struct RegistryService {
    registry: Arc<Registry>,
    server: Server,
}

impl RegistryService {
    /// Starts the service, which serves before the function returns.
    ///
    /// # Errors
    /// When the address cannot be bound, or the system cannot start a thread.
    pub fn start(config: &RegistryConfig) -> Result<Self, ExitError> {
        let listener = listen(&config.service.listen)?;
        let registry = Arc::new(Registry::new(config.registry.clone()));
        let metrics = Arc::new(Metrics::default());
        // The metrics may own the registry here: the registry does not own the metrics in turn.
        show_registry(&metrics, &registry);
        let server = serve(
            listener,
            &config.service,
            Arc::clone(&registry),
            registry::ROUTES,
            &about::REGISTRY,
            metrics,
            None,
        )?
        .server;
        Ok(Self { registry, server })
    }

    /// Returns the listening address.
    pub fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Stops the service.
    pub fn stop(self) {
        // Before the server: its stop waits for requests in flight, and long polls end only now.
        self.registry.close();
        self.server.stop();
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
