//! The rules of the command line, each as a test.

use super::*;
use crate::discovery::BaseUrl;
use crate::http::Engine;
use crate::registry::{RegistryOptions, TTL_SECONDS};
use crate::write_side::Copies;
use log::LevelFilter;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

type Parsed<C> = Result<Invocation<C>, UsageError>;

fn parsed<C: Config>(arguments: &[&str], variables: &[(&str, &str)]) -> Parsed<C> {
    parse(arguments.iter().map(OsString::from), |name| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    })
}

fn config<C: Config>(arguments: &[&str], variables: &[(&str, &str)]) -> C {
    match parsed(arguments, variables) {
        Ok(Invocation::Run(config)) => config,
        Ok(Invocation::Print(text)) => panic!("{arguments:?} printed {text}"),
        Err(error) => panic!("{arguments:?} was refused: {error}"),
    }
}

fn refusal<C: Config>(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    match parsed::<C>(arguments, variables) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{arguments:?} {variables:?} was taken"),
    }
}

fn printed<C: Config>(arguments: &[&str]) -> String {
    match parsed::<C>(arguments, &[]) {
        Ok(Invocation::Print(text)) => text,
        Ok(Invocation::Run(_)) | Err(_) => panic!("{arguments:?} printed nothing"),
    }
}

#[test]
fn without_flags_the_defaults_of_the_contract_hold() {
    let registry = config::<RegistryConfig>(&[], &[]);
    assert_eq!(registry.service.listen.to_string(), "127.0.0.1:7000");
    assert_eq!(registry.registry, RegistryOptions::default());
    let (ttl, interval) = (registry.registry.ttl, registry.registry.advised_interval());
    assert_eq!((ttl, interval), (Duration::from_secs(6), Duration::from_secs(2)));

    let write = config::<WriteConfig>(&[], &[]);
    assert_eq!(write.service.listen.to_string(), "127.0.0.1:7001");
    assert_eq!((write.db, write.task), (PathBuf::from("write_db.sqlite3"), WriteTask::Serve));
    assert_eq!(write.registries, ["http://127.0.0.1:7000".parse::<BaseUrl>().unwrap()]);
    assert_eq!(write.heartbeat_interval, Duration::from_secs(2));
    assert_eq!((write.service.engine, write.service.log.level), (Engine::Blocking, LevelFilter::Info));

    let read = config::<ReadConfig>(&[], &[]);
    assert_eq!(read.service.listen.to_string(), "127.0.0.1:7002");
    assert_eq!((read.db, read.task), (PathBuf::from("read_db.sqlite3"), ReadTask::Serve));
}

#[test]
fn tally_puts_both_databases_into_its_data_directory() {
    let all = config::<AllConfig>(&["--data-dir", "/data", "--write-listen", "127.0.0.1:0"], &[]);
    assert_eq!(all.write.db, PathBuf::from("/data/write_db.sqlite3"));
    assert_eq!(all.read.db, PathBuf::from("/data/read_db.sqlite3"));
    assert_eq!(all.write.service.listen.to_string(), "127.0.0.1:0");
    assert_eq!(all.registry.service.listen.to_string(), "127.0.0.1:7000");
}

#[test]
fn a_flag_wins_over_its_variable() {
    let variables = [("TALLY_LISTEN", "127.0.0.1:1"), ("TALLY_DB", "v.sqlite3"), ("TALLY_LOG", "debug")];
    let write = config::<WriteConfig>(&["--listen=127.0.0.1:2"], &variables);
    assert_eq!(write.service.listen.to_string(), "127.0.0.1:2");
    assert_eq!((write.db, write.service.log.level), (PathBuf::from("v.sqlite3"), LevelFilter::Debug));
}

