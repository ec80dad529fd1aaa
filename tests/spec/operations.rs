//! What operators see: `/metrics`.

use serde_json::json;

use crate::support::{Binary, Directory, Launch, System};

fn samples(scrape: &str) -> Vec<&str> {
    scrape.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn every_scrape_keeps_the_rules_of_prometheus() {
    for binary in [Binary::Registry, Binary::Write, Binary::Read] {
        let directory = Directory::fresh();
        let process = Launch::on_free_port(binary, &directory).start();
        let scrape = process.client().get("/metrics").expect(200);
        assert_eq!(scrape.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert_eq!(tally::metrics::lint(scrape.text()), [""; 0]);
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
    ] {
        assert!(samples(scrape.text()).contains(&sample), "{sample} is not in\n{}", scrape.text());
    }
}

#[test]
fn metrics_are_only_read() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let refused = registry.client().try_send("DELETE", "/metrics", &[], None).unwrap();
    assert_eq!((refused.status, refused.header("Allow")), (405, Some("GET, HEAD, OPTIONS")));
}
