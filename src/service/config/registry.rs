//! The configuration of `service-registry`.
//!
//! **Invariant:** the advised heartbeat interval is below the TTL.
//!
//! Read next: `src/registry/service.rs`, the meaning of the settings.

use super::command_line::Config;
use super::flag_parser::{Flag, GivenFlags, UsageError};
use super::flags::{
    ADVERTISE, ADVISED_HEARTBEAT_INTERVAL, ALLOW_HOST, ALLOW_ORIGIN, HTTP_ENGINE, LOG, LOG_FORMAT, TTL,
    listen,
};
use super::service::{HEARTBEAT_SECONDS, ServiceConfig, service};
use super::values;
use crate::registry::{RegistryOptions, TTL_SECONDS};
use crate::service::logger::LogOptions;

pub(super) const LISTEN: Flag = listen("127.0.0.1:7000");

/// The configuration of `service-registry`.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryConfig {
    /// The settings that every service has.
    pub service: ServiceConfig,
    /// The settings of the registry. The heartbeat interval is below the TTL.
    pub registry: RegistryOptions,
}

impl RegistryConfig {
    pub(super) fn read(given: &GivenFlags, listen: &Flag) -> Result<Self, UsageError> {
        let ttl = given.value(&TTL, |text| values::seconds(text, &TTL_SECONDS))?;
        let interval = ADVISED_HEARTBEAT_INTERVAL.name;
        let heartbeat_interval = given.one(interval, |text| values::seconds(text, &HEARTBEAT_SECONDS))?;
        // With an interval of one TTL or more, every lease would expire between two heartbeats.
        if let Some(asked) = heartbeat_interval.filter(|asked| *asked >= ttl) {
            let (ttl, asked) = (ttl.as_secs_f64(), asked.as_secs_f64());
            return Err(
                given.reject(interval, &format!("expected less than the TTL of {ttl} seconds, got {asked}"))
            );
        }
        let registry = RegistryOptions { ttl, heartbeat_interval, ..RegistryOptions::default() };
        Ok(Self { service: service(given, listen)?, registry })
    }
}

impl Config for RegistryConfig {
    const PROGRAM: &'static str = "service-registry";
    const SUMMARY: &'static str = "knows which services live, and where";
    const FLAGS: &'static [Flag] = &[
        LISTEN,
        ADVERTISE,
        TTL,
        ADVISED_HEARTBEAT_INTERVAL,
        HTTP_ENGINE,
        ALLOW_ORIGIN,
        ALLOW_HOST,
        LOG,
        LOG_FORMAT,
    ];

    fn log(&self) -> LogOptions {
        self.service.log
    }

    fn from_given(given: &GivenFlags) -> Result<Self, UsageError> {
        Self::read(given, &LISTEN)
    }
}
