//! All three services in one process, for `cargo run`.
//!
//! **Invariant:** the services still talk over HTTP and find each other through the registry only.
//!
//! Read next: `service/registry.rs`.

use std::net::SocketAddr;

use super::config::{AllConfig, Config, Reachable, ReadConfig, RegistryConfig, WriteConfig};
use super::process::{ExitError, announce};
use super::read::ReadService;
use super::registry::RegistryService;
use super::serve::make_folder;
use super::write::WriteService;
use crate::discovery::BaseUrl;

/// All three services in one process.
#[derive(Debug)]
pub struct AllServices {
    read: ReadService,
    write: WriteService,
    registry: RegistryService,
}

impl AllServices {
    /// Starts the services; they serve before the function returns.
    ///
    /// # Errors
    /// When the data directory cannot be made, or a service cannot start.
    pub fn start(mut config: AllConfig) -> Result<Self, ExitError> {
        make_folder(&config.data_dir)?;
        let registry = RegistryService::start(&config.registry)?;
        // Only now is the port known: the configured port may be 0.
        let url = base_url(registry.address())?;
        config.write.registries = vec![url.clone()];
        config.read.side.registries = vec![url];
        let write = WriteService::start(&config.write)?;
        let read = ReadService::start(&config.read)?;
        Ok(Self { read, write, registry })
    }

    /// Prints the listening address of each service on stdout.
    pub fn announce(&self) {
        announce(RegistryConfig::PROGRAM, self.registry.address());
        announce(WriteConfig::PROGRAM, self.write.address());
        announce(ReadConfig::PROGRAM, self.read.address());
    }

    /// Returns the listening addresses of the registry, the write side and the read side.
    pub fn addresses(&self) -> [SocketAddr; 3] {
        [self.registry.address(), self.write.address(), self.read.address()]
    }

    /// Stops the services.
    pub fn stop(self) {
        // Dependents first: the read side follows the write side, and both deregister from the registry.
        self.read.stop();
        self.write.stop();
        self.registry.stop();
    }
}

/// Returns the URL under which this process reaches a listener on `address`.
fn base_url(address: SocketAddr) -> Result<BaseUrl, ExitError> {
    let url = format!("http://{}", Reachable::of(address, None));
    url.parse().map_err(|_| {
        ExitError::new(format!(
            "expected an address that services can connect to, got {url}; choose another --registry-listen"
        ))
    })
}
