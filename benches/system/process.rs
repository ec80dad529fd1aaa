//! The real binaries as processes, in a directory of their own.
//!
//! **Invariant:** nothing outlives the run: a process is killed and the directory removed when its
//! value is dropped.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::client::{Client, get};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Registry,
    Write,
    Read,
}

impl Binary {
    pub(crate) const ALL: [Self; 3] = [Self::Registry, Self::Write, Self::Read];

    pub(crate) fn path(self) -> &'static Path {
        Path::new(match self {
            Self::Registry => env!("CARGO_BIN_EXE_service-registry"),
            Self::Write => env!("CARGO_BIN_EXE_write-service"),
            Self::Read => env!("CARGO_BIN_EXE_read-service"),
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Registry => "service-registry",
            Self::Write => "write-service",
            Self::Read => "read-service",
        }
    }
}

/// An empty directory, on the disk that the build is on.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    pub(crate) fn fresh(name: &str) -> Result<Self> {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}-{name}", std::process::id()));
        // Left behind by a run that was killed and had the same process id.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Removes what runs have left that were killed.
pub(crate) fn remove_leftovers() -> Result<()> {
    for entry in std::fs::read_dir(env!("CARGO_TARGET_TMPDIR"))? {
        let entry = entry?;
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix("bench-")?.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A running process; it is killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
    ready_after: Duration,
}

impl Process {
    /// Starts `command` and waits until it says on stdout where it listens.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let begun = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        // From here on it is killed whatever happens.
        let mut process = Self { child, address: SocketAddr::from(([0; 4], 0)), ready_after: Duration::ZERO };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        process.ready_after = begun.elapsed();
        let address = line.trim_end().split_once("http://").map(|(_, address)| address);
        process.address = address.ok_or_else(|| format!("{command:?} does not start"))?.parse()?;
        Ok(process)
    }

    /// A service on a free port, on the file `db` where it has one.
    pub(crate) fn service(binary: Binary, db: Option<&Path>, registry: Option<&Process>) -> Result<Self> {
        Self::start(&mut Self::command(binary, db, registry))
    }

    pub(crate) fn command(binary: Binary, db: Option<&Path>, registry: Option<&Process>) -> Command {
        let mut command = Command::new(binary.path());
        command.args(["--listen", "127.0.0.1:0", "--log", "error"]);
        if let Some(db) = db {
            command.arg("--db").arg(db);
        }
        if let Some(registry) = registry {
            command.arg("--registry").arg(format!("http://{}", registry.address));
        }
        command
    }

    pub(crate) fn registry() -> Result<Self> {
        // The instances that a run registers are to stay.
        Self::start(Self::command(Binary::Registry, None, None).args(["--ttl", "3600"]))
    }

    /// This program itself, in another of its roles.
    pub(crate) fn myself(arguments: &[impl AsRef<OsStr>]) -> Result<Self> {
        Self::start(Command::new(std::env::current_exe()?).args(arguments))
    }

    /// Waits until a read service has come that far.
    pub(crate) fn wait_for_position(&self, position: u64) -> Result<()> {
        const DEADLINE: Duration = Duration::from_secs(600);
        let request = get(&format!("/position?min_position={position}&wait=10"));
        let mut client = Client::connect(self.address)?;
        let begun = Instant::now();
        while client.exchange(&request)?.status != 200 {
            if begun.elapsed() > DEADLINE {
                return Err(format!("position {position} is not reached").into());
            }
        }
        Ok(())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From the start of the process to its line on stdout.
    pub(crate) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Bytes of memory that it occupies now.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
