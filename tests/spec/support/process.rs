//! The real binaries as processes.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{Client, DEADLINE, Directory, wait_for};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Registry,
    Write,
    Read,
    Tally,
}

impl Binary {
    pub(crate) const ALL: [Binary; 4] = [Binary::Registry, Binary::Write, Binary::Read, Binary::Tally];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Registry => "service-registry",
            Self::Write => "write-service",
            Self::Read => "read-service",
            Self::Tally => "tally",
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Registry => env!("CARGO_BIN_EXE_service-registry"),
            Self::Write => env!("CARGO_BIN_EXE_write-service"),
            Self::Read => env!("CARGO_BIN_EXE_read-service"),
            Self::Tally => env!("CARGO_BIN_EXE_tally"),
        }
    }
}

/// How a process is to be started. It can be started again, on the same data.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    binary: Binary,
    directory: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(String, OsString)>,
    /// A program and its arguments, which runs the binary as a command of its own.
    wrapper: Vec<OsString>,
    /// The file of the binary, where it is not the one of this build.
    file: Option<PathBuf>,
}

impl Launch {
    /// In that directory, where its data files are; without any flag.
    pub(crate) fn of(binary: Binary, directory: &Directory) -> Self {
        let directory = directory.path().to_owned();
        let (arguments, variables, wrapper) = Default::default();
        Self { binary, directory, arguments, variables, wrapper, file: None }
    }

    /// On a free port of 127.0.0.1.
    pub(crate) fn on_free_port(binary: Binary, directory: &Directory) -> Self {
        let flags: &[&str] = match binary {
            Binary::Registry | Binary::Write | Binary::Read => &["--listen"],
            Binary::Tally => &["--registry-listen", "--write-listen", "--read-listen"],
        };
        flags.iter().fold(Self::of(binary, directory), |launch, flag| launch.flag(flag, "127.0.0.1:0"))
    }

    pub(crate) fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub(crate) fn flag(self, flag: &str, value: impl AsRef<OsStr>) -> Self {
        self.argument(flag).argument(value)
    }

    pub(crate) fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// As an argument of that command, which must become it, as `exec` does.
    pub(crate) fn under(mut self, command: &[&str]) -> Self {
        self.wrapper = command.iter().map(OsString::from).collect();
        self
    }

    /// From another build.
    pub(crate) fn from(mut self, file: PathBuf) -> Self {
        self.file = Some(file);
        self
    }

    /// Starts it and waits until it says that it is ready.
    pub(crate) fn start(&self) -> Process {
        let mut process = self.spawn();
        process.wait_until_ready();
        process
    }

    /// Starts it and waits until it has ended by itself.
    pub(crate) fn run(&self) -> Ended {
        self.spawn().ended()
    }

    /// Starts it; [`Process::wait_until_ready`] must come before its address is asked for.
    pub(crate) fn spawn(&self) -> Process {
        let binary = self.file.clone().unwrap_or_else(|| self.binary.path().into());
        let words: Vec<_> = self.wrapper.iter().cloned().chain([binary.into()]).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        // The tester's own settings are none of a test's business.
        let foreign = std::env::vars_os().map(|(name, _)| name);
        for name in foreign.filter(|name| name.to_string_lossy().starts_with("TALLY_")) {
            command.env_remove(name);
        }
        command.args(&self.arguments).envs(self.variables.iter().cloned()).current_dir(&self.directory);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = collect(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let lines = Mutex::new(lines);
        Process { binary: self.binary, child, lines, stdout: Vec::new(), stderr, addresses: Vec::new() }
    }
}

type Shared = Arc<Mutex<String>>;

fn collect(stream: impl Read + Send + 'static) -> Shared {
    let text = Shared::default();
    let collected = Arc::clone(&text);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut collected = collected.lock().unwrap();
            collected.push_str(&line);
            collected.push('\n');
        }
    });
    text
}

/// A running process; it is killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    binary: Binary,
    child: Child,
    // In a lock only so that a process can be shared between threads.
    lines: Mutex<Receiver<String>>,
    stdout: Vec<String>,
    stderr: Shared,
    addresses: Vec<(String, String)>,
}

/// A process that has ended, and all that it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: String,
}

impl Process {
    /// Waits for the line that says where it listens; the last of the three for `tally`.
    pub(crate) fn wait_until_ready(&mut self) {
        let last = match self.binary {
            Binary::Registry | Binary::Write | Binary::Read => self.binary,
            Binary::Tally => Binary::Read,
        };
        let deadline = Instant::now() + DEADLINE;
        while !self.addresses.iter().any(|(name, _)| name == last.name()) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.get_mut().unwrap().recv_timeout(left) else {
                panic!("{} is not ready: {}", self.binary.name(), self.stderr());
            };
            let address = line.split_once(" listening on http://");
            self.addresses.extend(address.map(|(name, address)| (name.to_owned(), address.to_owned())));
            self.stdout.push(line);
        }
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        self.address_of(self.binary)
    }

    /// `HOST:PORT` of one of the services in the process.
    pub(crate) fn address_of(&self, service: Binary) -> &str {
        let mut addresses = self.addresses.iter();
        &addresses.find(|(name, _)| name == service.name()).expect("the process is ready").1
    }

    /// A client of one of the services in the process.
    pub(crate) fn client_of(&self, service: Binary) -> Client {
        Client::of(&format!("http://{}", self.address_of(service)))
    }

    /// `http://HOST:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub(crate) fn client(&self) -> Client {
        Client::of(&self.url())
    }

    /// The next `count` lines on stdout that begin so.
    pub(crate) fn next_lines(&self, prefix: &str, count: usize) -> Vec<String> {
        let deadline = Instant::now() + DEADLINE;
        let received = self.lines.lock().unwrap();
        let next = || received.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        let lines = std::iter::from_fn(|| next().ok());
        let found: Vec<_> = lines.filter(|line| line.starts_with(prefix)).take(count).collect();
        assert_eq!(found.len(), count, "{} printed too few lines: {found:?}", self.binary.name());
        found
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has a file of that name open.
    pub(crate) fn has_open(&self, name: &str) -> bool {
        // It may have ended meanwhile.
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.id()));
        let paths = descriptors.into_iter().flatten().flatten();
        paths.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|path| path.ends_with(name))
    }

    /// What it has logged so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_for(&format!("{} logs {text:?}", self.binary.name()), || {
            self.stderr().contains(text).then_some(())
        });
    }

    /// Sends a signal: `TERM`, `INT`, `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status().unwrap();
        assert!(status.success(), "kill -{name} failed");
    }

    /// As a power cut would: SIGKILL. The memory of the process is gone, its files are not.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and all that it said until its end.
    pub(crate) fn stop(self) -> Ended {
        self.signal("TERM");
        self.ended()
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(mut self) -> Ended {
        let deadline = Instant::now() + DEADLINE;
        // Its stdout is closed when it ends.
        loop {
            match self
                .lines
                .get_mut()
                .unwrap()
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.stdout.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{} does not end: {}", self.binary.name(), self.stderr())
                }
            }
        }
        let status = wait_for("the process ends", || self.child.try_wait().unwrap());
        // The collector lets go of the text when stderr is closed.
        wait_for("stderr is closed", || (Arc::strong_count(&self.stderr) == 1).then_some(()));
        Ended { status, stdout: std::mem::take(&mut self.stdout), stderr: self.stderr() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- stderr of {}\n{}", self.binary.name(), self.stderr());
        }
    }
}
