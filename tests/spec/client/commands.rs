//! Commands and queries: what they print, for people and for programs, and how they fail.

use serde_json::{Value, json};
use tally::read_side::projections;

use super::{Served, command};
use crate::support::{Binary, Client, Directory, Launch, free_address};

const COMMANDS: [&str; 17] = [
    "open",
    "deposit",
    "withdraw",
    "transfer",
    "close",
    "account",
    "accounts",
    "events",
    "trace",
    "services",
    "projections",
    "load",
    "demo",
    "verify",
    "backup",
    "export",
    "import",
];

#[test]
fn each_command_has_a_help_page_with_an_example_and_the_binary_lists_them_all() {
    let directory = Directory::fresh();
    let list = command(&directory, &["--help"]).run().stdout.join("\n");
    for name in COMMANDS {
        assert!(list.contains(&format!("\n  {name} ")), "{name} is missing in {list}");
        let page = command(&directory, &[name, "--help"]).run();
        assert_eq!((page.status.code(), page.stderr.as_str()), (Some(0), ""), "{page:?}");
        let example = page.stdout.iter().position(|line| line == "Example:").unwrap();
        assert!(page.stdout[example + 1].starts_with(&format!("  tally {name}")), "{page:?}");
    }
}

#[test]
fn a_wrong_command_line_is_one_line_and_status_2() {
    let directory = Directory::fresh();
    for (arguments, part) in [
        (&["evnts"][..], "did you mean events?"),
        (&["serve"], "unknown command"),
        (&["events", "--folow"], "did you mean --follow?"),
        (&["events", "--after", "1e3"], "--after"),
        (&["account"], "expected ID"),
        (&["account", "ada"], "expected a UUID"),
        (&["account", "x\ny"], "expected a UUID"),
        (&["deposit", "0190a5da-c967-74bb-8ccc-b302099a8057", "12.50"], "minor units"),
        (&["load", "--rate", "501"], "1 to 500"),
        (&["accounts", "--registry", "127.0.0.1:1"], "--registry"),
        (&["demo", "--json"], "unknown flag"),
        (&["export", "a", "b"], "unexpected argument"),
        (&["verify", "--db", "a", "--data-dir", "b"], "choose one"),
    ] {
        let ended = command(&directory, arguments).run();
        assert_eq!((ended.status.code(), ended.stdout.len()), (Some(2), 0), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(ended.stderr.starts_with("tally") && ended.stderr.contains(part), "{ended:?}");
    }
}

#[test]
fn a_customer_is_served_on_the_command_line() {
    let served = Served::start();
    let (ada, bob) = (served.open(), served.open());
    served.run(&["deposit", &ada, "1250", "--description", "Wages", "--if-match", "1"]);
    served.run(&["transfer", &ada, &bob, "250"]);
    let withdrawn = served.json(&["withdraw", &ada, "1000"]);
    assert_eq!((&withdrawn["receipt"]["version"], &withdrawn["account"]["balance"]), (&json!(4), &json!(0)));
    let closed = served.run(&["close", &ada]);
    assert!(closed.stdout.iter().any(|line| line == "status      closed"), "{closed:?}");
    let before = served.json(&["account", &ada, "--at-version", "2"]);
    assert_eq!(before["balance"], 1250);
    let opened_at = before["opened_at"].as_str().unwrap();
    assert_eq!(served.json(&["account", &ada, "--as-of", opened_at])["balance"], 0);
    let lines = served.run(&["accounts", "--json"]).stdout;
    assert_eq!(lines.iter().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count(), 2);
    assert_eq!(served.run(&["accounts"]).stdout.len(), 3);
    assert_eq!(served.json(&["projections"])["projections"].as_array().unwrap().len(), projections().len());
    assert_eq!(served.run(&["projections"]).stdout.len(), projections().len() + 1);
    assert!(served.json(&["services"])["services"]["write"].is_array());
    assert_eq!(served.run(&["services"]).stdout.len(), 3);
}

#[test]
fn a_refusal_says_what_to_do_and_status_1() {
    let served = Served::start();
    let id = served.open();
    let refused = served.command(&["withdraw", &id, "1"]).run();
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0), "{refused:?}");
    for part in ["The balance is too small (422 insufficient-funds)", "holds less", "Deposit more"] {
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    let refused = served.command(&["withdraw", &id, "1", "--json"]).run();
    let problem: Value = serde_json::from_str(&refused.stdout[0]).unwrap();
    assert_eq!((refused.status.code(), &problem["type"]), (Some(1), &json!("/problems/insufficient-funds")));
    let stale = served.command(&["deposit", &id, "1", "--if-match", "7"]).run();
    assert!(stale.status.code() == Some(1) && stale.stderr.contains("version-mismatch"), "{stale:?}");
}

#[test]
fn a_command_under_one_key_is_recorded_once() {
    let served = Served::start();
    let id = served.open();
    let deposit = || served.json(&["deposit", &id, "5", "--idempotency-key", "wages-1", "--no-wait"]);
    let first = deposit();
    assert_eq!(first, deposit());
    assert_eq!(first["account"], Value::Null, "not waited for");
    let open = || served.json(&["open", "--owner", "Bob", "--idempotency-key", "bob"])["receipt"].clone();
    assert_eq!(open(), open(), "one account, although the write side makes the id");
    assert_eq!(served.json(&["account", &id])["version"], 2);
}

