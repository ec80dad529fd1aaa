//! Registry, write service and read services that belong together.

use std::path::Path;

use crate::Result;
use crate::process::{Binary, Directory, Process};

/// A write service on some file, with a registry and a directory for what belongs to them.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) write: Process,
    pub(crate) registry: Process,
    pub(crate) directory: Directory,
}

impl System {
    /// On a fresh file.
    pub(crate) fn fresh(name: &str) -> Result<Self> {
        let directory = Directory::fresh(name)?;
        Self::start(&directory.join("write_db.sqlite3"), directory)
    }

    /// On a file that is there.
    pub(crate) fn on(write_db: &Path, name: &str) -> Result<Self> {
        Self::start(write_db, Directory::fresh(name)?)
    }

    fn start(write_db: &Path, directory: Directory) -> Result<Self> {
        let registry = Process::registry()?;
        let write = Process::service(Binary::Write, Some(write_db), Some(&registry))?;
        Ok(Self { write, registry, directory })
    }

    /// A read service on the file of that name, which is made when it is not there.
    pub(crate) fn read(&self, db: &str) -> Result<Process> {
        Process::service(Binary::Read, Some(&self.directory.join(db)), Some(&self.registry))
    }
}
