//! The write service: event store, commands, event feed; from start to stop.
//!
//! **Invariant:** the service registers last, after it serves, and deregisters before the log closes.
//!
//! Read next: `write_side/mod.rs`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::about;
use super::config::{Config, WriteConfig};
use super::file_watch::FileWatch;
use super::metrics::{Buckets, Metrics};
use super::process::{ExitError, listen};
use super::serve::{Served, WAITING, advertised, database_or_new, figure, serve, show_registrations};
use crate::discovery::Heartbeats;
use crate::es::{Commit, Error, EventLog, Executor, SqliteDatabase};
use crate::http::{LongPolls, Router};
use crate::write_side::{self, Standing, WriteSide, Writer};

/// The tolerated lead of the last event's time over the clock, in seconds: NTP sets a clock back by less.
const TOLERATED_AHEAD: Duration = Duration::from_secs(5);

/// A running write service.
#[derive(Debug)]
pub struct WriteService {
    heartbeats: Heartbeats,
    log: Arc<EventLog>,
    served: Served<WriteSide>,
    _file_watch: FileWatch,
}

impl WriteService {
    /// Starts the service, which serves before the function returns.
    ///
    /// # Errors
    /// When the database cannot be opened, the address cannot be bound, or the system cannot start a thread.
    pub fn start(config: &WriteConfig) -> Result<Self, ExitError> {
        let db = database_or_new(&config.db)?;
        // An address in use ends the start here, before the log is opened or created.
        let listener = listen(&config.service.listen)?;
        let failed = |error| {
            // The text of an unusable file begins with the path.
            let of =
                if let Error::Unusable(_) = error { String::new() } else { format!(" {}", db.display()) };
            ExitError::new(format!("cannot open the event store{of}: {error}"))
        };
        let log =
            EventLog::open(SqliteDatabase::open(&*db).map_err(failed)?.keep_lock_file()).map_err(failed)?;
        let metrics = Arc::new(Metrics::default());
        // Commits before the first request are housekeeping and not counted.
        let is_serving = Arc::new(AtomicBool::new(false));
        let on_commit = counted_while(&is_serving, commit_metrics(&metrics, &log));
        let bank = Executor::start(Arc::clone(&log), on_commit).map_err(failed)?;
        write_side::name_past_transfers(&bank, &log).map_err(failed)?;
        is_serving.store(true, Ordering::Relaxed);
        let watched = Arc::clone(&log);
        // Owned by the thread: the clock is warned about once, when the lead begins.
        let mut is_ahead = false;
        let file_watch = FileWatch::start(move || check_log(&watched, &mut is_ahead))?;
        let standing = Arc::new(Standing::new(Arc::clone(&log), &db, config.copies)?);
        let side = WriteSide::new(bank, Arc::clone(&log), LongPolls::new(LongPolls::DEFAULT_MAX));
        let side = side.with_standing(Arc::clone(&standing));
        let served = serve(
            listener,
            &config.service,
            side,
            write_side::ROUTES,
            &about::WRITE,
            Arc::clone(&metrics),
            config.registries.first(),
        )?;
        show_waiting(&metrics, &served.router);
        show_upkeep(&metrics, &log);
        // Registered last: a client that finds the service gets an answer.
        let entry = advertised("write", &config.service, &served.server);
        served.log_start(WriteConfig::PROGRAM, Some(&entry), &config.registries);
        log::info!("log {} is {}, head {}", log.log_id(), db.display(), log.head().value());
        let writer = Writer::at(entry, standing);
        let heartbeats = Heartbeats::start(config.registries.clone(), writer, config.heartbeat_interval)?;
        show_registrations(&metrics, &heartbeats);
        Ok(Self { heartbeats, log, served, _file_watch: file_watch })
    }

    /// Returns the listening address.
    pub fn address(&self) -> SocketAddr {
        self.served.server.local_addr()
    }

    /// Stops the service: accepted commands are finished and answered.
    pub fn stop(self) {
        // Counted first: long polls are requests in flight as well.
        let in_flight = self.served.in_flight.value();
        // The head first: a long poll of the feed would hold up the server's stop.
        self.log.head().close();
        self.served.server.stop();
        self.heartbeats.stop();
        // The writer last: requests in flight queue commands until the server has stopped.
        self.served.router.state().close();
        let head = self.log.head().value();
        log::info!("{} stopped: requests drained: {in_flight}, head {head}", WriteConfig::PROGRAM);
    }
}

/// Adds the numbers of commands that wait for the writer and of readers that wait for events to the metrics.
fn show_waiting(metrics: &Metrics, router: &Arc<Router<WriteSide>>) {
    let gauge = |name, help, value: fn(&WriteSide) -> f64| {
        let value = figure(router, value);
        metrics.computed_gauge(name, help, &[], move || value().unwrap_or(0.0));
    };
    gauge("tally_waiting_commands", "Commands that wait for the writer.", |side| {
        side.waiting_commands() as f64
    });
    gauge("tally_http_waiting_requests", WAITING, |side| side.waiting_readers() as f64);
}

/// Adds the file sizes and the upkeep of the log to the metrics.
fn show_upkeep(metrics: &Metrics, log: &Arc<EventLog>) {
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
    let (log, help) = (Arc::clone(log), "Failed flushes of the write-ahead log into the database.");
    let failures = move || log.upkeep().failures() as f64;
    metrics.computed_counter("tally_log_checkpoint_failures_total", help, &[], failures);
}

/// Checks the log's file, and warns once when the time of the last event is ahead of the clock.
fn check_log(log: &EventLog, is_ahead: &mut bool) -> Result<(), String> {
    let ahead = log.ahead_of_clock();
    if ahead > TOLERATED_AHEAD && !*is_ahead {
        log::warn!(
            "the last event's time is {:.0} s ahead of the clock: until then, every event gets that time; \
             correct the clock",
            ahead.as_secs_f64()
        );
    }
    *is_ahead = ahead > TOLERATED_AHEAD;
    log.check().map_err(|error| error.to_string())
}

/// Wraps `count`: commits are counted while `is_serving` is set.
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

/// Adds the head of the log and the figures of commits to the metrics, and returns the function that counts a
/// commit.
fn commit_metrics(metrics: &Metrics, log: &Arc<EventLog>) -> impl Fn(&Commit) + Send + 'static {
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
