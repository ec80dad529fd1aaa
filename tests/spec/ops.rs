//! What an operator is given in `ops/`: it names only what exists, and the operator's own tools accept it.
//!
//! The tests that run Debian's tools are in the slow suite. They fail where a tool is missing: .ci/run installs it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Binary, Directory, System, wait_until};

pub(crate) fn ops(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ops").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(ops(name)).unwrap()
}

/// The words of a text that are names of metrics; of `x_bucket` it is `x`.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    let metrics = words.filter(|word| word.starts_with("tally_") || word.starts_with("process_"));
    let stem = |word: &str| {
        let part = ["_bucket", "_sum", "_count"].iter().find_map(|part| word.strip_suffix(part));
        part.unwrap_or(word).to_owned()
    };
    metrics.map(stem).collect()
}

#[test]
fn each_metric_that_rules_and_dashboard_name_is_one_of_a_running_service() {
    let system = System::start();
    wait_until("the read side has met the write side", || {
        system.queries().get("/metrics").text().contains("tally_write_side_last_contact")
    });
    let services = [system.registry.client(), system.commands(), system.queries()];
    let scrapes = services.map(|service| service.get("/metrics").expect(200).text().to_owned());
    let declared = scrapes.iter().flat_map(|scrape| scrape.lines());
    let declared = declared.filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let known: BTreeSet<_> = declared.collect();
    for file in ["alerts.yml", "alerts_test.yml", "grafana/tally.json"] {
        let named = metrics_in(&read(file));
        assert!(named.len() > 5, "{file} names too few metrics: {named:?}");
        let unknown: Vec<_> = named.iter().filter(|name| !known.contains(name.as_str())).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}, which no service has");
    }
}

#[test]
fn each_alert_is_tested_to_fire_and_to_be_silent() {
    let tests = read("alerts_test.yml");
    let rules = read("alerts.yml");
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10);
    for alert in alerts {
        let cases: Vec<_> =
            tests.split("alertname: ").filter(|case| case.split([',', '\n']).next() == Some(alert)).collect();
        let is_silent = |case: &&&str| case.lines().take(2).any(|line| line.contains("exp_alerts: []"));
        assert!(cases.iter().any(|case| is_silent(&case)), "{alert}: never silent");
        assert!(cases.iter().any(|case| !is_silent(&case)), "{alert}: never fires");
    }
}

/// Runs a tool of Debian, which must accept what it is given.
#[track_caller]
fn accepts(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; apt-get install prometheus systemd brings the tools")
    });
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&said));
}

#[test]
#[ignore = "slow suite: just ops-test"]
fn promtool_accepts_configuration_and_rules_and_the_alerts_fire_when_they_should() {
    accepts(Command::new("promtool").args(["check", "config"]).arg(ops("prometheus.yml")));
    accepts(Command::new("promtool").args(["check", "rules"]).arg(ops("alerts.yml")));
    accepts(Command::new("promtool").args(["test", "rules"]).arg(ops("alerts_test.yml")));
}

#[test]
#[ignore = "slow suite: just ops-test"]
fn systemd_accepts_the_units() {
    let directory = Directory::fresh();
    for binary in [Binary::Registry, Binary::Write, Binary::Read, Binary::Tally] {
        let name = format!("{}.service", binary.name());
        let unit = read(&format!("systemd/{name}"));
        // On the copy of this build: systemd looks whether the program is there.
        let installed = format!("/usr/local/bin/{}", binary.name());
        assert!(unit.contains(&format!("ExecStart={installed}\n")), "{name}");
        let path = directory.join(&name);
        std::fs::write(&path, unit.replace(&installed, binary.path())).unwrap();
        accepts(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(path));
    }
}
