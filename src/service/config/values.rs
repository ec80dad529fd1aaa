//! What each kind of value may be.
//!
//! Each reader takes the text and answers the value, or what is wrong with it in words that
//! follow the name of the flag. Quoted text is escaped, so that the error stays one line.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;

use crate::discovery::{BaseUrl, InvalidUrl};
use crate::host::host_and_port;
use crate::http::Engine;
use crate::limits::MAX_EXACT_INTEGER;

/// Where to listen: a host name or an address, and a port; port 0 takes a free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    host: String,
    port: u16,
}

impl ListenAddress {
    /// That port on 127.0.0.1.
    pub fn loopback(port: u16) -> Self {
        Self { host: Ipv4Addr::LOCALHOST.to_string(), port }
    }

    /// The host name or the address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Listens there. Of a name with several addresses the first that can be bound is taken, IPv4
    /// before IPv6: `localhost` is where most clients look for it first.
    ///
    /// # Errors
    /// When the name has no address, the address is not of this machine, or the port is taken.
    pub fn bind(&self) -> io::Result<TcpListener> {
        let mut addresses: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        TcpListener::bind(addresses.as_slice())
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// What is registered instead of the listening address; without a port, the one that is
/// listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertise {
    host: String,
    port: Option<u16>,
}

impl Advertise {
    /// The host name or the address.
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// The address under which other services reach this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachable {
    /// A host name or an address; IPv6 without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

impl Reachable {
    /// The address to register for a service that listens on `listening`. Nobody can connect to
    /// "all addresses" (`0.0.0.0`, `[::]`), so that becomes loopback, which is right on one
    /// machine: across machines `--advertise` is needed, and the log says so.
    pub fn of(listening: SocketAddr, advertise: Option<&Advertise>) -> Self {
        if let Some(Advertise { host, port }) = advertise {
            return Self { host: host.clone(), port: port.unwrap_or(listening.port()) };
        }
        let ip = match listening.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
        };
        if ip != listening.ip() {
            log::warn!("listening on all addresses, registering {ip}: other machines need --advertise HOST");
        }
        Self { host: ip.to_string(), port: listening.port() }
    }
}

impl fmt::Display for Reachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// A web origin, such as `https://example.org`, or `*`: every one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// The origin as a browser sends it, or `*`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

pub(super) fn listen(text: &str) -> Result<ListenAddress, String> {
    match host_and_port(text) {
        Some((host, Some(port))) => Ok(ListenAddress { host: host.to_string(), port }),
        _ => Err(format!("{text:?} is no HOST:PORT, such as 127.0.0.1:7001")),
    }
}

pub(super) fn advertise(text: &str) -> Result<Advertise, String> {
    let (host, port) = host_and_port(text).filter(|(_, port)| *port != Some(0)).unzip();
    let host = host.and_then(|host| host.for_clients().ok());
    let host = host
        .ok_or_else(|| format!("expected a HOST or HOST:PORT that clients can connect to, got {text:?}"))?;
    Ok(Advertise { host: host.to_string(), port: port.flatten() })
}

pub(super) fn url(text: &str) -> Result<BaseUrl, String> {
    text.parse().map_err(|error: InvalidUrl| error.to_string())
}

/// A host name that a service answers to, or `*`: every one.
pub(super) fn allowed_host(text: &str) -> Result<String, String> {
    let is_allowed = text == "*" || matches!(host_and_port(text), Some((_, None)));
    is_allowed
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?}: expected a host name without a port, or *"))
}

pub(super) fn origin(text: &str) -> Result<Origin, String> {
    let malformed = || format!("{text:?} is no origin, such as https://example.org, and not *");
    if text == "*" {
        return Ok(Origin(text.to_owned()));
    }
    let (scheme, authority) = text.split_once("://").ok_or_else(malformed)?;
    let good_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    // Origins are compared byte by byte, and browsers send them in lower case.
    if !good_scheme
        || host_and_port(authority).is_none()
        || text.bytes().any(|byte| byte.is_ascii_uppercase())
    {
        return Err(malformed());
    }
    Ok(Origin(text.to_owned()))
}

/// A number of events, as a log may have them.
pub(super) fn events(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    number
        .filter(|number| *number <= MAX_EXACT_INTEGER)
        .ok_or_else(|| format!("{text:?}: expected a whole number of events from 0 to {MAX_EXACT_INTEGER}"))
}

/// Seconds, fractions allowed, within `range`.
pub(super) fn seconds(text: &str, range: (f64, f64)) -> Result<Duration, String> {
    let (low, high) = range;
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = text.parse::<f64>().ok().filter(|_| plain);
    let seconds = seconds.filter(|seconds| (low..=high).contains(seconds));
    let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| format!("{text:?} is no number of seconds from {low} to {high}"))
}

/// What SQLite takes for a database in memory would be gone with the process.
pub(super) fn database(path: &Path) -> Result<(), String> {
    if path.as_os_str() == ":memory:" {
        return Err("\":memory:\" is not a file; give the path of one".to_owned());
    }
    Ok(())
}

/// The file of `sqlite:PATH`. The text is never quoted here: URLs of databases hold passwords.
pub(super) fn event_store(text: &str) -> Result<PathBuf, String> {
    let (scheme, path) = text.split_once(':').unwrap_or((text, ""));
    match scheme {
        // With two slashes comes a host name, which a file has not: sqlite:///path is /path.
        "sqlite" => match path.strip_prefix("//").unwrap_or(path) {
            "" => Err("the path is missing (sqlite:PATH)".to_owned()),
            rest if path.starts_with("//") && !rest.starts_with('/') => {
                Err("write sqlite:PATH, or sqlite:///PATH for an absolute one".to_owned())
            }
            path => database(Path::new(path)).map(|()| PathBuf::from(path)),
        },
        "postgres" | "postgresql" => Err("postgres is not built in; use sqlite:PATH".to_owned()),
        "mysql" => Err("mysql is not built in; use sqlite:PATH".to_owned()),
        _ => Err("not a URL of an event store; use sqlite:PATH".to_owned()),
    }
}

pub(super) fn http_engine(text: &str) -> Result<Engine, String> {
    match text {
        "blocking" => Ok(Engine::Blocking),
        #[cfg(feature = "tiny_http")]
        "tiny_http" => Ok(Engine::TinyHttp),
        #[cfg(not(feature = "tiny_http"))]
        "tiny_http" => Err("tiny_http is not built in (cargo feature tiny_http); use blocking".to_owned()),
        _ => Err(format!("{text:?} is no engine; use blocking, or tiny_http where it is built in")),
    }
}

pub(super) fn log_level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "error" => Ok(LevelFilter::Error),
        "warn" => Ok(LevelFilter::Warn),
        "info" => Ok(LevelFilter::Info),
        "debug" => Ok(LevelFilter::Debug),
        _ => Err(format!("{text:?} is no level; use error, warn, info or debug")),
    }
}
