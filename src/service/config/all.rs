//! The configuration of `tally`, all three services in one process.
//!
//! **Invariant:** the settings of each service are the settings of its own binary.
//!
//! Read next: `service/all.rs`, which starts the services.

use std::path::PathBuf;

use super::command_line::Config;
use super::flag_parser::{Flag, GivenFlags, Kind, UsageError};
use super::flags::{
    ADVISED_HEARTBEAT_INTERVAL, ALLOW_HOST, ALLOW_ORIGIN, HTTP_ENGINE, LOG, LOG_FORMAT, POLL_INTERVAL,
    READY_LAG, TTL,
};
use super::read::{self, ReadConfig, ReadTask};
use super::registry::{self, RegistryConfig};
use super::service::service;
use super::write::{self, WriteConfig, WriteTask};
use crate::service::logger::LogOptions;
use crate::write_side::Copies;

const REGISTRY_LISTEN: Flag = Flag { name: "registry-listen", ..registry::LISTEN };
const WRITE_LISTEN: Flag = Flag { name: "write-listen", ..write::LISTEN };
const READ_LISTEN: Flag = Flag { name: "read-listen", ..read::LISTEN };
const DATA_DIR: Flag = Flag {
    name: "data-dir",
    kind: Kind::One("DIR"),
    default: "the current directory",
    help: "The directory of write_db.sqlite3 and read_db.sqlite3; it is made when absent.",
};

/// The configuration of `tally`: one for each service. The registries of both sides are empty, because the
/// address of the registry in this process is known only after the registry listens.
#[derive(Clone, Debug, PartialEq)]
pub struct AllConfig {
    /// The directory of both database files.
    pub data_dir: PathBuf,
    /// The registry.
    pub registry: RegistryConfig,
    /// The write side.
    pub write: WriteConfig,
    /// The read side.
    pub read: ReadConfig,
}

impl Config for AllConfig {
    const PROGRAM: &'static str = "tally";
    const SUMMARY: &'static str = "all three services in one process";
    const FLAGS: &'static [Flag] = &[
        REGISTRY_LISTEN,
        WRITE_LISTEN,
        READ_LISTEN,
        DATA_DIR,
        TTL,
        ADVISED_HEARTBEAT_INTERVAL,
        POLL_INTERVAL,
        READY_LAG,
        HTTP_ENGINE,
        ALLOW_ORIGIN,
        ALLOW_HOST,
        LOG,
        LOG_FORMAT,
    ];

    fn log(&self) -> LogOptions {
        self.registry.service.log
    }

    fn from_given(given: &GivenFlags) -> Result<Self, UsageError> {
        let data_dir = given.path(DATA_DIR.name)?.unwrap_or_else(|| PathBuf::from("."));
        let registry = RegistryConfig::read(given, &REGISTRY_LISTEN)?;
        let heartbeat_interval = registry.registry.advised_interval();
        let write = WriteConfig {
            service: service(given, &WRITE_LISTEN)?,
            db: data_dir.join(write::DB.default),
            // Set at the start: with port 0, the address of the registry is known only then.
            registries: Vec::new(),
            heartbeat_interval,
            copies: Copies::Refused,
            task: WriteTask::Serve,
        };
        let read = ReadConfig {
            service: service(given, &READ_LISTEN)?,
            db: data_dir.join(read::DB.default),
            heartbeat_interval,
            side: read::side(given)?,
            task: ReadTask::Serve,
        };
        Ok(Self { data_dir, registry, write, read })
    }
}
