//! Flags, exit statuses, and what goes to stdout and stderr.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Binary, Directory, Launch};

fn launch(binary: Binary) -> (Directory, Launch) {
    let directory = Directory::fresh();
    let launch = Launch::of(binary, &directory);
    (directory, launch)
}

#[test]
fn version_and_help_go_to_stdout_with_status_0() {
    for binary in Binary::ALL {
        let (_directory, launch) = launch(binary);
        let version = launch.clone().argument("--version").run();
        assert_eq!(version.status.code(), Some(0));
        assert_eq!(version.stdout, [format!("{} {}", binary.name(), env!("CARGO_PKG_VERSION"))]);
        let help = launch.argument("--help").run();
        assert_eq!((help.status.code(), help.stderr.as_str()), (Some(0), ""));
        assert!(help.stdout.iter().any(|line| line.contains("TALLY_HTTP_ENGINE")), "{help:?}");
    }
}

#[test]
fn a_wrong_command_line_is_one_line_on_stderr_and_status_2() {
    for binary in Binary::ALL {
        for arguments in
            [&["--bogus"][..], &["serve"], &["--log", "loud"], &["--log"], &["--allow-origin", "\n"]]
        {
            let (_directory, launch) = launch(binary);
            let ended = arguments.iter().fold(launch, Launch::argument).run();
            assert_eq!((ended.status.code(), ended.stdout.len()), (Some(2), 0), "{arguments:?}: {ended:?}");
            assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
            assert!(ended.stderr.starts_with(binary.name()), "{ended:?}");
        }
    }
}

#[test]
fn a_wrong_variable_is_refused_by_its_name() {
    for binary in Binary::ALL {
        let (_directory, launch) = launch(binary);
        let ended = launch.variable("TALLY_LOG", "loud").run();
        assert_eq!(ended.status.code(), Some(2));
        assert!(ended.stderr.contains("TALLY_LOG"), "{ended:?}");
    }
}

/// The binaries that are one service each.
const SERVING: [Binary; 3] = [Binary::Registry, Binary::Write, Binary::Read];

#[test]
fn a_service_says_once_where_it_listens_and_ends_in_order_on_sigterm_and_sigint() {
    for binary in SERVING {
        for signal in ["TERM", "INT"] {
            let directory = Directory::fresh();
            let process = Launch::on_free_port(binary, &directory).start();
            assert_eq!(process.client().get("/health").status, 200);
            process.signal(signal);
            let ended = process.ended();
            assert_eq!((ended.status.code(), ended.stdout.len()), (Some(0), 1), "{ended:?}");
            assert!(ended.stderr.contains(&format!("stopping on SIG{signal}")), "{ended:?}");
        }
    }
}

#[test]
fn every_log_line_has_its_time_level_and_target() {
    let directory = Directory::fresh();
    let ended = Launch::on_free_port(Binary::Write, &directory).variable("TALLY_LOG", "debug").start().stop();
    assert!(!ended.stderr.is_empty());
    for line in ended.stderr.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        assert!(words[0].ends_with('Z') && words[0].len() == 27, "{line}");
        assert!(["ERROR", "WARN", "INFO", "DEBUG"].contains(&words[1]), "{line}");
        assert!(words[2].starts_with("tally"), "{line}");
    }
}

#[test]
fn a_taken_port_is_one_line_on_stderr_and_status_1() {
    for binary in SERVING {
        let directory = Directory::fresh();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let ended = Launch::of(binary, &directory).flag("--listen", &address).run();
        assert_eq!((ended.status.code(), ended.stdout.len()), (Some(1), 0), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(ended.stderr.contains(&address) && ended.stderr.contains("choose another"), "{ended:?}");
    }
}

#[test]
fn localhost_is_a_place_to_listen() {
    let directory = Directory::fresh();
    let process = Launch::of(Binary::Registry, &directory).flag("--listen", "localhost:0").start();
    assert_eq!(process.client().get("/health").status, 200);
}

#[test]
fn a_second_signal_ends_a_stop_that_waits_for_a_request_in_flight() {
    let directory = Directory::fresh();
    let process = Launch::on_free_port(Binary::Write, &directory).start();
    let mut client = TcpStream::connect(process.address()).unwrap();
    let head = "POST /accounts HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100", "the request is in flight");
    process.signal("TERM");
    process.wait_for_log("stopping on SIGTERM");
    process.signal("TERM");
    assert_eq!(process.ended().status.code(), Some(143));
}
