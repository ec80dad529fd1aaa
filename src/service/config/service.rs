//! The settings that every service has, and the readers that several configurations share.
//!
//! **Invariant:** a setting has one default: the text in the row of its flag.
//!
//! Read next: `config/values.rs`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::flag_parser::{Flag, GivenFlags, UsageError};
use super::flags::{HEARTBEAT_INTERVAL, HTTP_ENGINE, LOG, LOG_FORMAT, POLL_INTERVAL, REGISTRY};
use super::values::{self, Advertise, AllowedOrigin, ListenAddress};
use crate::discovery::BaseUrl;
use crate::http::Engine;
use crate::service::logger::LogOptions;

/// The range of a heartbeat interval, in seconds. Below, a busy machine misses heartbeats; above, the list
/// of services is stale for hours.
pub(super) const HEARTBEAT_SECONDS: RangeInclusive<f64> = 0.01..=3_600.0;
/// The range of a poll interval, in seconds. The event feed lets no request wait longer than 30 s.
const POLL_SECONDS: RangeInclusive<f64> = 0.01..=30.0;

/// The settings that every service has.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceConfig {
    /// The address to listen on.
    pub listen: ListenAddress,
    /// The address to register, unless the listening address.
    pub advertise: Option<Advertise>,
    /// The HTTP engine.
    pub engine: Engine,
    /// Web pages that may call the service, besides pages from a loopback address.
    pub allow_origins: Vec<AllowedOrigin>,
    /// Host names that the service answers to, besides its own names.
    pub allow_hosts: Vec<String>,
    /// What to log, and how.
    pub log: LogOptions,
}

pub(super) fn service(given: &GivenFlags, listen: &Flag) -> Result<ServiceConfig, UsageError> {
    Ok(ServiceConfig {
        listen: given.value(listen, values::listen)?,
        advertise: given.one("advertise", values::advertise)?,
        engine: given.value(&HTTP_ENGINE, values::http_engine)?,
        allow_origins: given.several("allow-origin", values::origin)?,
        allow_hosts: given.several("allow-host", values::allowed_host)?,
        log: LogOptions {
            level: given.value(&LOG, values::log_level)?,
            format: given.value(&LOG_FORMAT, values::log_format)?,
        },
    })
}

pub(super) fn heartbeat_interval(given: &GivenFlags) -> Result<Duration, UsageError> {
    given.value(&HEARTBEAT_INTERVAL, |text| values::seconds(text, &HEARTBEAT_SECONDS))
}

pub(super) fn poll_interval(given: &GivenFlags) -> Result<Duration, UsageError> {
    given.value(&POLL_INTERVAL, |text| values::seconds(text, &POLL_SECONDS))
}

pub(super) fn registries(given: &GivenFlags) -> Result<Vec<BaseUrl>, UsageError> {
    let registries = given.several(REGISTRY.name, values::url)?;
    if registries.is_empty() { Ok(vec![given.value(&REGISTRY, values::url)?]) } else { Ok(registries) }
}

/// Reads the path of a database. The service checks the file at the path.
pub(super) fn database(given: &GivenFlags, flag: &str) -> Result<Option<PathBuf>, UsageError> {
    let path = given.path(flag)?;
    match path.as_deref().map(values::database) {
        Some(Err(why)) => Err(given.reject(flag, &why)),
        None | Some(Ok(())) => Ok(path),
    }
}
