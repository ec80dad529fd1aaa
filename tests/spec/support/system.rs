//! The whole system: three processes on free ports, with short heartbeats.

use super::{Binary, Client, Directory, Launch, Process};

/// Registry, write side and read side. The fields can be taken out, killed and started again.
#[derive(Debug)]
pub(crate) struct System {
    // In this order they are dropped: processes before the directory that they use.
    pub(crate) read: Process,
    pub(crate) write: Process,
    pub(crate) registry: Process,
    pub(crate) directory: Directory,
}

impl System {
    /// All three, ready.
    pub(crate) fn start() -> Self {
        Self::on(Directory::fresh())
    }

    /// All three, ready, on the data that is there.
    pub(crate) fn on(directory: Directory) -> Self {
        let registry = Self::registry(&directory).start();
        let write = Self::write(&directory, &registry.url()).start();
        let read = Self::read(&directory, &registry.url()).start();
        Self { read, write, registry, directory }
    }

    pub(crate) fn registry(directory: &Directory) -> Launch {
        Launch::on_free_port(Binary::Registry, directory).flag("--ttl", "2")
    }

    pub(crate) fn write(directory: &Directory, registry: &str) -> Launch {
        Self::side(Binary::Write, directory, registry)
    }

    pub(crate) fn read(directory: &Directory, registry: &str) -> Launch {
        Self::side(Binary::Read, directory, registry)
    }

    fn side(binary: Binary, directory: &Directory, registry: &str) -> Launch {
        Launch::on_free_port(binary, directory)
            .flag("--registry", registry)
            .flag("--heartbeat-interval", "0.2")
    }

    pub(crate) fn commands(&self) -> Client {
        self.write.client()
    }

    pub(crate) fn queries(&self) -> Client {
        self.read.client()
    }
}
