//! The OpenAPI documents and the services: neither says what the other does not do.

mod document;
pub(crate) mod schema;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tally::http::{Route, problems};
use tally::service::about::{self, Profile};

use crate::support::{Client, Directory, Process, System, wait_until};
use document::{Call, Document, Operation};

const ADA: &str = "01936d5e-8f2a-7000-8000-000000000001";
const BOB: &str = "01936d5e-8f2a-7000-8000-000000000002";
const NOBODY: &str = "01936d5e-8f2a-7000-8000-0000000000ff";
const DAN: &str = "01936d5e-8f2a-7000-8000-000000000003";
/// Has an account of dollars.
const ROB: &str = "01936d5e-8f2a-7000-8000-000000000004";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Registry,
    Write,
    Read,
}

const SERVICES: [Service; 3] = [Service::Registry, Service::Write, Service::Read];

/// A service at work, and what it needs to be.
struct Subject {
    client: Client,
    commands: Client,
    // Dropped before the directory that they use.
    processes: Vec<Process>,
    _directory: Directory,
}

impl Service {
    fn profile(self) -> &'static Profile {
        match self {
            Self::Registry => &about::REGISTRY,
            Self::Write => &about::WRITE,
            Self::Read => &about::READ,
        }
    }

    fn document(self) -> Document {
        Document(self.profile().openapi())
    }

    /// Method, pattern and query parameters of all that the service routes.
    fn routes(self) -> BTreeSet<Row> {
        let own = match self {
            Self::Registry => rows(tally::registry::ROUTES),
            Self::Write => rows(tally::write_side::ROUTES),
            Self::Read => rows(tally::read_side::routes()),
        };
        own.into_iter().chain(rows(about::ROUTES)).collect()
    }

    fn start(self) -> Subject {
        let directory = Directory::fresh();
        let registry = System::registry(&directory).start();
        let mut processes = Vec::new();
        let (mut client, mut commands) = (registry.client(), registry.client());
        if self != Self::Registry {
            let write = System::write(&directory, &registry.url()).start();
            commands = write.client();
            client = write.client();
            processes.push(write);
        }
        if self == Self::Read {
            let read = System::read(&directory, &registry.url()).start();
            client = read.client();
            processes.insert(0, read);
        }
        processes.push(registry);
        Subject { client, commands, processes, _directory: directory }
    }

    /// The service in the state that the examples of that operation suppose.
    fn ready_for(self, operation: &str) -> Subject {
        let subject = self.start();
        match self {
            Self::Registry if operation != "register" => subject.register(),
            Self::Registry => {}
            Self::Write => subject.open_accounts(operation),
            Self::Read => {
                subject.open_accounts("");
                wait_until("the read side has caught up", || {
                    subject.client.get("/position").json()["position"].as_u64() >= Some(6)
                });
                if operation == "cancel_rebuild" {
                    // A write side that stands still keeps a rebuild from ending.
                    subject.processes[1].signal("STOP");
                    subject.client.post("/projections/summary/rebuild", &json!({})).expect(202);
                }
            }
        }
        if ["ready", "prometheus_targets"].contains(&operation) {
            wait_until("the service is ready", || subject.client.get("/ready").status == 200);
        }
        subject
    }
}

type Row = (String, String, BTreeSet<String>);

fn row<'a>(method: &str, path: &str, query: impl Iterator<Item = &'a str>) -> Row {
    (method.to_lowercase(), path.to_owned(), query.map(str::to_owned).collect())
}

fn rows<S>(routes: &[Route<S>]) -> Vec<Row> {
    let of = |route: &Route<S>| row(route.method.as_str(), route.pattern, route.query.iter().copied());
    routes.iter().map(of).collect()
}

impl Subject {
    fn register(&self) {
        let body = json!({"name": "write", "host": "127.0.0.1", "port": 7001, "instance_id": ADA});
        self.client.post("/services", &body).expect(201);
    }

