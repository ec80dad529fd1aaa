//! The read service: projector, read models, queries; from start to stop.
//!
//! **Invariant:** the database is opened before the address is bound: a predecessor that still has the
//! database may listen on the same address.
//!
//! Read next: `read_side/mod.rs`.

use std::net::SocketAddr;
use std::sync::Arc;

use super::about;
use super::config::{ReadConfig, ReadTask};
use super::file_watch::FileWatch;
use super::metrics::Metrics;
use super::process::{ExitError, listen};
use super::serve::{Served, WAITING, advertised, database_or_new, figure, serve};
use crate::discovery::Heartbeats;
use crate::es::{ProjectionState, ProjectionStatus};
use crate::http::Router;
use crate::read_side::{self, ReadSide};

/// A running read service.
#[derive(Debug)]
pub struct ReadService {
    heartbeats: Heartbeats,
    served: Served<ReadSide>,
    _file_watch: FileWatch,
}

impl ReadService {
    /// Starts the service, which serves before the function returns. With [`ReadTask::RebuildThenServe`] a
    /// rebuild runs meanwhile, beside the live rows.
    ///
    /// # Errors
    /// When the database cannot be opened, the address cannot be bound, or the system cannot start a thread.
    pub fn start(config: &ReadConfig) -> Result<Self, ExitError> {
        let failed = |error: read_side::StartError| ExitError::new(error.to_string());
        // Waits until a predecessor has closed the database, and with it released the address.
        let projector = ReadSide::open(&database_or_new(&config.db)?).map_err(failed)?;
        let listener = listen(&config.service.listen)?;
        let side = ReadSide::start(projector, config.side.clone()).map_err(failed)?;
        match config.task {
            ReadTask::Serve | ReadTask::Verify => {}
            ReadTask::RebuildThenServe => side.rebuild_all(),
        }
        let metrics = Arc::new(Metrics::default());
        let served = serve(
            listener,
            &config.service,
            side,
            read_side::ROUTES,
            &about::READ,
            Arc::clone(&metrics),
            config.side.registries.first(),
        )?;
        show_projections(&metrics, &served.router);
        // Registered last: a client that finds the service gets an answer.
        let address = advertised("read", &config.service, &served.server);
        let heartbeats =
            Heartbeats::start(config.side.registries.clone(), address, config.heartbeat_interval)?;
        let watched = Arc::clone(&served.router);
        let file_watch = FileWatch::start(move || {
            let side = watched.state();
            // Between two probes too: a ready service stays ready when its write side leaves.
            drop(side.readiness());
            side.check_file()
        })?;
        Ok(Self { heartbeats, served, _file_watch: file_watch })
    }

    /// Returns the listening address.
    pub fn address(&self) -> SocketAddr {
        self.served.server.local_addr()
    }

    /// Stops the service: waits for a position end, requests in flight are answered.
    pub fn stop(self) {
        // Waits first: a waiting query would hold up the stop of the server.
        self.served.router.state().end_waits();
        self.served.server.stop();
        self.heartbeats.stop();
        // The database last: requests in flight read rows until the server has stopped.
        self.served.router.state().close();
    }
}

/// Adds the progress of each projection, and the number of waiting requests, to the metrics.
fn show_projections(metrics: &Metrics, router: &Arc<Router<ReadSide>>) {
    let waiting = figure(router, |side| side.waiting() as f64);
    metrics.computed_gauge("tally_http_waiting_requests", WAITING, &[], move || waiting().unwrap_or(0.0));
    let paused = figure(router, |side| f64::from(u8::from(side.is_paused())));
    let help = "1 while following is paused, else 0.";
    metrics.computed_gauge("tally_following_paused_info", help, &[], move || paused().unwrap_or(f64::NAN));
    for (index, status) in router.state().status().iter().enumerate() {
        let labels = [("projection", status.name)];
        let gauge = |name, help, value: fn(&ProjectionStatus) -> f64| {
            let value = figure(router, move |side| side.status().get(index).map(value));
            metrics.computed_gauge(name, help, &labels, move || value().flatten().unwrap_or(f64::NAN));
        };
        gauge("tally_projection_position", "Last position that the live rows contain.", |status| {
            status.position as f64
        });
        gauge(
            "tally_projection_head_position",
            "Position of the last event of the log, as known here.",
            // NaN is the value of the text format for an unknown figure.
            |status| status.head.map_or(f64::NAN, |head| head as f64),
        );
        gauge("tally_projection_lag_events", "Events in the log that the live rows lack.", |status| {
            status.lag().map_or(f64::NAN, |lag| lag as f64)
        });
        gauge("tally_projection_lag_seconds", "For how long the live rows have been behind.", |status| {
            status.behind_for.as_secs_f64()
        });
        gauge("tally_projection_stalled_info", "1 while the projection cannot go on, else 0.", |status| {
            f64::from(u8::from(status.state == ProjectionState::Stalled))
        });
    }
}
