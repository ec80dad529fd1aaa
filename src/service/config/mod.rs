//! The configuration of each binary, from its flags and its environment.
//!
//! One table of flags per binary says what there is; reading it, its help text and its
//! environment variables all come from that table. Parsing is a function of the arguments and a
//! look-up of variables, so that every rule is tested without starting a process.
//!
//! **Invariant:** a configuration that exists is valid. What is unknown, malformed, out of range,
//! repeated or contradictory is refused with one line that names the flag or variable, and
//! nothing is clamped or ignored in silence.
//!
//! Read next: `config/values.rs`, what each kind of value may be.

mod flags;
mod table;
#[cfg(test)]
mod tests;
mod values;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use log::LevelFilter;

use crate::discovery::BaseUrl;
use crate::http::Engine;
use crate::write_side::Copies;
use flags::{Flag, Given, Kind};
pub use flags::{Invocation, UsageError};
use table::*;
pub use values::{Advertise, ListenAddress, Origin, Reachable};

/// Exit status of a command line that cannot be understood.
pub const EXIT_USAGE: u8 = 2;

/// A binary's configuration.
pub trait Config: Sized {
    /// The name of the binary.
    const PROGRAM: &'static str;
    /// What it does, in half a line.
    const SUMMARY: &'static str;
    /// The least important log lines to show.
    fn log(&self) -> LevelFilter;
    #[doc(hidden)]
    const FLAGS: &'static [Flag];
    #[doc(hidden)]
    fn from_given(given: &Given) -> Result<Self, UsageError>;
}

/// The configuration of this process.
///
/// # Errors
/// The exit status to end with at once: success after `--help` and `--version`, whose text is
/// then on stdout; 2 when the command line is wrong, and one line on stderr says how.
pub fn from_process<C: Config>() -> Result<C, ExitCode> {
    match parse(std::env::args_os().skip(1), |variable| std::env::var_os(variable)) {
        Ok(Invocation::Run(config)) => Ok(config),
        Ok(Invocation::Print(text)) => {
            // Nobody is left to tell when stdout is closed.
            let _ = std::io::stdout().write_all(text.as_bytes());
            Err(ExitCode::SUCCESS)
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}: {error}; see {} --help", C::PROGRAM, C::PROGRAM);
            Err(ExitCode::from(EXIT_USAGE))
        }
    }
}

/// The configuration that `arguments` (without the program's name) and `variables` ask for.
///
/// # Errors
/// When they are no valid configuration.
pub fn parse<C: Config>(
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl Fn(&str) -> Option<OsString>,
) -> Result<Invocation<C>, UsageError> {
    match flags::read(C::FLAGS, arguments, variables)? {
        Invocation::Run(given) => C::from_given(&given).map(Invocation::Run),
        Invocation::Print("version") => Ok(Invocation::Print(flags::version(C::PROGRAM))),
        Invocation::Print(_) => Ok(Invocation::Print(flags::help(C::PROGRAM, C::SUMMARY, C::FLAGS))),
    }
}

/// What every service is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Where to listen.
    pub listen: ListenAddress,
    /// What is registered, when it differs from where the service listens.
    pub advertise: Option<Advertise>,
    /// The HTTP engine.
    pub engine: Engine,
    /// Web pages that may call the service, besides those on a loopback address.
    pub allow_origins: Vec<Origin>,
    /// Host names that the service answers to, besides its own.
    pub allow_hosts: Vec<String>,
    /// The least important log lines to show.
    pub log: LevelFilter,
}

/// What `service-registry` is told.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryConfig {
    /// What every service is told.
    pub service: Service,
    /// How long an instance lives without a heartbeat.
    pub ttl: Duration,
    /// How often instances are told to send one: shorter than `ttl`.
    pub heartbeat_interval: Duration,
}