    fn open_accounts(&self, operation: &str) {
        for (id, currency) in [(ADA, "EUR"), (BOB, "EUR"), (DAN, "EUR"), (ROB, "USD")] {
            if (operation, id) != ("open", ADA) {
                let body = json!({"owner": "Ada Lovelace", "account_id": id, "currency": currency});
                self.commands.post("/accounts", &body).expect(201);
            }
        }
        if !["open", "close"].contains(&operation) {
            self.commands.post(&format!("/accounts/{ADA}/deposit"), &json!({"amount": 5_000})).expect(200);
        }
        self.commands.post(&format!("/accounts/{BOB}/deposit"), &json!({"amount": 5_000})).expect(200);
    }
}

#[test]
fn every_route_is_in_the_document_and_every_operation_is_a_route() {
    for service in SERVICES {
        let document = service.document();
        let documented: BTreeSet<_> = document
            .operations()
            .map(|operation| row(operation.method, operation.path, operation.query()))
            .collect();
        let routes = service.routes();
        let undocumented: Vec<_> = routes.difference(&documented).collect();
        assert!(undocumented.is_empty(), "not in the document of {service:?} like this: {undocumented:#?}");
        let unknown: Vec<_> = documented.difference(&routes).collect();
        assert!(unknown.is_empty(), "{service:?} has no such route: {unknown:#?}");
    }
}

#[test]
fn the_document_names_every_projection() {
    let names = &Service::Read.document().0["components"]["schemas"]["ProjectionName"]["enum"];
    let projections = tally::read_side::projections();
    let projections: Vec<_> = projections.iter().map(|projection| projection.name).collect();
    assert_eq!(names, &json!(projections), "ProjectionName in openapi/read.json");
}

#[test]
fn every_problem_is_in_the_document_and_the_document_knows_no_other() {
    for service in SERVICES {
        let document = service.document();
        let text = document.0.to_string();
        let slug = |rest: &str| rest.split(['"', '`']).next().unwrap().to_owned();
        let mut named: BTreeSet<_> = text.split("\"/problems/").skip(1).map(slug).collect();
        // The pattern of their pages.
        named.remove("{slug}");
        let known: BTreeSet<_> =
            service.profile().problems().iter().map(|kind| kind.slug.to_owned()).collect();
        assert_eq!(named, known, "{service:?}");
    }
}

#[test]
fn every_example_is_valid_by_the_schema_beside_it() {
    for service in SERVICES {
        for operation in service.document().operations() {
            assert_eq!(operation.broken_examples(), [""; 0], "{service:?} {}", operation.id());
        }
    }
}

#[test]
fn the_document_is_served_as_it_is() {
    for service in SERVICES {
        let served = service.start().client.get("/openapi.json").expect(200);
        assert_eq!(served.json(), service.document().0);
    }
}

#[test]
fn every_operation_called_with_its_examples_answers_what_the_document_tells() {
    for service in SERVICES {
        let document = service.document();
        for operation in document.operations() {
            let subject = service.ready_for(operation.id());
            let mut seen = BTreeSet::new();
            for call in calls_of(&operation) {
                let reply = call.send(&subject.client);
                operation.assert_tells_of(&call, &reply);
                seen.insert(reply.status);
            }
            let missing: Vec<_> = operation.successes().filter(|status| !seen.contains(status)).collect();
            assert_eq!(missing, [0; 0], "{service:?} {}: never answered", operation.id());
        }
    }
}

