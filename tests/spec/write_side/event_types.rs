//! The types of events: the code, the JSON Schemas of `GET /event-types`, the golden file and the console agree.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tally::account::{AccountEvent, Effect};
use tally::console::PAGE;
use tally::es::{Event, schema_version};

use crate::bank::Bank;
use crate::openapi::schema::violations;

/// The events of the golden file.
fn golden() -> Vec<Value> {
    let lines = include_str!("../../golden/account_events.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_event_type_has_a_schema_and_an_example_that_the_code_writes() {
    let document: Value = Bank::start().client.get("/event-types").expect(200).json();
    let listed = document["event_types"].as_array().unwrap();
    let names: Vec<_> = listed.iter().map(|listed| listed["type"].as_str().unwrap()).collect();
    assert_eq!(names, AccountEvent::EVENT_TYPES, "openapi/event_types.json lists each event of the code");

    let golden = golden();
    for listed in listed {
        let (name, version) = (listed["type"].as_str().unwrap(), &listed["schema_version"]);
        assert_eq!(*version, json!(schema_version::<AccountEvent>(name)), "{name}");
        let current = golden.iter().filter(|line| line["type"] == name && line["schema_version"] == *version);
        let forms: Vec<_> = current.map(|line| &line["data"]).collect();
        assert!(
            forms.contains(&&listed["example"]),
            "the golden file has no line with the example of {name}"
        );
        for data in forms {
            assert_eq!(violations(&document, &listed["schema"], data), [""; 0], "{name} {data}");
            let event = AccountEvent::from_json(name, &data.to_string()).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&event.to_json().unwrap()).unwrap(), *data);
        }
        // A field of the schema that no golden line has would be a field that nobody has tried.
        for field in listed["schema"]["properties"].as_object().unwrap().keys() {
            let is_tried =
                golden.iter().any(|line| line["type"] == name && line["data"].get(field).is_some());
            assert!(is_tried, "no golden line of {name} has {field}");
        }
    }
}

#[test]
fn the_console_shows_the_effect_that_an_event_has() {
    let listed = PAGE.split_once("const EFFECTS = {").unwrap().1.split_once('}').unwrap().0;
    let listed = listed.split(',').map(|entry| entry.split_once(':').unwrap());
    let listed: BTreeMap<_, _> =
        listed.map(|(name, effect)| (name.trim(), effect.trim().trim_matches('"'))).collect();
    let unknown: Vec<_> = listed.keys().filter(|name| !AccountEvent::EVENT_TYPES.contains(name)).collect();
    assert!(unknown.is_empty(), "src/console/fold.js lists {unknown:?}, which are not events");
    for line in golden() {
        let (name, data) = (line["type"].as_str().unwrap(), &line["data"]);
        let unlisted = if data.get("amount").is_some() { "in" } else { "" };
        let shown = listed.get(name).copied().unwrap_or(unlisted);
        let effect = match AccountEvent::from_json(name, &data.to_string()).unwrap().into_entry().effect {
            Effect::Opened(_) => "new",
            Effect::In(_) => "in",
            Effect::Out(_) => "out",
            Effect::Closed => "end",
        };
        assert_eq!(shown, effect, "src/console/fold.js: EFFECTS, for {name}");
    }
}
