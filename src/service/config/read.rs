//! The configuration of `read-service`.
//!
//! **Invariant:** at least one registry is configured.
//!
//! Read next: `service/read.rs`, which starts the service.

use std::path::PathBuf;
use std::time::Duration;

use super::command_line::Config;
use super::flag_parser::{Flag, GivenFlags, UsageError};
use super::flags::{
    ADVERTISE, ALLOW_HOST, ALLOW_ORIGIN, HEARTBEAT_INTERVAL, HTTP_ENGINE, LOG, LOG_FORMAT, POLL_INTERVAL,
    READY_LAG, REBUILD, REGISTRY, VERIFY, WRITE_SIDE, db, listen,
};
use super::service::{ServiceConfig, database, heartbeat_interval, poll_interval, registries, service};
use super::values;
use crate::http::LongPolls;
use crate::read_side;
use crate::service::logger::LogOptions;

pub(super) const LISTEN: Flag = listen("127.0.0.1:7002");
pub(super) const DB: Flag = db("read_db.sqlite3");

/// The configuration of `read-service`.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadConfig {
    /// The settings that every service has.
    pub service: ServiceConfig,
    /// The SQLite file of the read models.
    pub db: PathBuf,
    /// The heartbeat interval.
    pub heartbeat_interval: Duration,
    /// The settings of the read side. Its registries, at least one, are also the registries to register with.
    pub side: read_side::ReadOptions,
    /// The task.
    pub task: ReadTask,
}

/// A task of `read-service`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadTask {
    /// Follow the write side and answer queries.
    Serve,
    /// Serve, and rebuild the read models from the first event meanwhile.
    RebuildThenServe,
    /// Compare the read models with a fresh replay, print the report, end.
    Verify,
}

/// Reads the settings of a read side that finds the write side itself.
pub(super) fn side(given: &GivenFlags) -> Result<read_side::ReadOptions, UsageError> {
    Ok(read_side::ReadOptions {
        // Set by the callers: from a flag, or to the registry in the same process.
        registries: Vec::new(),
        write_side: None,
        poll_interval: poll_interval(given)?,
        max_waits: LongPolls::DEFAULT_MAX,
        ready_lag: given.value(&READY_LAG, values::events)?,
    })
}

impl Config for ReadConfig {
    const PROGRAM: &'static str = "read-service";
    const SUMMARY: &'static str = "follows the event feed, answers queries";
    const FLAGS: &'static [Flag] = &[
        LISTEN,
        ADVERTISE,
        DB,
        REGISTRY,
        WRITE_SIDE,
        HEARTBEAT_INTERVAL,
        POLL_INTERVAL,
        READY_LAG,
        HTTP_ENGINE,
        ALLOW_ORIGIN,
        ALLOW_HOST,
        LOG,
        LOG_FORMAT,
        VERIFY,
        REBUILD,
    ];

    fn log(&self) -> LogOptions {
        self.service.log
    }

    fn from_given(given: &GivenFlags) -> Result<Self, UsageError> {
        let task = match (given.has("verify"), given.has("rebuild")) {
            (true, true) => {
                return Err(given.reject("rebuild", "cannot be combined with --verify; choose one"));
            }
            (true, false) => ReadTask::Verify,
            (false, true) => ReadTask::RebuildThenServe,
            (false, false) => ReadTask::Serve,
        };
        let (registries, write_side) = (registries(given)?, given.one(WRITE_SIDE.name, values::url)?);
        Ok(Self {
            service: service(given, &LISTEN)?,
            db: database(given, DB.name)?.unwrap_or_else(|| PathBuf::from(DB.default)),
            heartbeat_interval: heartbeat_interval(given)?,
            side: read_side::ReadOptions { registries, write_side, ..side(given)? },
            task,
        })
    }
}
