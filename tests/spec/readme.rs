//! README.md, executed: every command of its `console` blocks runs against a real process, and every
//! answer is compared with the one in the text, line by line.
//!
//! The commands are read here and not by a shell, so that the tests need neither curl nor free
//! default ports. What this does not understand, it refuses: a command that is not run is a lie in
//! waiting. Only `cargo test`, by which this runs, and `cargo build --release` are not run.

use std::time::Instant;

use crate::support::{Binary, Client, DEADLINE, Directory, Launch, Process, Reply};

/// Stands for any text in a line, and alone in a line for any number of lines.
const ANYTHING: &str = "…";
/// The ports in the text; the processes here have free ones.
const PORTS: [(Binary, &str); 3] =
    [(Binary::Registry, "7000"), (Binary::Write, "7001"), (Binary::Read, "7002")];

#[test]
fn every_command_of_the_readme_answers_as_written() {
    let mut stage = Stage { services: None, directory: Directory::fresh() };
    let steps = steps(include_str!("../../README.md"));
    assert!(steps.len() > 10, "the walk was not found");
    steps.iter().for_each(|step| stage.perform(step));
}

// ------------------------------------------------------------------------------- the text

struct Step {
    line: usize,
    command: String,
    answer: Vec<String>,
}

/// The commands of the `console` blocks, each with what it answers.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_console = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            is_console = language == "console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| is_console) {
            steps.push(Step { line: index + 1, command: command.to_owned(), answer: Vec::new() });
        } else if is_console {
            steps.last_mut().expect("a block begins with a command").answer.push(line.to_owned());
        }
    }
    steps
}

/// Whether lines are as they are written.
fn matches(written: &[String], lines: &[String]) -> bool {
    match written.split_first() {
        None => lines.is_empty(),
        Some((any, rest)) if any == ANYTHING => {
            (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..]))
        }
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, lines)| line_matches(first, line) && matches(rest, lines))
        }
    }
}

fn line_matches(written: &str, line: &str) -> bool {
    match written.split_once(ANYTHING) {
        None => written == line,
        Some((start, rest)) => line.strip_prefix(start).is_some_and(|line| {
            line.char_indices()
                .map(|(at, _)| at)
                .chain([line.len()])
                .any(|at| line_matches(rest, &line[at..]))
        }),
    }
}

// ------------------------------------------------------------------------------ the stage

/// The services, and the directory that they are started in again.
struct Stage {
    // In this order they are dropped: the process before the directory that it uses.
    services: Option<Process>,
    directory: Directory,
}

impl Stage {
    fn perform(&mut self, step: &Step) {
        match step.command.as_str() {
            "cargo test" | "cargo build --release" => {}
            "cargo run --release" => {
                self.services = Some(Launch::on_free_port(Binary::Tally, &self.directory).start());
            }
            "pkill -9 -x 'tally|write-service'" => self.services.take().expect("they run").kill(),
            command if command.starts_with("tally ") => self.compare(step, &Request::tally(command)),
            command => self.compare(step, &Request::curl(command)),
        }
    }

    /// The read side follows the write side, so a query is asked again until it answers as written. A
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
                "README.md:{}: {}\nanswers\n{}",
                step.line,
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

/// What a step asks of the services.
enum Request {
    Curl(Curl),
    /// The arguments of the command line `tally`.
    Tally(Vec<String>),
}

/// The commands of the command line that change nothing.
const QUERIES: [&str; 6] = ["account", "accounts", "events", "projections", "services", "trace"];

impl Request {
    fn curl(command: &str) -> Self {
        Self::Curl(Curl::parse(command))
    }

    fn tally(command: &str) -> Self {
        Self::Tally(words(command).split_off(1))
    }

    fn is_query(&self) -> bool {
        match self {
            Self::Curl(curl) => curl.method == "GET",
            Self::Tally(words) => QUERIES.contains(&&*words[0]),
        }
    }
}

// ---------------------------------------------------------------------------------- curl

/// As much of curl as README.md uses.
#[derive(Default)]
struct Curl {
    method: String,
    port: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
    shows_head: bool,
}

impl Curl {
    fn parse(command: &str) -> Self {
        let mut words = words(command).into_iter();
        assert_eq!(words.next().as_deref(), Some("curl"), "cannot run {command}");
        let mut curl = Self::default();
        let mut method = None;
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word} has no value in {command}"));
            match word.as_str() {
                "-s" => {}
                "-i" => curl.shows_head = true,
                "-X" => method = Some(value()),
                "-H" => {
                    let header = value();
                    let (name, value) = header.split_once(": ").expect("a header has a name");
                    curl.headers.push((name.to_owned(), value.to_owned()));
                }
                "--json" => {
                    curl.body = Some(value());
                    curl.headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
                    curl.headers.push(("Accept".to_owned(), "application/json".to_owned()));
                }
                url => {
                    let rest = url.strip_prefix("http://127.0.0.1:").unwrap_or_else(|| {
                        panic!("neither a flag that this test knows nor a URL: {url} in {command}")
                    });
                    let path = rest.find('/').expect("a URL has a path");
                    (curl.port, curl.path) = (rest[..path].to_owned(), rest[path..].to_owned());
                }
            }
        }
        let default = if curl.body.is_some() { "POST" } else { "GET" };
        curl.method = method.unwrap_or_else(|| default.to_owned());
        curl
    }
}

/// The words of a command, without their single quotes; a shell would look into anything else.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (index, part) in command.split('\'').enumerate() {
        if index % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
            continue;
        }
        assert!(!part.contains(['"', '\\', '$', '&', '|', ';', '*', '?']), "quote it: {command}");
        let mut rest = part.split(' ');
        words.last_mut().unwrap().push_str(rest.next().unwrap());
        words.extend(rest.map(str::to_owned));
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn a_command_that_cannot_be_run_is_refused() {
    for command in
        ["curl -k http://127.0.0.1:7001/", "wget http://127.0.0.1:7001/", "curl \"http://x\"", "ls"]
    {
        assert!(std::panic::catch_unwind(|| Curl::parse(command)).is_err(), "{command}");
    }
}

#[test]
fn an_answer_that_differs_is_noticed() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let answer = lines("HTTP/1.1 200 OK\nDate: today\n\n{\"a\":1,\"b\":2}");
    for written in ["…", "HTTP/1.1 200 OK\n…\n{\"a\":1,…}", "HTTP/1.1 …\nDate: …\n\n{…\"b\":2}"] {
        assert!(matches(&lines(written), &answer), "{written}");
    }
    for written in ["", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\n…\n{\"a\":2,…}", "…\n{…\"b\":2", "…\nx"]
    {
        assert!(!matches(&lines(written), &answer), "{written}");
    }
}