/// With what is required only, with each option, with all, and in each other form.
fn calls_of(operation: &Operation<'_>) -> Vec<Call> {
    let options = operation.options();
    let mut calls = vec![operation.call(&[])];
    calls.extend(options.iter().map(|option| operation.call(&[option])));
    calls.push(operation.call(&options));
    let contents = operation.content["responses"]["200"]["content"].as_object();
    // A shared response is known by its reference alone.
    let page = operation.content["responses"]["200"]["$ref"] == "#/components/responses/Page";
    let media = contents.into_iter().flat_map(|contents| contents.keys().map(String::as_str));
    let media: Vec<_> = media.chain(page.then_some("application/cloudevents-batch+json")).collect();
    calls.extend(media.iter().map(|media| operation.call(&[]).header("Accept", media)));
    if operation.options().contains(&"If-None-Match") {
        calls.push(operation.call(&[]).header("If-None-Match", "*"));
    }
    calls
}

#[test]
fn head_answers_like_get_without_the_body() {
    for service in SERVICES {
        let document = service.document();
        for get in document.operations().filter(|operation| operation.method == "get") {
            let subject = service.ready_for(get.id());
            let call = get.call(&[]);
            let mut head = call.clone();
            head.method = "HEAD".into();
            let (whole, head) = (call.send(&subject.client), head.send(&subject.client));
            assert_eq!((head.status, head.body.len()), (whole.status, 0), "{}", call.target);
            assert_eq!(head.header("Content-Type"), whole.header("Content-Type"), "{}", call.target);
        }
    }
}

#[test]
fn options_and_refusals_of_a_method_list_the_methods_of_the_document() {
    for service in SERVICES {
        let (document, subject) = (service.document(), service.start());
        for (path, item) in document.0["paths"].as_object().unwrap() {
            let mut expected: BTreeSet<_> =
                item.as_object().unwrap().keys().map(|m| m.to_uppercase()).collect();
            if expected.contains("GET") {
                expected.insert("HEAD".into());
            }
            expected.insert("OPTIONS".into());
            let target = path.replace("{id}", ADA).replace("{instance_id}", ADA).replace(['{', '}'], "");
            for (method, status) in [("OPTIONS", 204), ("PATCH", 405), ("BREW", 405)] {
                let reply = subject.client.try_send(method, &target, &[], None).unwrap();
                assert_eq!(reply.status, status, "{method} {path}");
                let allowed: BTreeSet<_> =
                    reply.header("Allow").unwrap().split(", ").map(str::to_owned).collect();
                assert_eq!(allowed, expected, "{path}");
                assert!(status == 204 || reply.problem() == "method-not-allowed");
            }
        }
    }
}