#[test]
fn every_flag_with_a_value_has_a_variable_of_its_name() {
    let variables = [
        ("TALLY_HEARTBEAT_INTERVAL", "0.5"),
        ("TALLY_POLL_INTERVAL", "0.25"),
        ("TALLY_REGISTRY", "http://a:1,http://b:2"),
        ("TALLY_ADVERTISE", "read.example:80"),
        ("TALLY_HTTP_ENGINE", "blocking"),
        ("TALLY_ALLOW_ORIGIN", "https://example.org"),
    ];
    let read = config::<ReadConfig>(&[], &variables);
    assert_eq!(read.heartbeat_interval, Duration::from_millis(500));
    assert_eq!(read.side.poll_interval, Duration::from_millis(250));
    assert_eq!(read.side.registries.len(), 2);
    assert!(read.service.advertise.is_some());
    assert_eq!(read.service.allow_origins[0].as_str(), "https://example.org");
    assert_eq!(
        config::<RegistryConfig>(&[], &[("TALLY_TTL", "1.5")]).registry.ttl,
        Duration::from_millis(1500)
    );
}

#[test]
fn an_empty_variable_counts_as_absent_and_an_empty_flag_is_refused() {
    assert_eq!(config::<WriteConfig>(&[], &[("TALLY_DB", "")]).db, PathBuf::from("write_db.sqlite3"));
    assert!(refusal::<WriteConfig>(&["--db", ""], &[]).contains("--db"));
}