/// What `write-service` is told.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteConfig {
    /// What every service is told.
    pub service: Service,
    /// The SQLite file of the event store.
    pub db: PathBuf,
    /// The registries to register with: at least one.
    pub registries: Vec<BaseUrl>,
    /// Pause between two heartbeats.
    pub heartbeat_interval: Duration,
    /// Whether to register beside another write service of the same log.
    pub copies: Copies,
    /// What to do.
    pub task: WriteTask,
}

/// What `write-service` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteTask {
    /// Take commands.
    Serve,
    /// Check the event store, print what was found, end.
    Verify,
    /// Copy the event store to this file, end.
    Backup(PathBuf),
}

/// What `read-service` is told.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadConfig {
    /// What every service is told.
    pub service: Service,
    /// The SQLite file of the read models.
    pub db: PathBuf,
    /// The registries to register with and to look for the write side: at least one.
    pub registries: Vec<BaseUrl>,
    /// The only write side to follow, whatever the registries name.
    pub write_side: Option<BaseUrl>,
    /// Pause between two heartbeats.
    pub heartbeat_interval: Duration,
    /// The longest pause between two looks at the event feed.
    pub poll_interval: Duration,
    /// How many events a service that is ready may be behind the end of the log.
    pub ready_lag: u64,
    /// What to do.
    pub task: ReadTask,
}

/// What `read-service` is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadTask {
    /// Follow the write side and answer queries.
    Serve,
    /// Serve, and rebuild the read models from the first event meanwhile.
    RebuildThenServe,
    /// Compare the read models with a fresh replay, print what was found, end.
    Verify,
}

/// What `tally`, all three services in one process, is told: the configuration of each. The two
/// sides use the registry beside them, whose address is known once it listens.
#[derive(Clone, Debug, PartialEq)]
pub struct AllConfig {
    /// The directory of both database files.
    pub data_dir: PathBuf,
    /// The registry's part.
    pub registry: RegistryConfig,
    /// The write side's part.
    pub write: WriteConfig,
    /// The read side's part.
    pub read: ReadConfig,
}

const REGISTRY_PORT: u16 = 7000;
const WRITE_PORT: u16 = 7001;
const READ_PORT: u16 = 7002;
const WRITE_DB: &str = "write_db.sqlite3";
const READ_DB: &str = "read_db.sqlite3";

/// Instances are to send three heartbeats in a TTL: one may be lost, one may be late.
const HEARTBEATS_PER_TTL: u32 = 3;
/// Seconds. Below, a busy machine misses them; above, nobody calls it soft state any more.
const HEARTBEAT_RANGE: (f64, f64) = (0.01, 3_600.0);
/// Seconds. Below, a busy machine alone ends leases; above, the dead are served for days.
const TTL_RANGE: (f64, f64) = (0.05, 86_400.0);
/// Seconds. The feed lets nobody wait longer than 30 seconds.
const POLL_RANGE: (f64, f64) = (0.01, 30.0);

fn service(given: &Given, listen_flag: &str, port: u16) -> Result<Service, UsageError> {
    Ok(Service {
        listen: given.one(listen_flag, values::listen)?.unwrap_or_else(|| ListenAddress::loopback(port)),
        advertise: given.one("advertise", values::advertise)?,
        engine: given.one("http-engine", values::http_engine)?.unwrap_or_default(),
        allow_origins: given.several("allow-origin", values::origin)?,
        allow_hosts: given.several("allow-host", values::allowed_host)?,
        log: given.one("log", values::log_level)?.unwrap_or(LevelFilter::Info),
    })
}

fn heartbeat_interval(given: &Given) -> Result<Duration, UsageError> {
    let interval = given.one("heartbeat-interval", |text| values::seconds(text, HEARTBEAT_RANGE))?;
    Ok(interval.unwrap_or(Duration::from_secs(2)))
}

fn poll_interval(given: &Given) -> Result<Duration, UsageError> {
    let interval = given.one("poll-interval", |text| values::seconds(text, POLL_RANGE))?;
    Ok(interval.unwrap_or(Duration::from_secs(5)))
}

fn ready_lag(given: &Given) -> Result<u64, UsageError> {
    Ok(given.one("ready-lag", values::events)?.unwrap_or(10_000))
}

