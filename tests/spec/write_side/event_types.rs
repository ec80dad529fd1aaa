//! The types of events: the code, the JSON Schemas of `GET /event-types` and the golden file agree.

use serde_json::{Value, json};
use tally::account::AccountEvent;
use tally::es::{Event, schema_version};

use crate::bank::Bank;
use crate::openapi::schema::violations;

const GOLDEN: &str = include_str!("../../golden/account_events.jsonl");

#[test]
fn every_event_type_has_a_schema_and_an_example_that_the_code_writes() {
    let document: Value = Bank::start().client.get("/event-types").expect(200).json();
    let listed = document["event_types"].as_array().unwrap();
    let names: Vec<_> = listed.iter().map(|listed| listed["type"].as_str().unwrap()).collect();
    assert_eq!(names, AccountEvent::EVENT_TYPES, "openapi/event_types.json lists each event of the code");

    let golden: Vec<Value> = GOLDEN.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
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