#[test]
fn no_registry_and_no_service_are_failures_that_say_what_to_do() {
    let directory = Directory::fresh();
    let nowhere = format!("http://{}", free_address());
    for arguments in
        [&["accounts"][..], &["services"], &["open", "--owner", "Ada"], &["events", "--follow"], &["demo"]]
    {
        let ended = command(&directory, arguments).flag("--registry", &nowhere).run();
        assert_eq!((ended.status.code(), ended.stdout.len()), (Some(1), 0), "{ended:?}");
        assert!(ended.stderr.contains("name a registry with --registry"), "{ended:?}");
    }
    let registry = Launch::on_free_port(Binary::Registry, &directory).start();
    let both = format!("{nowhere},{}", registry.url());
    let ended = command(&directory, &["events"]).flag("--registry", &both).run();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("no write service is registered"), "{ended:?}");
    // The second registry was asked in turn.
    assert_eq!(command(&directory, &["services"]).flag("--registry", &both).run().status.code(), Some(0));
}

#[test]
fn a_read_side_that_is_away_does_not_hide_the_receipt() {
    let directory = Directory::fresh();
    let registry = Launch::on_free_port(Binary::Registry, &directory).start();
    let write = Launch::on_free_port(Binary::Write, &directory).flag("--registry", registry.url()).start();
    write.wait_for_log("registered as write");
    let opened = command(&directory, &["open", "--owner", "Ada"]).flag("--registry", registry.url()).run();
    assert_eq!(opened.status.code(), Some(0), "{opened:?}");
    assert!(opened.stdout[0].starts_with("recorded as version 1 at position 1"), "{opened:?}");
    assert!(opened.stderr.contains("does not show it yet"), "{opened:?}");
}

/// The text of a customer reaches the terminal of an operator.
#[test]
fn hostile_text_drives_no_terminal() {
    let served = Served::start();
    let id = served.open();
    // The bank refuses the oldest tricks in names; descriptions and bidirectional text pass.
    let hostile = "\u{1b}[31m\u{9b}2J\r\n\u{202e}evil<b>";
    let client: Client = served.process.client_of(Binary::Write);
    client.post(&format!("/accounts/{id}/deposit"), &json!({"amount": 1, "description": hostile}));
    client.post("/accounts", &json!({"owner": "\u{202e}Eve"}));
    wait_for_accounts(&served, 2);
    for arguments in [&["events"][..], &["accounts"], &["events", "--json"], &["accounts", "--json"]] {
        let text = served.run(arguments).stdout.join("\n");
        let harmful = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(harmful, None, "{arguments:?}: {text:?}");
        assert!(text.contains("202e"), "{text}");
    }
}

fn wait_for_accounts(served: &Served, count: usize) {
    let client = served.process.client_of(Binary::Read);
    crate::support::wait_until("the accounts are there", || {
        client.get("/accounts").json()["accounts"].as_array().map(Vec::len) == Some(count)
    });
}

#[test]
fn without_a_terminal_there_is_no_colour() {
    let served = Served::start();
    for variable in ["NO_COLOR", "CLICOLOR_FORCE"] {
        let text = served.command(&["accounts"]).variable(variable, "1").run().stdout.join("\n");
        assert!(!text.contains('\u{1b}') && text.starts_with("account_id"), "{text:?}");
    }
}

#[test]
fn a_load_reports_each_second_and_a_summary() {
    let served = Served::start();
    let lines = served.run(&["load", "--rate", "40", "--seconds", "1", "--json"]).stdout;
    let last: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!((&last["what"], &last["answered"], &last["failed"]), (&json!("all"), &json!(40), &json!(0)));
    assert!(lines.len() >= 2 && served.run(&["events"]).stdout.len() > 40);
    let people = served.run(&["load", "--rate", "40", "--seconds", "1"]).stdout;
    assert!(people.last().unwrap().starts_with("all ") && people[0].starts_with("second 1 "), "{people:?}");
}

/// Every curl line of the walk, typed into a shell, answers as the walk says.
#[test]
fn the_requests_of_the_demo_work_as_curl_lines() {
    let served = Served::start();
    let text = served.run(&["demo", "--fast"]).stdout;
    let lines: Vec<_> = text.iter().filter_map(|line| line.strip_prefix("  curl")).collect();
    assert!(lines.len() >= 11, "{text:?}");
    for part in ["insufficient-funds", "Idempotency-Key", "min_position", "at_version", "/events?after"] {
        assert!(text.iter().any(|line| line.contains(part)), "{part} is missing in {text:?}");
    }
    for line in lines {
        let script = format!("curl -o /dev/null -w '%{{http_code}}'{line}");
        let ran = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let status = String::from_utf8(ran.stdout).unwrap();
        // Repeated, an opening is refused because the account exists.
        assert!(["200", "201", "409", "422"].contains(&status.as_str()), "{status}: {line}");
    }
}
