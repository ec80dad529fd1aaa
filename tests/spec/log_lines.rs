//! What an operator reads: the log of a healthy system, its first and last lines, and its form for programs.

use serde_json::{Value, json};

use crate::support::{Binary, Directory, Launch, System, free_address, wait_for, wait_until};

#[test]
fn a_healthy_system_warns_of_nothing_in_whatever_order_it_starts() {
    const ORDERS: [[Binary; 3]; 6] = [
        [Binary::Registry, Binary::Write, Binary::Read],
        [Binary::Registry, Binary::Read, Binary::Write],
        [Binary::Write, Binary::Registry, Binary::Read],
        [Binary::Write, Binary::Read, Binary::Registry],
        [Binary::Read, Binary::Registry, Binary::Write],
        [Binary::Read, Binary::Write, Binary::Registry],
    ];
    for order in ORDERS {
        let (directory, address) = (Directory::fresh(), free_address());
        let url = format!("http://{address}");
        let launch = |binary| match binary {
            Binary::Registry => Launch::of(binary, &directory).flag("--listen", &address),
            Binary::Write => System::write(&directory, &url),
            Binary::Read | Binary::Tally => System::read(&directory, &url),
        };
        let mut running: Vec<_> = order.into_iter().map(|binary| (binary, launch(binary).start())).collect();
        let client = |wanted| {
            let mut running = running.iter();
            running.find(|(binary, _)| *binary == wanted).map(|(_, process)| process.client()).unwrap()
        };
        let opened = client(Binary::Write).post("/accounts", &json!({"owner": "Ada"})).expect(201).json();
        let account = format!("/accounts/{}", opened["stream_id"].as_str().unwrap());
        let queries = client(Binary::Read);
        wait_until("the account is read", || queries.get(&account).status == 200);
        // A side that stops before those who need it would be missed, and rightly so.
        for binary in [Binary::Read, Binary::Write, Binary::Registry] {
            let at = running.iter().position(|(of, _)| *of == binary).unwrap();
            let ended = running.swap_remove(at).1.stop();
            let is_alarming = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
            assert_eq!(ended.stderr.lines().find(is_alarming), None, "{order:?}, {binary:?}: {ended:?}");
        }
    }
}

#[test]
fn the_first_lines_name_what_is_served_and_the_last_line_why_it_ended() {
    let system = System::start();
    system.commands().post("/accounts", &json!({"owner": "Ada"})).expect(201);
    let (registry, address) = (system.registry.url(), system.write.address().to_owned());
    let System { write, read, directory, .. } = system;
    let folder = directory.path().canonicalize().unwrap();
    for (process, file) in [(write, "write_db.sqlite3"), (read, "read_db.sqlite3")] {
        process.wait_for_log("registered as ");
        let ended = process.stop();
        let names = |text: &str| ended.stderr.contains(text);
        assert!(names("deregistered from the registry at "), "{ended:?}");
        assert!(names(env!("CARGO_PKG_VERSION")) && names(&registry), "{ended:?}");
        assert!(names(&folder.join(file).display().to_string()), "{ended:?}");
        assert!(ended.stderr.lines().last().unwrap().contains("stopped on SIGTERM within "), "{ended:?}");
        if file.starts_with("write") {
            assert!(
                names(&format!("serves http://{address}, registering http://{address} with")),
                "{ended:?}"
            );
            assert!(names(", head 0\n") && names("requests drained: ") && names(", head 1\n"), "{ended:?}");
        }
    }
}

#[test]
fn each_new_reason_why_a_registry_is_away_is_told_once() {
    let (directory, address) = (Directory::fresh(), free_address());
    let write = System::write(&directory, &format!("http://{address}")).start();
    write.wait_for_log("INFO  tally::discovery::heartbeat waiting for a registry");
    // A service of another kind, which answers every registration with 404.
    let _other = Launch::of(Binary::Read, &directory).flag("--listen", &address).start();
    write.wait_for_log("expected the answer of a registry");
    let told = write.stderr().matches("waiting for a registry").count();
    assert!(told <= 3, "{}", write.stderr());
}

