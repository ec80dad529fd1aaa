//! The readers of values: a function from text to each kind of value.
//!
//! **Invariant:** an error names the expected and the given text, in words that follow the name of the flag,
//! on one line: quoted text is escaped. Texts that may hold a password are not quoted.
//!
//! Read next: `config/service.rs`, which uses the readers.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;

use crate::discovery::{BaseUrl, InvalidUrl};
use crate::host::host_and_port;
use crate::http::Engine;
use crate::limits::MAX_EXACT_INTEGER;
use crate::service::logger::LogFormat;

/// An address to listen on: a host name or an address, and a port; port 0 selects a free port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    host: String,
    port: u16,
}

impl ListenAddress {
    /// Returns the host name or the address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Binds the first address of the host that can be bound.
    ///
    /// # Errors
    /// When the name has no address, no address belongs to this machine, or the port is in use.
    pub fn bind(&self) -> io::Result<TcpListener> {
        let mut addresses: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        // IPv4 first: most clients of localhost try 127.0.0.1 first.
        addresses.sort_by_key(SocketAddr::is_ipv6);
        TcpListener::bind(addresses.as_slice())
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_address(f, &self.host, self.port)
    }
}

/// The address to register instead of the listening address; without a port, the listening port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertise {
    host: String,
    port: Option<u16>,
}

impl Advertise {
    /// Returns the host name or the address.
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// The address under which other services reach this service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachable {
    /// A host name or an address; IPv6 without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

impl Reachable {
    /// Returns the address to register for a service that listens on `listening`, and warns when the address
    /// is a guess.
    pub fn of(listening: SocketAddr, advertise: Option<&Advertise>) -> Self {
        if let Some(Advertise { host, port }) = advertise {
            return Self { host: host.clone(), port: port.unwrap_or(listening.port()) };
        }
        // No client can connect to "all addresses". Loopback is right on one machine; a service for other
        // machines needs --advertise.
        let ip = match listening.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
        };
        if ip != listening.ip() {
            log::warn!(
                "listening on all addresses and registering {ip}, which other machines cannot reach; set --advertise HOST"
            );
        }
        Self { host: ip.to_string(), port: listening.port() }
    }
}

impl fmt::Display for Reachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_address(f, &self.host, self.port)
    }
}

fn write_address(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    // The colons of an IPv6 address need brackets before a port.
    if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
}

/// A web origin, such as `https://example.org`, or `*` for all origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigin(String);

impl AllowedOrigin {
    /// Returns the origin as a browser sends it, or `*`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

pub(super) fn listen(text: &str) -> Result<ListenAddress, String> {
    match host_and_port(text) {
        Some((host, Some(port))) => Ok(ListenAddress { host: host.to_string(), port }),
        _ => Err(format!("expected HOST:PORT, such as 127.0.0.1:7001, got {text:?}")),
    }
}

pub(super) fn advertise(text: &str) -> Result<Advertise, String> {
    // Port 0 selects a free port to listen on; no client can connect to port 0.
    let (host, port) = host_and_port(text).filter(|(_, port)| *port != Some(0)).unzip();
    let host = host.and_then(|host| host.for_clients().ok());
    let host = host
        .ok_or_else(|| format!("expected a HOST or HOST:PORT that clients can connect to, got {text:?}"))?;
    Ok(Advertise { host: host.to_string(), port: port.flatten() })
}

pub(super) fn url(text: &str) -> Result<BaseUrl, String> {
    text.parse().map_err(|error: InvalidUrl| error.to_string())
}

/// Reads a host name that a service answers to, or `*` for all names.
pub(super) fn allowed_host(text: &str) -> Result<String, String> {
    let is_allowed = text == "*" || matches!(host_and_port(text), Some((_, None)));
    is_allowed
        .then(|| text.to_owned())
        .ok_or_else(|| format!("expected a host name without a port, or *, got {text:?}"))
}

pub(super) fn origin(text: &str) -> Result<AllowedOrigin, String> {
    let malformed = || format!("expected an origin, such as https://example.org, or *, got {text:?}");
    if text == "*" {
        return Ok(AllowedOrigin(text.to_owned()));
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
    Ok(AllowedOrigin(text.to_owned()))
}

/// Reads a number of events.
pub(super) fn events(text: &str) -> Result<u64, String> {
    // The parser of u64 also accepts a leading plus sign.
    let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.filter(|number| *number <= MAX_EXACT_INTEGER).ok_or_else(|| {
        format!("expected a whole number of events from 0 to {MAX_EXACT_INTEGER}, got {text:?}")
    })
}

/// Reads a number of seconds within `range`, fractions allowed.
pub(super) fn seconds(text: &str, range: &RangeInclusive<f64>) -> Result<Duration, String> {
    // The parser of f64 also accepts 1e3, inf and NaN.
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = text.parse::<f64>().ok().filter(|_| plain);
    let seconds = seconds.filter(|seconds| range.contains(seconds));
    let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let (low, high) = (range.start(), range.end());
    seconds.ok_or_else(|| format!("expected a number of seconds from {low} to {high}, got {text:?}"))
}

/// Checks the path of a database.
pub(super) fn database(path: &Path) -> Result<(), String> {
    // SQLite would open a database in memory, which is lost with the process.
    if path.as_os_str() == ":memory:" {
        return Err("expected the path of a file, got \":memory:\"".to_owned());
    }
    Ok(())
}

/// Reads the path in `sqlite:PATH`. Errors never quote the text: URLs of databases hold passwords.
pub(super) fn event_store(text: &str) -> Result<PathBuf, String> {
    let (scheme, path) = text.split_once(':').unwrap_or((text, ""));
    match scheme {
        // After two slashes a URL has a host name, which is empty for a file: sqlite:///path is /path.
        "sqlite" => match path.strip_prefix("//").unwrap_or(path) {
            "" => Err("expected sqlite:PATH, got no path".to_owned()),
            rest if path.starts_with("//") && !rest.starts_with('/') => {
                Err("expected sqlite:PATH, or sqlite:///PATH for an absolute path, got a host name"
                    .to_owned())
            }
            path => database(Path::new(path)).map(|()| PathBuf::from(path)),
        },
        "postgres" | "postgresql" => Err("postgres is not built in; use sqlite:PATH".to_owned()),
        "mysql" => Err("mysql is not built in; use sqlite:PATH".to_owned()),
        _ => Err("expected sqlite:PATH, got another scheme".to_owned()),
    }
}

pub(super) fn http_engine(text: &str) -> Result<Engine, String> {
    match text {
        "blocking" => Ok(Engine::Blocking),
        #[cfg(feature = "tiny_http")]
        "tiny_http" => Ok(Engine::TinyHttp),
        #[cfg(not(feature = "tiny_http"))]
        "tiny_http" => Err("tiny_http is not built in (cargo feature tiny_http); use blocking".to_owned()),
        _ => Err(format!("expected blocking, or tiny_http if built in, got {text:?}")),
    }
}

pub(super) fn log_level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "error" => Ok(LevelFilter::Error),
        "warn" => Ok(LevelFilter::Warn),
        "info" => Ok(LevelFilter::Info),
        "debug" => Ok(LevelFilter::Debug),
        _ => Err(format!("expected error, warn, info or debug, got {text:?}")),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("expected text or json, got {text:?}")),
    }
}
