//! The registry and the services that it knows, as processes.

use serde_json::Value;

use crate::support::{Binary, Directory, Launch, Process, System, wait_for, wait_until};

/// The live instances of a service, as the registry answers them.
fn instances(registry: &Process, name: &str) -> Vec<Value> {
    let answer = registry.client().get(&format!("/services/{name}")).expect(200).json();
    answer["instances"].as_array().unwrap().clone()
}

fn wait_for_one(registry: &Process, name: &str) -> Value {
    wait_for(&format!("{name} is registered"), || {
        <[Value; 1]>::try_from(instances(registry, name)).ok().map(|[instance]| instance)
    })
}

#[test]
fn a_write_service_registers_where_it_listens_and_deregisters_when_it_stops() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let write = System::write(&directory, &registry.url()).start();
    let instance = wait_for_one(&registry, "write");
    assert_eq!(format!("{}:{}", instance["host"].as_str().unwrap(), instance["port"]), write.address());
    assert_eq!(write.stop().status.code(), Some(0));
    assert!(instances(&registry, "write").is_empty());
}

#[test]
fn what_is_advertised_is_registered() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let write = System::write(&directory, &registry.url()).flag("--advertise", "write.example").start();
    let instance = wait_for_one(&registry, "write");
    assert_eq!(instance["host"], "write.example");
    assert!(write.address().ends_with(&format!(":{}", instance["port"])));
}

#[test]
fn a_service_that_dies_is_gone_from_the_answers_after_its_ttl() {
    let directory = Directory::fresh();
    let registry = System::registry(&directory).start();
    let write = System::write(&directory, &registry.url()).start();
    wait_for_one(&registry, "write");
    write.kill();
    wait_until("the dead service is gone", || instances(&registry, "write").is_empty());
}

#[test]
fn a_registry_that_starts_last_or_again_is_filled_by_the_next_heartbeats() {
    let directory = Directory::fresh();
    // A port that is free again: the registry is to come to an address that was named before.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let registry = Launch::of(Binary::Registry, &directory).flag("--listen", &address);
    let _write = System::write(&directory, &format!("http://{address}")).start();
    let first = registry.start();
    let before = wait_for_one(&first, "write");
    first.kill();
    let second = registry.start();
    assert_eq!(wait_for_one(&second, "write")["instance_id"], before["instance_id"]);
}

#[test]
fn a_service_registers_with_every_registry_that_it_is_given() {
    let directory = Directory::fresh();
    let (first, second) = (System::registry(&directory).start(), System::registry(&directory).start());
    let both = format!("{},{}", first.url(), second.url());
    let _write = System::write(&directory, &both).start();
    assert_eq!(wait_for_one(&first, "write")["instance_id"], wait_for_one(&second, "write")["instance_id"]);
}

#[test]
fn a_registry_tells_instances_the_ttl_and_interval_that_it_was_started_with() {
    let directory = Directory::fresh();
    let launch = Launch::on_free_port(Binary::Registry, &directory);
    let registry = launch.flag("--ttl", "4.5").flag("--heartbeat-interval", "0.5").start();
    let service = serde_json::json!({"name": "x", "host": "127.0.0.1", "port": 1});
    let lease = registry.client().post("/services", &service).expect(201).json();
    assert_eq!((&lease["ttl_seconds"], &lease["heartbeat_seconds"]), (&4.5.into(), &0.5.into()));
}
