//! A real Prometheus, from Debian, with the configuration of `ops/`: it finds the services through the registry.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::ops::ops;
use crate::support::{Client, Directory, System, free_address, wait_for};

/// A running Prometheus; it is killed when dropped.
struct Prometheus {
    child: Child,
    client: Client,
}

impl Prometheus {
    /// Starts with `ops/prometheus.yml`, on that registry and with short intervals.
    fn start(directory: &Directory, registry: &str) -> Self {
        let own = std::fs::read_to_string(ops("prometheus.yml")).unwrap();
        let own = own.replace("127.0.0.1:7000", registry).replace("15s", "1s");
        let own = own.replace("alerts.yml", ops("alerts.yml").to_str().unwrap());
        let config = directory.join("prometheus.yml");
        std::fs::write(&config, own).unwrap();
        let address = free_address();
        let log = std::fs::File::create(directory.join("prometheus.log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("apt-get install prometheus brings the program");
        Self { child, client: Client::of(&format!("http://{address}")) }
    }

    /// What its API answers; `Null` until it listens.
    fn ask(&self, path: &str) -> Value {
        let reply = self.client.try_send("GET", path, &[], None);
        reply.ok().filter(|reply| reply.status == 200).map_or(Value::Null, |reply| reply.json())
    }

    /// The label `service` of each target of the registry that is up.
    fn services_up(&self) -> Vec<String> {
        let answer = self.ask("/api/v1/targets?state=active");
        let targets = answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        let up =
            targets.iter().filter(|target| target["health"] == "up" && target["labels"]["job"] == "tally");
        let mut services: Vec<_> =
            up.filter_map(|target| Some(target["labels"]["service"].as_str()?.to_owned())).collect();
        services.sort();
        services
    }

    /// The labels of the series of a query.
    fn series(&self, query: &str) -> Vec<Value> {
        let answer = self.ask(&format!("/api/v1/query?query={query}"));
        let found = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        found.into_iter().map(|series| series["metric"].clone()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "slow suite: just ops-test"]
fn prometheus_finds_all_three_services_through_the_registry_and_scrapes_them() {
    let system = System::start();
    let directory = Directory::fresh();
    let prometheus = Prometheus::start(&directory, system.registry.address());
    wait_for("all three targets are up", || {
        (prometheus.services_up() == ["read", "registry", "write"]).then_some(())
    });
    let heads = wait_for("a metric has answers", || {
        Some(prometheus.series("tally_log_head_position")).filter(|heads| !heads.is_empty())
    });
    assert_eq!(
        (&heads[0]["service"], &heads[0]["instance"]),
        (&"write".into(), &system.write.address().into())
    );
    assert!(heads[0]["log_id"].as_str().is_some_and(|id| !id.is_empty()));
    // A label of a metric that is also a label of the target keeps its value under another name.
    let live = wait_for("the registry counts a write side", || {
        Some(prometheus.series("tally_registry_live_instances%7Bregistered%3D%22write%22%7D%20%3D%3D%201"))
            .filter(|live| !live.is_empty())
    });
    assert_eq!(live[0]["service"], "registry");
    let rules = prometheus.ask("/api/v1/rules");
    assert_eq!(rules["data"]["groups"][0]["name"], "tally");
    assert_eq!(prometheus.series("ALERTS%7Balertstate%3D%22firing%22%7D"), [Value::Null; 0]);
}
