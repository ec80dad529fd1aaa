//! All three services in one process, for `cargo run`.

use std::net::SocketAddr;

use super::config::{AllConfig, Config, Reachable, ReadConfig, RegistryConfig, WriteConfig};
use super::process::{StartError, announce};
use super::read::ReadService;
use super::registry::RegistryService;
use super::serve::make_folder;
use super::write::WriteService;
use crate::discovery::BaseUrl;

/// All three services in one process. They still speak to each other over HTTP and through the
/// registry alone.
#[derive(Debug)]
pub struct AllServices {
    read: ReadService,
    write: WriteService,
    registry: RegistryService,
}

impl AllServices {
    /// Starts them; they serve when this returns.
    ///
    /// # Errors
    /// When the data directory cannot be made, or one of them cannot start.
    pub fn start(mut config: AllConfig) -> Result<Self, StartError> {
        make_folder(&config.data_dir)?;
        let registry = RegistryService::start(&config.registry)?;
        let url = base_url(registry.address())?;
        config.write.registries = vec![url.clone()];
        config.read.side.registries = vec![url];
        let write = WriteService::start(&config.write)?;
        let read = ReadService::start(&config.read)?;
        Ok(Self { read, write, registry })
    }

    /// Says on stdout where each of them listens.
    pub fn announce(&self) {
        announce(RegistryConfig::PROGRAM, self.registry.address());
        announce(WriteConfig::PROGRAM, self.write.address());
        announce(ReadConfig::PROGRAM, self.read.address());
    }

    /// Where the write side and the read side listen.
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.write.address(), self.read.address())
    }

    /// Stops them, who depends on another before the other.
    pub fn stop(self) {
        self.read.stop();
        self.write.stop();
        self.registry.stop();
    }
}

/// The URL under which this process reaches what listens on `address`.
fn base_url(address: SocketAddr) -> Result<BaseUrl, StartError> {
    let url = format!("http://{}", Reachable::of(address, None));
    url.parse().map_err(|_| StartError::new(format!("{url} is no address of a registry")))
}