#[test]
fn bodies_need_their_media_type_and_have_a_limit() {
    let too_large = format!("{{\"owner\": \"{}\"}}", "a".repeat(64 * 1024));
    for service in SERVICES {
        let (document, subject) = (service.document(), service.start());
        for operation in
            document.operations().filter(|operation| operation.content.get("requestBody").is_some())
        {
            for (call, slug) in [
                (operation.call(&[]).header("Content-Type", "text/plain"), "unsupported-media-type"),
                (operation.call(&[]).without_header("Content-Type"), "unsupported-media-type"),
                (operation.call(&[]).body(&too_large), "body-too-large"),
                (operation.call(&[]).body("[1]"), "invalid-json"),
                (operation.call(&[]).body(r#"{"tip": 1}"#), "invalid-field"),
                (operation.call(&[]).query("tip=1"), "invalid-query"),
            ] {
                let reply = call.send(&subject.client);
                assert_eq!(reply.problem(), slug, "{} {}", operation.id(), call.target);
                operation.assert_tells_of(&call, &reply);
            }
        }
    }
}

/// What no request alone brings about: faults of the disk, the machine or the network.
const FAULTS: [&str; 5] =
    ["outcome-unknown", "storage-failed", "log-damaged", "unhealthy", "rebuild-running"];

#[test]
fn every_problem_of_a_service_answers_some_request_as_the_document_tells() {
    for (service, provocations) in [
        (Service::Registry, registry_provocations as fn(&Document) -> Vec<(&str, Call, &str)>),
        (Service::Write, write_provocations),
        (Service::Read, read_provocations),
    ] {
        let (document, subject) = (service.document(), service.ready_for(""));
        if service == Service::Write {
            // A closed account, a used key, and a used transfer id.
            let closing = document.operation("close").call(&["Idempotency-Key"]).id(ADA, DAN);
            assert_eq!(closing.send(&subject.client).status, 200);
            let transfer = document.operation("transfer").call(&[]);
            let transfer = transfer.body(&with_transfer_id(2));
            assert_eq!(transfer.send(&subject.client).status, 200);
        }
        let mut left: BTreeSet<_> = service.profile().problems().iter().map(|kind| kind.slug).collect();
        let elsewhere = problems::ALL.iter().map(|kind| kind.slug).chain(FAULTS);
        elsewhere.for_each(|slug| _ = left.remove(slug));
        for (id, call, slug) in provocations(&document) {
            let reply = call.send(&subject.client);
            assert_eq!(reply.problem(), slug, "{id} {}", call.target);
            document.operation(id).assert_tells_of(&call, &reply);
            left.remove(slug);
        }
        assert!(left.is_empty(), "{service:?}: not provoked: {left:?}");
    }
}

/// A transfer of that amount, always under the same id.
fn with_transfer_id(amount: u64) -> String {
    json!({"from": ADA, "to": BOB, "amount": amount, "transfer_id": NOBODY}).to_string()
}

type Provocation<'a> = (&'static str, Call, &'a str);

fn registry_provocations(document: &Document) -> Vec<Provocation<'static>> {
    ["one_instance", "deregister", "heartbeat"]
        .map(|id| (id, document.operation(id).call(&[]).id(ADA, NOBODY), "instance-not-found"))
        .into()
}

fn write_provocations(document: &Document) -> Vec<Provocation<'static>> {
    let call = |id| document.operation(id).call(&[]);
    let amount = |amount: u64| json!({ "amount": amount }).to_string();
    let transfer = |from: &str, to: &str| json!({"from": from, "to": to, "amount": 1}).to_string();
    let most = (1_u64 << 53) - 1;
    vec![
        ("open", call("open"), "account-exists"),
        ("open", call("open").header("Origin", "https://elsewhere.example"), "origin-not-allowed"),
        ("deposit", call("deposit").id(ADA, NOBODY), "account-not-found"),
        ("deposit", call("deposit").id(ADA, "7"), "invalid-id"),
        ("deposit", call("deposit").body(&amount(most)), "balance-limit"),
        ("deposit", call("deposit").header("If-Match", "\"9\""), "version-mismatch"),
        ("deposit", call("deposit").header("If-Match", "9"), "invalid-header"),
        ("deposit", call("deposit").id(ADA, DAN), "account-closed"),
        ("deposit", document.operation("deposit").call(&["Idempotency-Key"]), "idempotency-key-reused"),
        ("withdraw", call("withdraw").body(&amount(most)), "insufficient-funds"),
        ("close", call("close"), "balance-not-zero"),
        ("transfer", call("transfer").body(&transfer(ADA, ADA)), "same-account"),
        ("transfer", call("transfer").body(&transfer(ADA, ROB)), "currency-mismatch"),
        ("transfer", call("transfer").body(&transfer(ADA, NOBODY)), "account-not-found"),
        ("transfer", call("transfer").body(&with_transfer_id(3)), "transfer-exists"),
        ("stream_events", call("stream_events").id(ADA, NOBODY), "not-found"),
        ("events", call("events").query("wait=31"), "invalid-query"),
        ("event", call("event").id("/1", "/99"), "event-not-found"),
    ]
}

fn read_provocations(document: &Document) -> Vec<Provocation<'static>> {
    let call = |id| document.operation(id).call(&[]);
    vec![
        ("account", call("account").id(ADA, NOBODY), "account-not-found"),
        ("account", call("account").query("at_version=99"), "account-not-found"),
        ("account", call("account").header("If-None-Match", "3"), "invalid-header"),
        ("transactions", call("transactions").id(ADA, NOBODY), "account-not-found"),
        ("transactions", call("transactions").query("cursor=x"), "invalid-query"),
        ("summary", call("summary").query("min_position=99&wait=0"), "read-model-behind"),
        ("rebuild", call("rebuild").id("summary", "nothing"), "projection-not-found"),
        ("cancel_rebuild", call("cancel_rebuild"), "rebuild-not-found"),
    ]
}