fn registries(given: &Given) -> Result<Vec<BaseUrl>, UsageError> {
    let registries = given.several("registry", values::url)?;
    if !registries.is_empty() {
        return Ok(registries);
    }
    let local = values::url(REGISTRY.default).map_err(|why| given.refuse("registry", &why))?;
    Ok(vec![local])
}

/// The path of a database. What lies there is for the service to see.
fn database(given: &Given, flag: &str) -> Result<Option<PathBuf>, UsageError> {
    let path = given.path(flag)?;
    match path.as_deref().map(values::database) {
        Some(Err(why)) => Err(given.refuse(flag, &why)),
        None | Some(Ok(())) => Ok(path),
    }
}

fn registry_config(given: &Given, listen_flag: &str) -> Result<RegistryConfig, UsageError> {
    let ttl = given.one("ttl", |text| values::seconds(text, TTL_RANGE))?.unwrap_or(Duration::from_secs(6));
    let asked = given.one("heartbeat-interval", |text| values::seconds(text, HEARTBEAT_RANGE))?;
    let heartbeat_interval = asked.unwrap_or(ttl / HEARTBEATS_PER_TTL);
    if heartbeat_interval >= ttl {
        let message = format!("must be shorter than the TTL, {} seconds", ttl.as_secs_f64());
        return Err(given.refuse("heartbeat-interval", &message));
    }
    Ok(RegistryConfig { service: service(given, listen_flag, REGISTRY_PORT)?, ttl, heartbeat_interval })
}

/// `--db` and `--event-store sqlite:` are two words for one thing: where both are given, a flag
/// wins over a variable, and two flags (or two variables) must agree.
fn write_db(given: &Given, default: PathBuf) -> Result<PathBuf, UsageError> {
    let db = database(given, "db")?;
    let store = given.one("event-store", values::event_store)?;
    match (db, store) {
        (Some(db), Some(store)) if db == store => Ok(db),
        (Some(_), Some(store)) if given.by_flag("event-store") && !given.by_flag("db") => Ok(store),
        (Some(db), Some(_)) if given.by_flag("db") && !given.by_flag("event-store") => Ok(db),
        (Some(_), Some(_)) => Err(given.refuse("event-store", "names another file than the database path")),
        (Some(path), None) | (None, Some(path)) => Ok(path),
        (None, None) => Ok(default),
    }
}

impl Config for RegistryConfig {
    const PROGRAM: &'static str = "service-registry";
    const SUMMARY: &'static str = "knows which services live, and where";
    const FLAGS: &'static [Flag] = &[
        listen("127.0.0.1:7000"),
        ADVERTISE,
        TTL,
        ADVISED_HEARTBEAT_INTERVAL,
        HTTP_ENGINE,
        ALLOW_ORIGIN,
        ALLOW_HOST,
        LOG,
    ];

    fn log(&self) -> LevelFilter {
        self.service.log
    }

    fn from_given(given: &Given) -> Result<Self, UsageError> {
        registry_config(given, "listen")
    }
}

impl Config for WriteConfig {
    const PROGRAM: &'static str = "write-service";
    const SUMMARY: &'static str = "takes commands, keeps events, serves the event feed";
    const FLAGS: &'static [Flag] = &[
        listen("127.0.0.1:7001"),
        ADVERTISE,
        db(WRITE_DB),
        EVENT_STORE,
        REGISTRY,
        ALLOW_COPY,
        HEARTBEAT_INTERVAL,
        HTTP_ENGINE,
        ALLOW_ORIGIN,
        ALLOW_HOST,
        LOG,
        VERIFY,
        BACKUP,
    ];

    fn log(&self) -> LevelFilter {
        self.service.log
    }

    fn from_given(given: &Given) -> Result<Self, UsageError> {
        let backup = database(given, "backup")?;
        let task = match backup {
            Some(_) if given.has("verify") => return Err(given.refuse("backup", "cannot go with --verify")),
            Some(path) => WriteTask::Backup(path),
            None if given.has("verify") => WriteTask::Verify,
            None => WriteTask::Serve,
        };
        Ok(Self {
            service: service(given, "listen", WRITE_PORT)?,
            db: write_db(given, PathBuf::from(WRITE_DB))?,
            registries: registries(given)?,
            heartbeat_interval: heartbeat_interval(given)?,
            copies: if given.is_on("allow-copy")? { Copies::Allowed } else { Copies::Refused },
            task,
        })
    }
}

