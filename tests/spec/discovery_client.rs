//! Services that register and find each other, whatever happens to their registries.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::registry_peer::{LiveRegistry, eventually, until};
use tally::discovery::{Advertised, BaseUrl, DiscoveryError, Heartbeats, Locator, RegistryClient};
use tally::http::{Response, serve};
use tally::registry::RegistryOptions;

const INTERVAL: Duration = Duration::from_millis(50);

fn urls(texts: &[String]) -> Vec<BaseUrl> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn register(registries: &[String]) -> Heartbeats {
    let metadata = BTreeMap::from([("version".to_owned(), "1".to_owned())]);
    let service = Advertised { name: "write".into(), host: "127.0.0.1".into(), port: 7001, metadata };
    Heartbeats::start(urls(registries), service, INTERVAL).unwrap()
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn what_registers_is_found() {
    let registry = LiveRegistry::start();
    let registration = register(&[registry.url()]);
    let locator = Locator::new(urls(&[registry.url()]), "write");
    assert_eq!(locator.address(), None);
    let address = eventually("it is found", || locator.refresh(None));
    assert_eq!(address, "http://127.0.0.1:7001");
    let instances = RegistryClient::new(urls(&[registry.url()])).instances("write").unwrap();
    assert_eq!(instances[0].instance_id, registration.instance_id());
    assert_eq!(instances[0].metadata["version"], "1");
}

#[test]
fn stopping_deregisters_before_it_returns() {
    let registry = LiveRegistry::start();
    let registration = register(&[registry.url()]);
    until("it is registered", || registry.live("write") == 1);
    registration.stop();
    assert_eq!(registry.live("write"), 0);
}

#[test]
fn a_registry_that_starts_later_is_filled() {
    let early = LiveRegistry::start();
    let url = early.url();
    let address = early.stop();
    let _registration = register(&[url]);
    let late = LiveRegistry::start_at(address);
    until("it is registered", || late.live("write") == 1);
}

#[test]
fn a_restarted_registry_is_filled_again_and_meanwhile_the_last_address_is_kept() {
    let registry = LiveRegistry::start();
    let url = registry.url();
    let registration = register(std::slice::from_ref(&url));
    let locator = Locator::new(urls(&[url]), "write");
    let address = eventually("it is found", || locator.refresh(None));

    let place = registry.stop();
    assert_eq!(locator.refresh(None).as_ref(), Some(&address));

    let registry = LiveRegistry::start_at(place);
    until("it is registered again", || registry.live("write") == 1);
    assert_eq!(locator.refresh(None), Some(address));
    registration.stop();
    assert_eq!(registry.live("write"), 0);
}

#[test]
fn a_lease_that_the_registry_forgot_is_registered_again_under_the_same_id() {
    let registry = LiveRegistry::start();
    let before = registry.gauges().index;
    let registration = register(&[registry.url()]);
    until("it is registered", || registry.live("write") == 1);
    registry.forget("write", registration.instance_id());
    until("it is registered again", || registry.gauges().index == before + 3);
    let instances = RegistryClient::new(urls(&[registry.url()])).instances("write").unwrap();
    assert_eq!(instances[0].instance_id, registration.instance_id());
}

#[test]
fn a_service_registers_with_every_registry_and_a_dead_one_is_no_obstacle() {
    let (one, other) = (LiveRegistry::start(), LiveRegistry::start());
    let registries = [nobody(), one.url(), other.url()];
    let _registration = register(&registries);
    until("both know it", || one.live("write") == 1 && other.live("write") == 1);
    let locator = Locator::new(urls(&registries), "write");
    assert_eq!(locator.refresh(None).as_deref(), Some("http://127.0.0.1:7001"));
}

#[test]
fn a_registry_that_hangs_does_not_delay_the_heartbeats_to_another() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let registry = LiveRegistry::start();
    let url = format!("http://{}", hanging.local_addr().unwrap());
    let _registration = register(&[url, registry.url()]);
    let _hangs_for_two_seconds = hanging.accept().unwrap();
    until("it is registered", || registry.live("write") == 1);

    hanging.set_nonblocking(true).unwrap();
    let mut heartbeats = BTreeSet::new();
    until("there are heartbeats", || {
        heartbeats.insert(registry.last_heartbeat("write"));
        heartbeats.len() > 5
    });
    assert!(hanging.accept().is_err(), "the first call to the hanging registry has not ended yet");
}

#[test]
fn heartbeats_are_as_frequent_as_the_registry_wishes() {
    // A lease far longer than the interval: however late a heartbeat is, the service stays live.
    let wish = Some(Duration::from_millis(100));
    let ttl = Duration::from_secs(3600);
    let registry = LiveRegistry::start_with(RegistryOptions {
        ttl,
        heartbeat_interval: wish,
        ..RegistryOptions::default()
    });
    let service =
        Advertised { name: "read".into(), host: "localhost".into(), port: 1, metadata: BTreeMap::new() };
    let wished = Duration::from_secs(3600);
    let _registration = Heartbeats::start(urls(&[registry.url()]), service, wished).unwrap();
    until("it is registered", || registry.live("read") == 1);
    let first = registry.last_heartbeat("read");
    until("there is a heartbeat", || registry.last_heartbeat("read") != first);
}

