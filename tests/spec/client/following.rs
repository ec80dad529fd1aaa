//! `tally events` and `tally trace`: the log on a terminal, followed over a restart.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tally::read_side::projections;

use super::{Served, command};
use crate::support::{Process, System, wait_until};

fn positions(lines: &[String]) -> Vec<u64> {
    let position = |line: &String| serde_json::from_str::<Value>(line).unwrap()["position"].as_u64().unwrap();
    lines.iter().map(position).collect()
}

fn deposits(write: &Process, id: &str, count: usize) {
    for _ in 0..count {
        write.client().post(&format!("/accounts/{id}/deposit"), &json!({"amount": 1})).expect(200);
    }
}

#[test]
fn the_log_is_followed_over_a_restart_of_the_write_side_without_a_gap_or_a_repetition() {
    let System { registry, write, directory, .. } = System::start();
    let opened = write.client().post("/accounts", &json!({"owner": "Ada"})).expect(201).json();
    let id = opened["stream_id"].as_str().unwrap();
    let follower =
        command(&directory, &["events", "--follow", "--json"]).flag("--registry", registry.url()).spawn();
    deposits(&write, id, 20);
    let mut lines = follower.next_lines("{", 21);
    write.kill();
    follower.wait_for_log("the write service does not answer");
    let write = System::write(&directory, &registry.url()).start();
    deposits(&write, id, 20);
    lines.extend(follower.next_lines("{", 20));
    assert_eq!(positions(&lines), (1..=41).collect::<Vec<_>>());
    follower.signal("INT");
    let ended = follower.ended();
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(0), 0), "{ended:?}");
}

#[test]
fn without_follow_the_log_ends_where_it_ended_at_the_start() {
    let served = Served::start();
    let (ada, bob) = (served.open(), served.open());
    (0..3).for_each(|_| drop(served.run(&["deposit", &ada, "5", "--no-wait"])));
    assert_eq!(positions(&served.run(&["events", "--json"]).stdout), [1, 2, 3, 4, 5]);
    assert_eq!(positions(&served.run(&["events", "--json", "--after", "3"]).stdout), [4, 5]);
    assert_eq!(positions(&served.run(&["events", "--json", "--stream", &bob]).stdout), [2]);
    let chosen = ["events", "--json", "--stream", &ada, "--type", "MoneyDeposited", "--after", "3"];
    assert_eq!(positions(&served.run(&chosen).stdout), [4, 5]);
    let table = served.run(&["events"]).stdout;
    assert!(table.len() == 6 && table[0].starts_with("position") && table[5].contains("MoneyDeposited"));
    let beyond = served.command(&["events", "--after", "99"]).run();
    assert!(beyond.status.code() == Some(1) && beyond.stderr.contains("found 5"), "{beyond:?}");
}

#[test]
fn the_write_side_sends_the_events_of_one_type() {
    let served = Served::start();
    let id = served.open();
    (0..3).for_each(|_| drop(served.run(&["deposit", &id, "5", "--no-wait"])));
    served.run(&["withdraw", &id, "5", "--no-wait"]);
    let deposits = served.run(&["events", "--json", "--type", "MoneyDeposited"]).stdout;
    assert_eq!(positions(&deposits), [2, 3, 4]);
    assert_eq!(served.run(&["events", "--json", "--type", "Nothing"]).stdout.len(), 0);
}

#[test]
fn a_trace_shows_what_one_request_caused() {
    let served = Served::start();
    let (ada, bob) = (served.open(), served.open());
    served.run(&["deposit", &ada, "500", "--no-wait"]);
    served.run(&["transfer", &ada, &bob, "250"]);
    let trace = served.json(&["trace", "5"]);
    let events = trace["events"].as_array().unwrap();
    assert_eq!(events.iter().map(|event| &event["position"]).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(trace["projections"].as_array().unwrap().len(), projections().len());
    let correlation = trace["correlation_id"].as_str().unwrap();
    let text = served.run(&["trace", correlation]).stdout.join("\n");
    for part in [correlation, "├─ 4", "└─ 5", "projection accounts has them"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    for (wrong, part) in [("99", "there is no event 99"), ("unheard-of", "no event has the correlation")] {
        let ended = served.command(&["trace", wrong]).run();
        assert!(ended.status.code() == Some(1) && ended.stderr.contains(part), "{ended:?}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let served = Served::start();
    let id = served.open();
    served.run(&["load", "--rate", "500", "--seconds", "2"]);
    for arguments in [&["events"][..], &["accounts"], &["export"], &["events", "--follow"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tally"))
            .args(arguments)
            .env_clear()
            .envs((arguments[0] != "export").then(|| ("TALLY_REGISTRY", served.registry())))
            .current_dir(served.directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Closed before the first line was read.
        drop(child.stdout.take());
        // For a follower that has printed all: the next event finds the pipe closed.
        served.run(&["deposit", &id, "1", "--no-wait"]);
        wait_until("the command ends", || child.try_wait().unwrap().is_some());
        let ended = child.wait_with_output().unwrap();
        assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &b""[..]), "{arguments:?}");
    }
}