impl Config for ReadConfig {
    const PROGRAM: &'static str = "read-service";
    const SUMMARY: &'static str = "follows the event feed, answers queries";
    const FLAGS: &'static [Flag] = &[
        listen("127.0.0.1:7002"),
        ADVERTISE,
        db(READ_DB),
        REGISTRY,
        WRITE_SIDE,
        HEARTBEAT_INTERVAL,
        POLL_INTERVAL,
        READY_LAG,
        HTTP_ENGINE,
        ALLOW_ORIGIN,
        ALLOW_HOST,
        LOG,
        VERIFY,
        REBUILD,
    ];

    fn log(&self) -> LevelFilter {
        self.service.log
    }

    fn from_given(given: &Given) -> Result<Self, UsageError> {
        let task = match (given.has("verify"), given.has("rebuild")) {
            (true, true) => return Err(given.refuse("rebuild", "cannot go with --verify")),
            (true, false) => ReadTask::Verify,
            (false, true) => ReadTask::RebuildThenServe,
            (false, false) => ReadTask::Serve,
        };
        Ok(Self {
            service: service(given, "listen", READ_PORT)?,
            db: database(given, "db")?.unwrap_or_else(|| PathBuf::from(READ_DB)),
            registries: registries(given)?,
            write_side: given.one("write-side", values::url)?,
            heartbeat_interval: heartbeat_interval(given)?,
            poll_interval: poll_interval(given)?,
            ready_lag: ready_lag(given)?,
            task,
        })
    }
}

impl Config for AllConfig {
    const PROGRAM: &'static str = "tally";
    const SUMMARY: &'static str = "all three services in one process";
    const FLAGS: &'static [Flag] = &[
        Flag { name: "registry-listen", ..listen("127.0.0.1:7000") },
        Flag { name: "write-listen", ..listen("127.0.0.1:7001") },
        Flag { name: "read-listen", ..listen("127.0.0.1:7002") },
        Flag {
            name: "data-dir",
            kind: Kind::One("DIR"),
            default: "the current directory",
            help: "The directory of write_db.sqlite3 and read_db.sqlite3; it is made when absent.",
        },
        TTL,
        ADVISED_HEARTBEAT_INTERVAL,
        POLL_INTERVAL,
        READY_LAG,
        HTTP_ENGINE,
        ALLOW_ORIGIN,
        ALLOW_HOST,
        LOG,
    ];

    fn log(&self) -> LevelFilter {
        self.registry.service.log
    }

    fn from_given(given: &Given) -> Result<Self, UsageError> {
        let data_dir = given.path("data-dir")?.unwrap_or_else(|| PathBuf::from("."));
        let registry = registry_config(given, "registry-listen")?;
        let heartbeat_interval = registry.heartbeat_interval;
        let write = WriteConfig {
            service: service(given, "write-listen", WRITE_PORT)?,
            db: data_dir.join(Path::new(WRITE_DB)),
            registries: Vec::new(),
            heartbeat_interval,
            copies: Copies::Refused,
            task: WriteTask::Serve,
        };
        let read = ReadConfig {
            service: service(given, "read-listen", READ_PORT)?,
            db: data_dir.join(Path::new(READ_DB)),
            registries: Vec::new(),
            write_side: None,
            heartbeat_interval,
            poll_interval: poll_interval(given)?,
            ready_lag: ready_lag(given)?,
            task: ReadTask::Serve,
        };
        Ok(Self { data_dir, registry, write, read })
    }
}
