//! The command line of `tally`: each command against real services, with its failures.

mod commands;
mod following;
mod transcripts;

use serde_json::Value;

use crate::support::{Binary, Directory, Ended, Launch, Process, wait_until};

/// All three services in one process, and a place to run commands in.
struct Served {
    process: Process,
    directory: Directory,
}

impl Served {
    fn start() -> Self {
        let directory = Directory::fresh();
        let process = Launch::on_free_port(Binary::Tally, &directory).start();
        // A read side that has not met its write side yet answers 503.
        let read = process.client_of(Binary::Read);
        wait_until("the read side is ready", || read.get("/ready").status == 200);
        Self { process, directory }
    }

    fn registry(&self) -> String {
        format!("http://{}", self.process.address_of(Binary::Registry))
    }

    /// A command line, which finds the services.
    fn command(&self, arguments: &[&str]) -> Launch {
        command(&self.directory, arguments).variable("TALLY_REGISTRY", self.registry())
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ended {
        let ended = self.command(arguments).run();
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {ended:?}");
        ended
    }

    /// The one JSON document that a command prints.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(ended.stdout.len(), 1, "{ended:?}");
        serde_json::from_str(&ended.stdout[0]).unwrap()
    }

    /// Opens an account on the command line and returns its id.
    fn open(&self) -> String {
        let opened = self.json(&["open", "--owner", "Ada"]);
        opened["receipt"]["stream_id"].as_str().unwrap().to_owned()
    }
}

fn command(directory: &Directory, arguments: &[&str]) -> Launch {
    arguments.iter().fold(Launch::of(Binary::Tally, directory), Launch::argument)
}
