//! The directory and the processes in which the commands of a document run.
//!
//! ```text
//! cargo run --release [-- FLAGS]          starts the three services in one process, on free ports
//! pkill -9 -x 'tally|write-service'       kills the process; without -9, stops it in an orderly way
//! curl …, tally …                         are sent to it
//! cargo run --example NAME [-- WORDS]     runs the example
//! rm -f FILES, just reset                 remove files of the directory
//! ```
//!
//! Other tasks of the justfile, `cargo test` and `cargo build --release` do not run here: CI runs them.

use std::path::Path;
use std::time::Instant;

use super::document::{Document, Step, matches};
use super::shell::{Curl, words};
use crate::support::{Binary, Client, DEADLINE, Directory, Launch, Process, Reply};

/// The ports in the text; the processes here have free ones.
const PORTS: [(Binary, &str); 3] =
    [(Binary::Registry, "7000"), (Binary::Write, "7001"), (Binary::Read, "7002")];
const START: &str = "cargo run --release";
const RUN_AN_EXAMPLE: &str = "cargo run --example ";
/// The commands of the command line that change nothing.
const QUERIES: [&str; 6] = ["account", "accounts", "events", "projections", "services", "trace"];

/// The services, and the directory in which they are started again.
pub(crate) struct Stage {
    // Dropped in this order: the process before the directory that it uses.
    services: Option<Process>,
    directory: Directory,
}

/// What a step asks of the services.
enum Request {
    Curl(Curl),
    /// The arguments of the command line `tally`.
    Tally(Vec<String>),
}

impl Request {
    /// Whether the request may be sent again.
    fn is_query(&self) -> bool {
        match self {
            Self::Curl(curl) => curl.method == "GET",
            Self::Tally(words) => QUERIES.contains(&&*words[0]),
        }
    }
}

impl Stage {
    /// An empty directory, without any process.
    pub(crate) fn empty() -> Self {
        Self { services: None, directory: Directory::fresh() }
    }

    /// Runs a whole document in an empty directory.
    pub(crate) fn run(document: &Document) {
        assert!(!document.steps.is_empty(), "a document without commands");
        let mut stage = Self::empty();
        document.steps.iter().for_each(|step| stage.perform(step));
    }

    pub(crate) fn perform(&mut self, step: &Step) {
        match step.command.as_str() {
            "cargo test" | "cargo build --release" => {}
            "pkill -9 -x 'tally|write-service'" => self.services.take().expect("they run").kill(),
            "pkill -x 'tally|write-service'" => drop(self.services.take().expect("they run").stop()),
            "just reset" => self.reset(),
            command if command.starts_with("rm -f ") => self.remove(command),
            command if command.starts_with("just ") => require_recipe(step),
            command if command.starts_with(START) => self.start(command),
            command if command.starts_with(RUN_AN_EXAMPLE) => self.run_example(step),
            command if command.starts_with("tally ") => {
                self.compare(step, &Request::Tally(words(command).split_off(1)));
            }
            command => self.compare(step, &Request::Curl(Curl::parse(command))),
        }
    }

    fn start(&mut self, command: &str) {
        let flags = words(&command[START.len()..]);
        assert!(flags.first().is_none_or(|first| first == "--"), "cannot run {command}");
        assert!(self.services.is_none(), "{command}: the services run already");
        let launch = Launch::on_free_port(Binary::Tally, &self.directory);
        self.services = Some(flags.iter().skip(1).fold(launch, Launch::argument).start());
    }

    fn reset(&mut self) {
        assert!(self.services.is_none(), "just reset: stop the services first");
        self.directory = Directory::fresh();
    }

    fn remove(&self, command: &str) {
        assert!(self.services.is_none(), "{command}: stop the services first");
        for file in &words(command)[2..] {
            assert!(Path::new(file).components().count() == 1, "{command}: not in this directory");
            // `rm -f` is content with a file that is absent.
            drop(std::fs::remove_file(self.directory.path().join(file)));
        }
    }