#[test]
fn a_log_in_json_is_one_object_a_line_with_the_trace_id_of_each_request() {
    let directory = Directory::fresh();
    let launch = System::write(&directory, "http://127.0.0.1:1").variable("TALLY_LOG_FORMAT", "json");
    let write = launch.flag("--log", "debug").start();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = format!("00-{trace}-b7ad6b7169203331-01");
    let headers = [("traceparent", traceparent.as_str())];
    write.client().post_with("/accounts", &headers, &json!({"owner": "Ada \"{"})).expect(201);
    write.client().get("/health").expect(200);
    let ended = write.stop();
    let lines: Vec<Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        assert!(["time", "level", "target", "message"].iter().all(|name| line[name].is_string()), "{line}");
    }
    let line = |path: &str| lines.iter().find(|line| line["fields"]["path"] == path).unwrap();
    let (post, get) = (line("/accounts"), line("/health"));
    assert_eq!((&post["trace_id"], &post["fields"]["status"]), (&json!(trace), &json!(201)), "{post}");
    assert_eq!(get.get("trace_id"), None, "{get}");
}

#[test]
fn a_misspelt_variable_is_refused_and_one_of_another_service_is_not() {
    for binary in Binary::ALL {
        let directory = Directory::fresh();
        let family = ["TALLY_TTL", "TALLY_POLL_INTERVAL", "TALLY_WRITE_LISTEN", "TALLY_EVENT_STORE"];
        let launch = Launch::on_free_port(binary, &directory);
        let launch = family.iter().fold(launch, |launch, name| launch.variable(name, ""));
        launch.start();
        let ended = launch.variable("TALLY_HEARTBEAT_INTERVALL", "1").run();
        assert_eq!((ended.status.code(), ended.stdout.len()), (Some(2), 0), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        let hint = "\"TALLY_HEARTBEAT_INTERVALL\"; did you mean TALLY_HEARTBEAT_INTERVAL;";
        assert!(ended.stderr.contains(hint), "{ended:?}");
    }
    let directory = Directory::fresh();
    // Values of other services are not read: only their own service could check them.
    Launch::on_free_port(Binary::Write, &directory).variable("TALLY_TTL", "12").start();
    let ended = Launch::of(Binary::Read, &directory).argument("--help=1").run();
    assert!(ended.stderr.contains("--help: expected no value, got one"), "{ended:?}");
}

#[test]
fn answers_in_json_end_with_a_line_end_that_their_length_counts() {
    let system = System::start();
    let opened = system.commands().post("/accounts", &json!({"owner": "Ada"})).expect(201);
    let account = format!("/accounts/{}", opened.json()["stream_id"].as_str().unwrap());
    wait_until("the account is read", || system.queries().get(&account).status == 200);
    let (write, read, registry) = (&system.write, &system.read, &system.registry);
    let targets = [
        (write, "/events"),
        (write, "/health"),
        (write, "/openapi.json"),
        (write, "/nowhere"),
        (read, account.as_str()),
        (read, "/accounts"),
        (registry, "/services"),
    ];
    for (process, path) in targets {
        let answer = process.client().get(path);
        assert!(answer.text().ends_with("}\n") && !answer.text().ends_with("\n\n"), "{path}: {answer:?}");
        let head = process.client().try_send("HEAD", path, &[], None).unwrap();
        assert!(head.text().is_empty(), "{path}");
        assert_eq!(answer.header("Content-Length").unwrap(), answer.text().len().to_string(), "{path}");
    }
}

#[test]
fn a_scrape_shows_the_process_the_files_and_the_registrations() {
    let system = System::start();
    let shown = |process: &crate::support::Process, sample: &str| {
        let text = process.client().get("/metrics").expect(200).text().to_owned();
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse::<f64>().ok());
        value.filter(|value| *value > 0.0)
    };
    for process in [&system.registry, &system.write, &system.read] {
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
            assert!(shown(process, name).is_some(), "{name}");
        }
    }
    assert!(shown(&system.write, "tally_log_database_bytes").is_some());
    assert!(shown(&system.read, "tally_read_database_bytes").is_some());
    let label = format!("{{registry=\"{}\"}}", system.registry.url());
    let registered = format!("tally_registered_info{label}");
    let heartbeat = format!("tally_registry_last_heartbeat_timestamp_seconds{label}");
    for process in [&system.write, &system.read] {
        wait_until("the service is registered", || shown(process, &registered).is_some());
        wait_for("the time of the heartbeat", || shown(process, &heartbeat));
    }
    let System { registry, write, .. } = system;
    registry.kill();
    wait_until("the loss is shown", || shown(&write, &registered).is_none());
}
