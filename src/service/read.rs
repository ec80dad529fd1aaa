//! The read service: projector, read models, queries; from start to stop.
//!
//! **Invariant:** the database is opened before the address is bound: a predecessor that still has the
//! database may listen on the same address.
//!
//! Read next: `read_side/mod.rs`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::about;
use super::config::{Config, ReadConfig, ReadTask};
use super::file_watch::FileWatch;
use super::metrics::{Metrics, UNKNOWN};
use super::process::{ExitError, listen};
use super::serve::{Served, WAITING, advertised, database_or_new, figure, serve, show_registrations};
use crate::discovery::Heartbeats;
use crate::es::{self, ProjectionState, ProjectionStatus, Projector};
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
        let db = database_or_new(&config.db)?;
        let projector = ReadSide::open(&db).map_err(failed)?;
        let followed = followed_log(&projector);
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
            read_side::routes(),
            &about::READ,
            Arc::clone(&metrics),
            config.side.registries.first(),
        )?;
        show_read_side(&metrics, &served.router);
        show_files(&metrics, &db);
        // Registered last: a client that finds the service gets an answer.
        let address = advertised("read", &config.service, &served.server);
        served.log_start(ReadConfig::PROGRAM, Some(&address), &config.side.registries);
        log::info!("read models are {}, {followed}: {}", db.display(), progress(served.router.state()));
        let heartbeats =
            Heartbeats::start(config.side.registries.clone(), address, config.heartbeat_interval)?;
        show_registrations(&metrics, &heartbeats);
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
        // Counted first: waits for a position are requests in flight as well.
        let in_flight = self.served.in_flight.value();
        // Waits first: a waiting query would hold up the stop of the server.
        self.served.router.state().end_waits();
        self.served.server.stop();
        self.heartbeats.stop();
        // The database last: requests in flight read rows until the server has stopped.
        let side = self.served.router.state();
        let progress = progress(side);
        side.close();
        log::info!("{} stopped: requests drained: {in_flight}, {progress}", ReadConfig::PROGRAM);
    }
}

/// Returns the position of each read model, as words for a log line.
fn progress(side: &ReadSide) -> String {
    let models = side.status();
    let models = models.iter().map(|status| format!("{} at {}", status.name, status.position));
    models.collect::<Vec<_>>().join(", ")
}

/// Returns the log that the read models follow, as words for a log line.
fn followed_log(projector: &Projector) -> String {
    // The first query reports an unreadable database.
    let id = projector.file().reader().ok().and_then(|reader| es::followed_log(&reader).ok().flatten());
    id.map_or_else(|| "of no log yet".to_owned(), |id| format!("of log {id}"))
}

/// Adds the sizes of the read database to the metrics.
fn show_files(metrics: &Metrics, db: &Path) {
    // SQLite's name of the write-ahead log of a database.
    let mut wal = db.as_os_str().to_owned();
    wal.push("-wal");
    let database = ("tally_read_database_bytes", "Size of the database file of the read models.", db.into());
    let wal = ("tally_read_wal_bytes", "Size of the write-ahead log of that database.", PathBuf::from(wal));
    for (name, help, path) in [database, wal] {
        // An absent file has no size; the last connection removes the write-ahead log.
        let size = move || std::fs::metadata(&path).map_or(UNKNOWN, |file| file.len() as f64);
        metrics.computed_gauge(name, help, &[], size);
    }
}

/// Adds the contact with the write side, the waiting requests and each projection to the metrics.
fn show_read_side(metrics: &Metrics, router: &Arc<Router<ReadSide>>) {
    let gauge = |name, help, value: fn(&ReadSide) -> Option<f64>| {
        let value = figure(router, value);
        metrics.computed_gauge(name, help, &[], move || value().flatten().unwrap_or(UNKNOWN));
    };
    gauge("tally_http_waiting_requests", WAITING, |side| Some(side.waiting() as f64));
    gauge("tally_following_paused_info", "1 while following is paused, else 0.", |side| {
        Some(indicator(side.is_paused()))
    });
    gauge("tally_write_side_reachable_info", "1 while the write side answers, else 0.", |side| {
        Some(indicator(side.is_write_side_reachable()))
    });
    gauge(
        "tally_write_side_last_contact_timestamp_seconds",
        "Unix time of the write side's last answer; absent before the first.",
        // A clock before 1970 gives no time.
        |side| Some(side.last_contact()?.duration_since(UNIX_EPOCH).ok()?.as_secs_f64()),
    );
    for (index, status) in router.state().status().iter().enumerate() {
        show_projection(metrics, router, index, status.name);
    }
}

fn show_projection(metrics: &Metrics, router: &Arc<Router<ReadSide>>, index: usize, name: &str) {
    let labels = [("projection", name)];
    let gauge = |name, help, value: fn(&ProjectionStatus) -> Option<f64>| {
        let value = figure(router, move |side| side.status().get(index).and_then(value));
        metrics.computed_gauge(name, help, &labels, move || value().flatten().unwrap_or(UNKNOWN));
    };
    gauge("tally_projection_position", "Last position that the live rows contain.", |status| {
        Some(status.position as f64)
    });
    gauge(
        "tally_projection_head_position",
        "Position of the last event of the log; absent while it is not known here.",
        |status| status.head.map(|head| head as f64),
    );
    gauge(
        "tally_projection_lag_events",
        "Events in the log that the live rows lack; absent while the head is not known.",
        |status| status.lag().map(|lag| lag as f64),
    );
    gauge(
        "tally_projection_lag_seconds",
        "For how long the live rows have been behind; grows while the head is not known.",
        |status| Some(status.behind_for.as_secs_f64()),
    );
    gauge("tally_projection_stalled_info", "1 while the projection cannot go on, else 0.", |status| {
        Some(indicator(status.state == ProjectionState::Stalled))
    });
}

/// Returns 1 or 0, as the text format writes a condition.
fn indicator(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}