    fn run_example(&self, step: &Step) {
        let words = words(&step.command[RUN_AN_EXAMPLE.len()..]);
        let profile = Path::new(Binary::Tally.path()).parent().expect("a folder of binaries");
        let example = profile.join("examples").join(&words[0]);
        assert!(example.exists(), "{}: build it first: cargo build --examples", step.place);
        let launch = std::process::Command::new(example)
            .args(words.iter().skip(2))
            .current_dir(self.directory.path())
            .output();
        let ended = launch.unwrap();
        let shown = String::from_utf8(ended.stdout).unwrap() + &String::from_utf8(ended.stderr).unwrap();
        let lines: Vec<_> = shown.lines().map(str::to_owned).collect();
        assert!(matches(&step.answer, &lines), "{}: {}\nanswers\n{shown}", step.place, step.command);
    }

    /// The read side follows the write side, so a query is sent again until the answer is as written. A
    /// command is sent once.
    fn compare(&self, step: &Step, request: &Request) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = match request {
                Request::Curl(curl) => self.send(curl),
                Request::Tally(words) => self.type_in(words),
            };
            if matches(&step.answer, &answer) {
                return;
            }
            assert!(
                request.is_query() && Instant::now() < deadline,
                "{}: {}\nanswers\n{}",
                step.place,
                step.command,
                answer.join("\n")
            );
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
    }

    fn send(&self, curl: &Curl) -> Vec<String> {
        let services = self.services.as_ref().expect("they run");
        let service = PORTS.iter().find(|(_, port)| *port == curl.port).expect("a port of a service").0;
        let headers: Vec<_> = curl.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let body = curl.body.as_deref().map(str::as_bytes);
        let client: Client = services.client_of(service);
        let reply = client.try_send(&curl.method, &curl.path, &headers, body).unwrap();
        let mut text = if curl.shows_head { head(&reply) } else { String::new() };
        text.push_str(reply.text());
        self.with_written_ports(text)
    }

    /// Runs a command of the command line, and returns what a terminal shows of it.
    fn type_in(&self, arguments: &[String]) -> Vec<String> {
        let services = self.services.as_ref().expect("they run");
        let registry = format!("http://{}", services.address_of(Binary::Registry));
        let launch = arguments.iter().fold(Launch::of(Binary::Tally, &self.directory), Launch::argument);
        let ended = launch.variable("TALLY_REGISTRY", registry).run();
        let stdout: String = ended.stdout.iter().map(|line| format!("{line}\n")).collect();
        self.with_written_ports(stdout + &ended.stderr)
    }

    fn with_written_ports(&self, mut text: String) -> Vec<String> {
        let services = self.services.as_ref().expect("they run");
        for (service, port) in PORTS {
            let actual = services.address_of(service).rsplit(':').next().unwrap();
            text = text.replace(&format!("\"port\":{actual},"), &format!("\"port\":{port},"));
            text = text.replace(&format!("127.0.0.1:{actual}"), &format!("127.0.0.1:{port}"));
        }
        text.lines().map(str::to_owned).collect()
    }
}

/// A task of the justfile does not run here, but it must exist.
fn require_recipe(step: &Step) {
    let name = words(&step.command).swap_remove(1);
    let recipes = include_str!("../../../justfile");
    let exists = recipes.lines().any(|line| line.split([' ', ':']).next() == Some(&name));
    assert!(exists, "{}: the justfile has no recipe {name}", step.place);
}

/// The head as curl prints it. The client forgets how names are written: they are compared as most
/// are.
fn head(reply: &Reply) -> String {
    let reason = ureq::http::StatusCode::from_u16(reply.status).unwrap();
    let mut head = format!("HTTP/1.1 {reason}\n");
    for (name, value) in &reply.headers {
        let words = name.as_str().split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
        let name = words.collect::<Vec<_>>().join("-").replace("Etag", "ETag");
        head.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    head + "\n"
}
