//! What operators see: `/metrics`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::{Binary, Directory, Launch, System, broken_metric_rules, wait_until};

fn samples(scrape: &str) -> Vec<&str> {
    scrape.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn every_scrape_keeps_the_rules_of_prometheus() {
    for binary in [Binary::Registry, Binary::Write, Binary::Read] {
        let directory = Directory::fresh();
        let process = Launch::on_free_port(binary, &directory).start();
        process.client().get("/health").expect(200);
        let scrape = process.client().get("/metrics").expect(200);
        assert_eq!(scrape.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert_eq!(broken_metric_rules(scrape.text()), [""; 0]);
    }
}

#[test]
fn commands_commits_and_events_are_counted() {
    let directory = Directory::fresh();
    let write = System::write(&directory, "http://127.0.0.1:1").start();
    write.client().post("/accounts", &json!({"owner": "Ada"})).expect(201);
    write.client().post("/accounts", &json!({"owner": ""})).expect(400);
    let scrape = write.client().get("/metrics");
    for sample in [
        r#"tally_http_requests_total{method="POST",route="/accounts",status="2xx"} 1"#,
        r#"tally_http_requests_total{method="POST",route="/accounts",status="4xx"} 1"#,
        "tally_log_head_position 1",
        "tally_log_appended_events_total 1",
        "tally_commit_commands_count 1",
        "tally_waiting_commands 0",
        "tally_http_waiting_requests 0",
    ] {
        assert!(samples(scrape.text()).contains(&sample), "{sample} is not in\n{}", scrape.text());
    }
}

#[test]
fn a_read_side_shows_whether_its_write_side_answers_and_hides_what_it_does_not_know() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let read = System::read(&directory, &registry.url()).start();
    let scrape = || {
        let text = read.client().get("/metrics").expect(200).text().to_owned();
        assert_eq!(broken_metric_rules(&text), [""; 0]);
        text
    };
    let unknown =
        ["tally_write_side_last_contact", "tally_projection_lag_events", "tally_projection_head_position"];
    let before = scrape();
    assert!(before.contains("\ntally_write_side_reachable_info 0\n"), "{before}");
    assert!(unknown.iter().all(|name| !before.contains(name)), "{before}");
    read.wait_for_log("waiting for a write side: no registry knows a service named");
    let write = System::write(&directory, &registry.url()).start();
    wait_until("the write side is met", || scrape().contains("\ntally_write_side_reachable_info 1\n"));
    wait_until("all is known", || unknown.iter().all(|name| scrape().contains(name)));
    let contact = |text: &str| {
        let value = text.split("\ntally_write_side_last_contact_timestamp_seconds ").nth(1).unwrap();
        value.lines().next().unwrap().parse::<f64>().unwrap()
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - contact(&scrape())).abs() < 60.0);
    write.kill();
    wait_until("the loss is noticed", || scrape().contains("\ntally_write_side_reachable_info 0\n"));
    let after = scrape();
    assert!(contact(&after) > 0.0 && !after.contains("tally_projection_lag_events"), "{after}");
}

#[test]
fn metrics_are_only_read() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let refused = registry.client().try_send("DELETE", "/metrics", &[], None).unwrap();
    assert_eq!((refused.status, refused.header("Allow")), (405, Some("GET, HEAD, OPTIONS")));
}

#[test]
fn leases_are_counted_by_the_services_that_this_system_has() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    for name in ["write", "write", "mail", "print"] {
        let body = json!({"name": name, "host": "127.0.0.1", "port": 1});
        registry.client().post("/services", &body).expect(201);
    }
    let scrape = registry.client().get("/metrics");
    for (service, count) in [("write", 2), ("read", 0), ("other", 2)] {
        let sample = format!("tally_registry_live_instances{{service=\"{service}\"}} {count}");
        assert!(samples(scrape.text()).contains(&sample.as_str()), "{sample}");
    }
    assert!(!scrape.text().contains("print"), "a name of a request became a label");
}

#[test]
fn a_request_is_logged_with_its_correlation_id_when_asked_for() {
    let directory = Directory::fresh();
    let launch = System::write(&directory, "http://127.0.0.1:1");
    for (level, expected) in [("debug", true), ("info", false)] {
        let write = launch.clone().flag("--log", level).start();
        let headers = [("X-Correlation-Id", "order-7")];
        write.client().post_with("/accounts", &headers, &json!({"owner": "Ada"})).expect(201);
        let ended = write.stop();
        let line = ended.stderr.lines().find(|line| line.contains("POST /accounts 201"));
        assert_eq!(line.is_some_and(|line| line.ends_with("correlation id order-7")), expected, "{ended:?}");
    }
}