#[test]
fn a_look_up_goes_on_from_a_registry_that_knows_nobody_to_one_that_does() {
    let (restarted, full) = (LiveRegistry::start(), LiveRegistry::start());
    let _registration = register(&[full.url()]);
    until("it is registered", || full.live("write") == 1);
    let client = RegistryClient::new(urls(&[restarted.url(), full.url()]));
    assert_eq!(client.instances("write").unwrap().len(), 1);
    assert_eq!(client.instances("nobody"), Ok(Vec::new()));
}

#[test]
fn a_connection_that_the_registry_closed_meanwhile_costs_no_look_up() {
    let registry = LiveRegistry::start();
    let client = RegistryClient::new(urls(&[registry.url()]));
    assert_eq!(client.instances("write"), Ok(Vec::new()));
    let registry = LiveRegistry::start_at(registry.stop());
    assert_eq!(client.instances("write"), Ok(Vec::new()));
    registry.stop();
    assert!(matches!(client.instances("write"), Err(DiscoveryError::Unreachable { .. })));
}

#[test]
fn a_connection_closed_on_receipt_of_a_request_costs_no_look_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = RegistryClient::new(urls(&[format!("http://{}", listener.local_addr().unwrap())]));
    let peer = thread::spawn(move || {
        let mut kept_alive = BufReader::new(listener.accept().unwrap().0);
        answer_nobody(&mut kept_alive);
        read_head(&mut kept_alive);
        drop(kept_alive);
        answer_nobody(&mut BufReader::new(listener.accept().unwrap().0));
    });
    assert_eq!(client.instances("write"), Ok(Vec::new()));
    assert_eq!(client.instances("write"), Ok(Vec::new()));
    peer.join().unwrap();
}

fn answer_nobody(connection: &mut BufReader<TcpStream>) {
    read_head(connection);
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"instances\":[]}";
    connection.get_mut().write_all(answer.as_bytes()).unwrap();
}

fn read_head(connection: &mut BufReader<TcpStream>) {
    let empty_line = connection.lines().map(Result::unwrap).find(String::is_empty);
    assert!(empty_line.is_some());
}

#[test]
fn what_answers_but_is_no_registry_is_told_apart() {
    for (status, body) in [(200, "hello"), (200, "{}"), (200, r#"{"instances":[{"port":-1}]}"#), (500, "")] {
        let answer = move |_: &_| Response::new(status, "text/plain", body.as_bytes().to_vec());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = serve(listener, Default::default(), answer).unwrap();
        let url = format!("http://{}", server.local_addr());
        let result = RegistryClient::new(urls(&[url])).instances("write");
        assert!(matches!(result, Err(DiscoveryError::Unexpected { .. })), "{body}: {result:?}");
    }
}

#[test]
fn an_answer_that_is_too_long_is_called_that_and_not_an_absence() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let answer = |_: &_| Response::new(200, "application/json", vec![b' '; 5 << 20]);
    let server = serve(listener, Default::default(), answer).unwrap();
    let url = format!("http://{}", server.local_addr());
    let error = RegistryClient::new(urls(&[url])).instances("write").unwrap_err();
    assert!(matches!(error, DiscoveryError::TooLong { .. }), "{error:?}");
    assert!(error.to_string().contains("longer than 4194304 bytes"), "{error}");
}

#[test]
fn an_instance_at_an_address_that_no_client_can_connect_to_is_passed_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let instance = |host: &str| serde_json::json!({"instance_id": uuid::Uuid::now_v7(), "name": "write", "host": host, "port": 7001});
    let instances: Vec<_> = ["good", "evil.example/x?", "0.0.0.0", "u@h"].map(instance).into();
    let body = serde_json::json!({"instances": instances}).to_string();
    let answer = move |_: &_| Response::new(200, "application/json", body.clone().into_bytes());
    let server = serve(listener, Default::default(), answer).unwrap();
    let locator = Locator::new(urls(&[format!("http://{}", server.local_addr())]), "write");
    assert_eq!(locator.refresh(None).as_deref(), Some("http://good:7001"));
}

#[test]
fn when_one_instance_fails_another_is_used() {
    let registry = LiveRegistry::start();
    let registrations: Vec<_> = [7001, 7002]
        .map(|port| {
            let service = Advertised {
                name: "write".into(),
                host: "127.0.0.1".into(),
                port,
                metadata: BTreeMap::new(),
            };
            let registration = Heartbeats::start(urls(&[registry.url()]), service, INTERVAL).unwrap();
            until("it is registered", || registry.live("write") == usize::from(port - 7000));
            registration
        })
        .into();
    assert!(registrations[0].instance_id() < registrations[1].instance_id());
    let locator = Locator::new(urls(&[registry.url()]), "write");
    assert_eq!(locator.refresh(None).as_deref(), Some("http://127.0.0.1:7002"), "the newest is best");
    locator.mark_down("http://127.0.0.1:7002");
    assert_eq!(locator.refresh(None).as_deref(), Some("http://127.0.0.1:7001"));
}
