//! The configuration of `write-service`.
//!
//! **Invariant:** at least one registry is configured; `--db` and `--event-store` name one file.
//!
//! Read next: `service/write.rs`, which starts the service.

use std::path::PathBuf;
use std::time::Duration;

use super::command_line::Config;
use super::flag_parser::{Flag, GivenFlags, UsageError};
use super::flags::{
    ADVERTISE, ALLOW_COPY, ALLOW_HOST, ALLOW_ORIGIN, BACKUP, EVENT_STORE, HEARTBEAT_INTERVAL, HTTP_ENGINE,
    LOG, LOG_FORMAT, REGISTRY, VERIFY, db, listen,
};
use super::service::{ServiceConfig, database, heartbeat_interval, registries, service};
use super::values;
use crate::discovery::BaseUrl;
use crate::service::logger::LogOptions;
use crate::write_side::Copies;

pub(super) const LISTEN: Flag = listen("127.0.0.1:7001");
pub(super) const DB: Flag = db("write_db.sqlite3");

/// The configuration of `write-service`.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteConfig {
    /// The settings that every service has.
    pub service: ServiceConfig,
    /// The SQLite file of the event store.
    pub db: PathBuf,
    /// The registries to register with: at least one.
    pub registries: Vec<BaseUrl>,
    /// The heartbeat interval.
    pub heartbeat_interval: Duration,
    /// Whether to register beside another write service of the same log.
    pub copies: Copies,
    /// The task.
    pub task: WriteTask,
}

/// A task of `write-service`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteTask {
    /// Serve commands.
    Serve,
    /// Check the event store, print the report, end.
    Verify,
    /// Copy the event store to this file, end.
    Backup(PathBuf),
}

/// Reads `--db` and `--event-store sqlite:`, two names for one path. If both are given, a flag wins over a
/// variable, and two flags (or two variables) must agree.
fn event_store(given: &GivenFlags) -> Result<PathBuf, UsageError> {
    let db = database(given, DB.name)?;
    let store = given.one("event-store", values::event_store)?;
    match (db, store) {
        (Some(db), Some(store)) if db == store => Ok(db),
        // A flag wins over a variable, and also over the variable of the other flag.
        (Some(_), Some(store)) if given.by_flag("event-store") && !given.by_flag("db") => Ok(store),
        (Some(db), Some(_)) if given.by_flag("db") && !given.by_flag("event-store") => Ok(db),
        (Some(_), Some(_)) => Err(given.reject(
            "event-store",
            "expected the same file as --db (TALLY_DB), got another; give one of the two",
        )),
        (Some(path), None) | (None, Some(path)) => Ok(path),
        (None, None) => Ok(PathBuf::from(DB.default)),
    }
}

impl Config for WriteConfig {
    const PROGRAM: &'static str = "write-service";
    const SUMMARY: &'static str = "takes commands, keeps events, serves the event feed";
    const FLAGS: &'static [Flag] = &[
        LISTEN,
        ADVERTISE,
        DB,
        EVENT_STORE,
        REGISTRY,
        ALLOW_COPY,
        HEARTBEAT_INTERVAL,
        HTTP_ENGINE,
        ALLOW_ORIGIN,
        ALLOW_HOST,
        LOG,
        LOG_FORMAT,
        VERIFY,
        BACKUP,
    ];

    fn log(&self) -> LogOptions {
        self.service.log
    }

    fn from_given(given: &GivenFlags) -> Result<Self, UsageError> {
        let backup = database(given, "backup")?;
        let task = match backup {
            Some(_) if given.has("verify") => {
                return Err(given.reject("backup", "cannot be combined with --verify; choose one"));
            }
            Some(path) => WriteTask::Backup(path),
            None if given.has("verify") => WriteTask::Verify,
            None => WriteTask::Serve,
        };
        Ok(Self {
            service: service(given, &LISTEN)?,
            db: event_store(given)?,
            registries: registries(given)?,
            heartbeat_interval: heartbeat_interval(given)?,
            copies: if given.is_on("allow-copy")? { Copies::Allowed } else { Copies::Refused },
            task,
        })
    }
}