/// The names and types of the attributes that the specification itself has
/// (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>).
const ATTRIBUTES: [&str; 8] =
    ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"];

#[test]
fn the_feed_as_cloud_events_keeps_the_rules_of_the_specification() {
    let subject = Service::Write.ready_for("");
    let headers = [("X-Correlation-Id", "order-7"), ("Idempotency-Key", "key-7")];
    let deposit = json!({"amount": 7});
    subject.client.post_with(&format!("/accounts/{ADA}/deposit"), &headers, &deposit).expect(200);
    let feed = subject.client.get("/events").json();
    let batch = [("Accept", "application/cloudevents-batch+json")];
    let batch = subject.client.get_with("/events", &batch).expect(200);
    assert_eq!(batch.header("Content-Type"), Some("application/cloudevents-batch+json"));
    assert_eq!(batch.header("Event-Position").map(str::to_owned), Some(feed["head"].to_string()));
    let (events, recorded) = (batch.json(), feed["events"].as_array().unwrap());
    let events = events.as_array().unwrap();
    assert_eq!(events.len(), recorded.len());
    for (event, recorded) in events.iter().zip(recorded) {
        assert_is_cloud_event(event);
        assert_eq!(event["source"], format!("/logs/{}", feed["log_id"].as_str().unwrap()));
        assert_eq!(event["sequence"], format!("{:016}", recorded["position"].as_u64().unwrap()));
        for (attribute, field) in [
            ("id", "event_id"),
            ("type", "type"),
            ("subject", "stream_id"),
            ("time", "recorded_at"),
            ("streamtype", "stream_type"),
            ("schemaversion", "schema_version"),
            ("hash", "hash"),
            ("data", "data"),
        ] {
            assert_eq!(event[attribute], recorded[field], "{attribute}");
        }
        assert_eq!(event["streamversion"], recorded["version"].to_string());
    }
    let last = events.last().unwrap();
    assert_eq!((&last["correlationid"], &last["causationid"]), (&json!("order-7"), &json!("key-7")));
    assert!(events[0].get("correlationid").is_none());
}

fn assert_is_cloud_event(event: &Value) {
    let filled = |name: &str| event[name].as_str().is_some_and(|text| !text.is_empty());
    assert_eq!(event["specversion"], "1.0");
    assert!(["id", "source", "type", "subject", "datacontenttype", "sequence"].into_iter().all(filled));
    event["time"].as_str().unwrap().parse::<tally::time::Timestamp>().unwrap();
    for (name, value) in event.as_object().unwrap().iter().filter(|(name, _)| *name != "data") {
        let lawful = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        assert!(name.bytes().all(lawful) && name.len() <= 20, "{name}");
        // Booleans, integers of 32 bits and strings are the types that JSON has for attributes.
        let integer = value.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
        let text = value.as_str().is_some_and(|text| !text.contains(char::is_control));
        assert!(value.is_boolean() || integer || text, "{name}: {value}");
        assert!(!ATTRIBUTES.contains(&name.as_str()) || text, "{name}: {value}");
    }
}

#[test]
fn an_empty_page_is_an_empty_batch_that_tells_the_head() {
    let subject = Service::Write.ready_for("");
    let batch = [("Accept", "application/json;q=0.5, application/cloudevents-batch+json")];
    let reply = subject.client.get_with("/events?after=99", &batch).expect(200);
    assert_eq!((reply.text(), reply.header("Event-Position")), ("[]\n", Some("6")));
    assert_eq!(reply.header("Vary"), Some("Accept"));
}