#[test]
fn a_bad_value_is_refused_by_the_name_under_which_it_was_given() {
    let message = refusal::<RegistryConfig>(&["--ttl", "soon"], &[]);
    assert_eq!(message, r#"--ttl: expected a number of seconds from 0.05 to 86400, got "soon""#);
    assert!(refusal::<RegistryConfig>(&[], &[("TALLY_TTL", "soon")]).starts_with("TALLY_TTL: "));
    assert!(refusal::<RegistryConfig>(&[], &[("TALLY_LOG", "loud")]).starts_with("TALLY_LOG: "));
}

#[test]
fn what_is_unknown_missing_or_repeated_is_refused_in_one_line() {
    let cases: [(&[&str], &str); 14] = [
        (&["--bogus"], "--bogus"),
        (&["serve"], "serve"),
        (&["-x"], "-x"),
        (&["--"], "--"),
        (&["-listen=a:1"], "-listen"),
        (&["--help=me"], "--help"),
        (&["--Listen", "a:1"], "--Listen"),
        (&["--listen"], "--listen"),
        (&["--db", "--verify"], "--db"),
        (&["--verify=yes"], "--verify"),
        (&["--verify", "--verify"], "--verify"),
        (&["--db", "a", "--db", "a"], "--db"),
        (&["--ttl", "3"], "--ttl"),
        (&["--listen", "two\nlines"], "--listen"),
    ];
    for (arguments, names) in cases {
        let message = refusal::<WriteConfig>(arguments, &[]);
        assert!(message.contains(names), "{arguments:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn the_value_of_an_unknown_flag_is_kept_from_the_log() {
    let message = refusal::<WriteConfig>(&["--event-stor=postgres://ada:secret@host/db"], &[]);
    assert!(message.contains("unknown flag \"--event-stor\"") && !message.contains("secret"), "{message}");
}

#[test]
fn a_path_may_be_any_bytes_and_hold_any_sign() {
    use std::os::unix::ffi::OsStringExt;
    let path = OsString::from_vec(b"a=\xff".to_vec());
    let attached = OsString::from_vec(b"--db=a=\xff".to_vec());
    for arguments in [vec![attached], vec!["--db".into(), path.clone()]] {
        let Ok(Invocation::Run(write)) = parse::<WriteConfig>(arguments, |_| None) else {
            panic!("{path:?} was refused");
        };
        assert_eq!(write.db, PathBuf::from(path.clone()));
    }
    let stray = parse::<WriteConfig>([path], |_| None).map(|_| ()).unwrap_err();
    assert!(stray.to_string().starts_with("expected a flag, got "), "{stray}");
}

#[test]
fn seconds_are_plain_numbers_in_their_range() {
    for (text, milliseconds) in
        [("1", 1_000), ("0.2", 200), ("2.50", 2_500), (".5", 500), ("3600", 3_600_000)]
    {
        let interval = config::<WriteConfig>(&["--heartbeat-interval", text], &[]).heartbeat_interval;
        assert_eq!(interval, Duration::from_millis(milliseconds), "{text}");
    }
    for text in ["0", "-1", "1e3", "inf", "NaN", "", ".", "1s", "3601", "0x1", " 1", "9".repeat(400).as_str()]
    {
        let message = refusal::<WriteConfig>(&["--heartbeat-interval", text], &[]);
        assert!(message.contains("0.01 to 3600"), "{text}: {message}");
    }
}

#[test]
fn an_address_to_listen_on_is_a_host_and_a_port() {
    for text in ["127.0.0.1:0", "localhost:7001", "0.0.0.0:80", "[::1]:7001", "my-host.example:65535"] {
        let write = config::<WriteConfig>(&["--listen", text], &[]);
        assert_eq!(write.service.listen.to_string(), text);
    }
    for text in
        ["7001", "localhost", ":7001", "a:b", "a:65536", "a:+1", "a:", "::1:7001", "[::1]", "[x]:1", "a b:1"]
    {
        assert!(refusal::<WriteConfig>(&["--listen", text], &[]).contains("HOST:PORT"), "{text}");
    }
}

#[test]
fn localhost_can_be_bound() {
    let write = config::<WriteConfig>(&["--listen", "localhost:0"], &[]);
    assert!(write.service.listen.bind().unwrap().local_addr().unwrap().ip().is_loopback());
}

#[test]
fn registries_are_given_by_repetition_and_behind_commas() {
    let arguments = ["--registry", "http://a:1, http://b/", "--registry=http://[::1]:3"];
    let urls = config::<WriteConfig>(&arguments, &[("TALLY_REGISTRY", "http://ignored:1")]).registries;
    let urls: Vec<_> = urls.iter().map(ToString::to_string).collect();
    assert_eq!(urls, ["http://a:1", "http://b:80", "http://[::1]:3"]);
}

#[test]
fn a_registry_is_a_plain_http_address() {
    let cases = [
        "a:1",
        "https://a:1",
        "http://",
        "http://a:0",
        "http://a:1/x",
        "http://u@a:1",
        "http://a:1,",
        "http://a?b",
        "http://127.1:7000",
        "http://0.0.0.0:7000",
        "",
    ];
    for text in cases {
        assert!(refusal::<ReadConfig>(&["--registry", text], &[]).contains("http://HOST:PORT"), "{text}");
    }
}

#[test]
fn a_write_side_to_follow_is_one_plain_http_address() {
    let pinned = |arguments: &[&str], variables: &[(&str, &str)]| {
        config::<ReadConfig>(arguments, variables).side.write_side.map(|url| url.to_string())
    };
    assert_eq!(pinned(&[], &[]), None);
    assert_eq!(pinned(&["--write-side", "http://a:1/"], &[]).as_deref(), Some("http://a:1"));
    assert_eq!(pinned(&[], &[("TALLY_WRITE_SIDE", "http://[::1]:2")]).as_deref(), Some("http://[::1]:2"));
    for text in ["a:1", "http://0.0.0.0:1", "http://a:1,http://b:1", ""] {
        assert!(refusal::<ReadConfig>(&["--write-side", text], &[]).contains("http://HOST:PORT"), "{text}");
    }
}

#[test]
fn a_copy_is_allowed_by_a_flag_or_a_variable_that_says_yes() {
    let copies =
        |arguments: &[&str], variables: &[(&str, &str)]| config::<WriteConfig>(arguments, variables).copies;
    assert_eq!(copies(&[], &[]), Copies::Refused);
    assert_eq!(copies(&["--allow-copy"], &[]), Copies::Allowed);
    assert_eq!(copies(&[], &[("TALLY_ALLOW_COPY", "yes")]), Copies::Allowed);
    assert_eq!(copies(&[], &[("TALLY_ALLOW_COPY", "0")]), Copies::Refused);
    assert!(refusal::<WriteConfig>(&[], &[("TALLY_ALLOW_COPY", "maybe")]).contains("yes or no"));
    refusal::<WriteConfig>(&["--allow-copy=yes"], &[]);
    refusal::<WriteConfig>(&["--allow-copy", "--allow-copy"], &[]);
}

#[test]
fn more_values_than_anyone_means_are_refused() {
    let many = ["http://a:1"; 17].join(",");
    assert!(refusal::<ReadConfig>(&["--registry", &many], &[]).contains("at most 16"));
}

#[test]
fn an_origin_is_what_a_browser_sends() {
    let taken =
        ["*", "https://example.org", "http://example.org:8080", "http://[::1]:3", "chrome-extension://abc"];
    for text in taken {
        let registry = config::<RegistryConfig>(&["--allow-origin", text], &[]);
        assert_eq!(registry.service.allow_origins[0].as_str(), text);
    }
    for text in [
        "null",
        "example.org",
        "https://example.org/",
        "https://Example.org",
        "https://",
        "https://*.org",
        "",
    ] {
        refusal::<RegistryConfig>(&["--allow-origin", text], &[]);
    }
}

#[test]
fn the_event_store_is_a_sqlite_file() {
    for (text, path) in [("sqlite:a/b", "a/b"), ("sqlite:/a", "/a"), ("sqlite:///a", "/a")] {
        assert_eq!(config::<WriteConfig>(&["--event-store", text], &[]).db, PathBuf::from(path));
    }
    for text in ["sqlite:", "sqlite://", "sqlite://host/a", "a.sqlite3", "file:a", ""] {
        assert!(refusal::<WriteConfig>(&["--event-store", text], &[]).contains("sqlite:"), "{text}");
    }
}

#[test]
fn a_store_that_is_not_built_in_is_named_and_its_password_is_not_shown() {
    for text in ["postgres://u:secret@h/d", "postgresql://u:secret@h/d", "mysql://u:secret@h/d"] {
        let message = refusal::<WriteConfig>(&["--event-store", text], &[]);
        assert!(message.contains("not built in") && !message.contains("secret"), "{message}");
    }
}

#[test]
fn two_words_for_the_database_must_agree_or_the_flag_wins() {
    let same = ["--db", "a", "--event-store", "sqlite:a"];
    assert_eq!(config::<WriteConfig>(&same, &[]).db, PathBuf::from("a"));
    refusal::<WriteConfig>(&["--db", "a", "--event-store", "sqlite:b"], &[]);
    refusal::<WriteConfig>(&[], &[("TALLY_DB", "a"), ("TALLY_EVENT_STORE", "sqlite:b")]);
    let flag = config::<WriteConfig>(&["--db", "a"], &[("TALLY_EVENT_STORE", "sqlite:b")]);
    assert_eq!(flag.db, PathBuf::from("a"));
    let flag = config::<WriteConfig>(&["--event-store", "sqlite:b"], &[("TALLY_DB", "a")]);
    assert_eq!(flag.db, PathBuf::from("b"));
}

#[test]
fn an_unknown_engine_is_refused_and_an_absent_one_named() {
    assert!(refusal::<WriteConfig>(&["--http-engine", "hyper"], &[]).contains("blocking"));
    #[cfg(not(feature = "tiny_http"))]
    assert!(refusal::<WriteConfig>(&["--http-engine", "tiny_http"], &[]).contains("not built in"));
    #[cfg(feature = "tiny_http")]
    assert_eq!(config::<WriteConfig>(&["--http-engine", "tiny_http"], &[]).service.engine, Engine::TinyHttp);
}

#[test]
fn a_heartbeat_must_come_within_the_ttl() {
    assert_eq!(
        config::<RegistryConfig>(&["--ttl", "1.5"], &[]).registry.advised_interval(),
        Duration::from_millis(500)
    );
    let message = refusal::<RegistryConfig>(&["--ttl", "2", "--heartbeat-interval", "2"], &[]);
    assert!(
        message.starts_with("--heartbeat-interval: expected less than the TTL of 2 seconds"),
        "{message}"
    );
}

#[test]
fn tasks_other_than_serving_exclude_each_other_and_have_no_variable() {
    assert_eq!(config::<WriteConfig>(&["--verify"], &[]).task, WriteTask::Verify);
    assert_eq!(config::<WriteConfig>(&["--backup", "b"], &[]).task, WriteTask::Backup("b".into()));
    assert_eq!(config::<ReadConfig>(&["--rebuild"], &[]).task, ReadTask::RebuildThenServe);
    assert_eq!(config::<ReadConfig>(&["--verify"], &[]).task, ReadTask::Verify);
    assert_eq!(config::<ReadConfig>(&[], &[("TALLY_VERIFY", "1")]).task, ReadTask::Serve);
    refusal::<WriteConfig>(&["--verify", "--backup", "b"], &[]);
    refusal::<ReadConfig>(&["--verify", "--rebuild"], &[]);
}

#[test]
fn what_is_advertised_is_an_address_that_others_can_connect_to() {
    let advertised = |listening: &str, arguments: &[&str]| {
        let service = config::<WriteConfig>(arguments, &[]).service;
        let listening: SocketAddr = listening.parse().unwrap();
        let Reachable { host, port } = Reachable::of(listening, service.advertise.as_ref());
        format!("{host} {port}")
    };
    assert_eq!(advertised("10.1.2.3:7", &[]), "10.1.2.3 7");
    assert_eq!(advertised("0.0.0.0:7", &[]), "127.0.0.1 7");
    assert_eq!(advertised("[::]:7", &[]), "::1 7");
    assert_eq!(advertised("0.0.0.0:7", &["--advertise", "write.example"]), "write.example 7");
    assert_eq!(advertised("0.0.0.0:7", &["--advertise", "[::2]:8"]), "::2 8");
    for text in [
        "a:0",
        "0.0.0.0",
        "[::]:1",
        "",
        ":1",
        "a:b",
        "224.0.0.1",
        "255.255.255.255:1",
        "::1",
        "127.1",
        "..",
        "a.",
    ] {
        refusal::<WriteConfig>(&["--advertise", text], &[]);
    }
}

fn help_names_everything<C: Config>() {
    let help = printed::<C>(&["--help"]);
    for flag in C::FLAGS {
        assert!(help.contains(&format!("  --{}", flag.name)), "{}", flag.name);
        assert!(help.contains(flag.help) && help.contains(flag.default), "{}", flag.name);
    }
    assert!(help.lines().all(|line| line.len() <= 120), "{help}");
}

#[test]
fn help_names_every_flag_with_its_variable_and_default() {
    help_names_everything::<RegistryConfig>();
    help_names_everything::<WriteConfig>();
    help_names_everything::<ReadConfig>();
    help_names_everything::<AllConfig>();
    assert!(printed::<WriteConfig>(&["-h"]).contains("Default: 2. Variable: TALLY_HEARTBEAT_INTERVAL."));
    let ttl = format!("{} to {} seconds", TTL_SECONDS.start(), TTL_SECONDS.end());
    assert!(
        printed::<RegistryConfig>(&["-h"]).contains(&ttl),
        "the help text names another range than {ttl}"
    );
}

#[test]
fn version_is_the_name_and_the_version() {
    let expected = format!("read-service {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(printed::<ReadConfig>(&["--version"]), expected);
    assert_eq!(printed::<ReadConfig>(&["-V"]), expected);
}
