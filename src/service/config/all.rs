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

/// The commands, which `cli/commands.rs` reads; a test there compares the lines with the pages.
const COMMAND_LIST: &str = "
Without a command, tally serves. With a command, tally is a client of services that run:
  tally COMMAND [FLAG]...
  tally COMMAND --help

  open        Opens an account.
  deposit     Pays money into an account.
  withdraw    Pays money out of an account.
  transfer    Moves money from one account to another.
  close       Closes an empty account.
  account     Shows an account, now or as it was.
  accounts    Lists all accounts.
  events      Shows the log, and follows it.
  trace       Shows what one request caused.
  services    Lists the live instances of all services.
  projections Shows how far each projection is.
  load        Sends commands at a rate: something to watch.
  demo        Walks through the running services, explaining each step.
  verify      Checks the event store.
  backup      Copies the event store to a new file.
  export      Writes the event store as JSON lines.
  import      Builds an event store from an export.
";

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
    const SUMMARY: &'static str = "all three services in one process, and a client of them";
    const MORE_HELP: &'static str = COMMAND_LIST;
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
