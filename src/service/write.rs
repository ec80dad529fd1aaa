//! The write side at work: the event store, commands, the feed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::file_watch::FileWatch;
use super::serve::{Served, WAITING, advertised, database_or_new, serve};
use crate::discovery::Registration;
use crate::es::{Commit, EventLog, Executor, SqliteDatabase};
use crate::http::{LongPolls, Router};
use crate::service::about;
use crate::service::config::WriteConfig;
use crate::service::metrics::{self, Buckets};
use crate::service::process::{StartError, listen};
use crate::write_side::{self, Standing, WriteSide, Writer};

/// Clocks that are kept by NTP are set back by less.
const TOLERATED_AHEAD: Duration = Duration::from_secs(5);

/// A running write service.
#[derive(Debug)]
pub struct WriteService {
    registration: Registration,
    log: Arc<EventLog>,
    served: Served<WriteSide>,
    _file_watch: FileWatch,
}

impl WriteService {
    /// Starts it; it serves when this returns.
    ///
    /// # Errors
    /// When its database cannot be opened, it cannot listen, or the system has no thread for it.
    pub fn start(config: &WriteConfig) -> Result<Self, StartError> {
        let db = database_or_new(&config.db)?;
        let listener = listen(&config.service.listen)?;
        let failed =
            |error| StartError::new(format!("cannot open the event store {}: {error}", config.db.display()));
        let log =
            EventLog::open(SqliteDatabase::open(&*db).map_err(failed)?.keep_lock_file()).map_err(failed)?;
        let metrics = Arc::new(metrics::Registry::default());
        // Commits before the service serves are its own housekeeping, and not counted.
        let is_serving = Arc::new(AtomicBool::new(false));
        let on_commit = counted_while(&is_serving, commit_metrics(&metrics, &log));
        let bank = Executor::start(Arc::clone(&log), on_commit).map_err(failed)?;
        write_side::name_past_transfers(&bank, &log).map_err(failed)?;
        is_serving.store(true, Ordering::Relaxed);
        let watched = Arc::clone(&log);
        let mut is_ahead = false;
        let file_watch = FileWatch::start(move || check_log(&watched, &mut is_ahead))?;
        let standing = Arc::new(Standing::new(Arc::clone(&log), &db, config.copies)?);
        let side = WriteSide::new(bank, Arc::clone(&log), LongPolls::new(LongPolls::DEFAULT_MAX));
        let side = side.with_standing(Arc::clone(&standing));
        let served =
            serve(listener, &config.service, side, write_side::ROUTES, &about::WRITE, Arc::clone(&metrics))?;
        show_waiting(&metrics, &served.router);
        show_upkeep(&metrics, &log);
        let writer = Writer::at(advertised("write", &config.service, &served.server), standing);
        let registration = Registration::start(config.registries.clone(), writer, config.heartbeat_interval)?;
        Ok(Self { registration, log, served, _file_watch: file_watch })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.served.server.local_addr()
    }

    /// Stops it: commands that were taken are finished and answered.
    pub fn stop(self) {
        self.log.head().close();
        self.served.server.stop();
        self.registration.stop();
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

/// Shows how large the files of the log are, and whether they are kept in order.
fn show_upkeep(metrics: &metrics::Registry, log: &Arc<EventLog>) {
    let gauge = |name, help, value: fn(&EventLog) -> f64| {
        let log = Arc::clone(log);
        metrics.computed_gauge(name, help, &[], move || value(&log));
    };
    gauge("tally_log_database_bytes", "Size of the database file of the log.", |log| {
        log.bytes().database as f64
    });
    gauge("tally_log_wal_bytes", "Size of the write-ahead log of the log's database.", |log| {
        log.bytes().write_ahead_log as f64
    });
    let help = "How far the last event's time is ahead of the clock.";
    gauge("tally_log_ahead_of_clock_seconds", help, |log| log.ahead_of_clock().as_secs_f64());
    let (log, help) = (Arc::clone(log), "Checkpoints of the log's database that failed.");
    let failures = move || log.upkeep().failures() as f64;
    metrics.computed_counter("tally_log_checkpoint_failures_total", help, &[], failures);
}

/// What the log lacks, for the operator; and a warning, once, when its times have run ahead of the clock.
fn check_log(log: &EventLog, is_ahead: &mut bool) -> Result<(), String> {
    let ahead = log.ahead_of_clock();
    if ahead > TOLERATED_AHEAD && !*is_ahead {
        log::warn!(
            "the last event's time is {:.0} s ahead of the clock: until then, every event gets that time; \
             see to the clock",
            ahead.as_secs_f64()
        );
    }
    *is_ahead = ahead > TOLERATED_AHEAD;
    log.check().map_err(|error| error.to_string())
}

/// Counts commits only while `is_serving`.
fn counted_while(
    is_serving: &Arc<AtomicBool>,
    count: impl Fn(&Commit) + Send + 'static,
) -> impl Fn(&Commit) + Send + 'static {
    let is_serving = Arc::clone(is_serving);
    move |commit| {
        if is_serving.load(Ordering::Relaxed) {
            count(commit);
        }
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
