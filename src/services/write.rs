//! The write side at work: the event store, commands, the feed.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Served, WAITING, advertised, serve};
use crate::about;
use crate::account::Account;
use crate::config::WriteConfig;
use crate::discovery::Registration;
use crate::es::{Commit, EventLog, Executor, SqliteDatabase};
use crate::http::{LongPolls, Router};
use crate::metrics::{self, Buckets};
use crate::process::{StartError, listen};
use crate::write_side::{self, Standing, WriteSide, Writer};

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
        let standing = Arc::new(Standing::new(Arc::clone(&log), &config.db, config.copies)?);
        let side = WriteSide::new(bank, Arc::clone(&log), LongPolls::new(LongPolls::DEFAULT_MAX));
        let side = side.with_standing(Arc::clone(&standing));
        let served =
            serve(listener, &config.service, side, write_side::ROUTES, &about::WRITE, Arc::clone(&metrics))?;
        show_waiting(&metrics, &served.router);
        let writer = Writer::at(advertised("write", &config.service, &served.server), standing);
        let registration = Registration::start(config.registries.clone(), writer, config.heartbeat_interval)?;
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

/// Shows who waits: commands for the writer, readers for events.
fn show_waiting(metrics: &metrics::Registry, router: &Arc<Router<WriteSide>>) {
    let side = Arc::clone(router);
    let commands = move || side.state().waiting_commands() as f64;
    metrics.computed_gauge("tally_waiting_commands", "Commands that wait for the writer.", &[], commands);
    let side = Arc::clone(router);
    let readers = move || side.state().waiting_readers() as f64;
    metrics.computed_gauge("tally_http_waiting_requests", WAITING, &[], readers);
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
