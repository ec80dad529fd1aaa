//! Fields of request bodies: unknown, missing, repeated, of the wrong type, out of their range.

use serde_json::Value;

use super::assert_refuses_field;
use crate::every_service::{SERVICES, Service};
use crate::support::Binary;

#[test]
fn an_unknown_field_is_refused_by_name() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        let before = service.recorded();
        for (row, path, body) in service.rows_with_bodies() {
            for unknown in ["bogus", "Amount", "", "\u{1f980}", "__proto__"] {
                let mut body = body.clone();
                body[unknown] = 1.into();
                assert_refuses_field(&mut service, &row.method, &path, &body.to_string(), unknown);
            }
        }
        assert_eq!(service.recorded(), before);
    }
}

#[test]
fn a_missing_field_is_refused_by_name() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        let before = service.recorded();
        for (row, path, body) in service.rows_with_bodies() {
            for required in fields(&body).iter().filter(|field| REQUIRED.contains(&field.as_str())) {
                let mut body = body.clone();
                body.as_object_mut().unwrap().remove(required);
                assert_refuses_field(&mut service, &row.method, &path, &body.to_string(), required);
                body[required] = Value::Null;
                assert_refuses_field(&mut service, &row.method, &path, &body.to_string(), required);
            }
        }
        assert_eq!(service.recorded(), before);
    }
}

#[test]
fn a_field_that_is_given_twice_is_refused_by_name() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        let before = service.recorded();
        for (row, path, body) in service.rows_with_bodies() {
            for field in fields(&body) {
                let again = format!("{{\"{field}\":{},{}", body[&field], &body.to_string()[1..]);
                assert_refuses_field(&mut service, &row.method, &path, &again, &field);
            }
        }
        assert_eq!(service.recorded(), before);
    }
}

#[test]
fn a_field_of_the_wrong_type_or_out_of_its_range_is_refused_by_name() {
    for binary in SERVICES {
        let mut service = Service::start(binary);
        let before = service.recorded();
        for (row, path, body) in service.rows_with_bodies() {
            for field in fields(&body) {
                for bad in bad_values(binary, &field) {
                    let bad_body = with_raw(&body, &field, &bad);
                    assert_refuses_field(&mut service, &row.method, &path, &bad_body, &field);
                }
            }
        }
        assert_eq!(service.recorded(), before);
    }
}

const REQUIRED: [&str; 7] = ["owner", "amount", "from", "to", "name", "host", "port"];

fn fields(body: &Value) -> Vec<String> {
    body.as_object().unwrap().keys().cloned().collect()
}

/// The body with that JSON text as the field's value.
fn with_raw(body: &Value, field: &str, raw: &str) -> String {
    let mut body = body.clone();
    body[field] = "the raw value".into();
    body.to_string().replace("\"the raw value\"", raw)
}

/// What that field must not be, as JSON.
fn bad_values(binary: Binary, field: &str) -> Vec<String> {
    const NUMBERS: [&str; 17] = [
        "0",
        "-1",
        "-0",
        "0.0",
        "-0.0",
        "12.5",
        "1e3",
        "1.0",
        "1E0",
        "1e-1",
        "9007199254740992",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "\"5\"",
        "\"\"",
        "true",
    ];
    const NO_UUIDS: [&str; 7] = [
        "\"\"",
        "\"7\"",
        "\"01936d5e8f2a70008000000000000001\"",
        "\"{01936d5e-8f2a-7000-8000-000000000001}\"",
        "\"urn:uuid:01936d5e-8f2a-7000-8000-000000000001\"",
        "\"01936d5e-8f2a-7000-8000-00000000000g\"",
        "\" 01936d5e-8f2a-7000-8000-000000000001\"",
    ];
    let text = |text: &str, times: usize| format!("\"{}\"", text.repeat(times));
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    let mut bad = match field {
        "amount" => owned(&NUMBERS),
        "port" => [owned(&NUMBERS), owned(&["65536", "70000"])].concat(),
        "from" | "to" | "account_id" | "transfer_id" | "instance_id" => owned(&NO_UUIDS),
        "owner" => {
            let control = ["\\u0000", "a\\nb", "\\u007f", "\\u0085", "\\t"].map(|bad| text(bad, 1));
            [&control[..], &[text("", 0), text("ä", 201), text("x", 60_000)]].concat()
        }
        "description" => vec![text("ä", 501), text("x", 60_000)],
        "currency" => ["", "eur", "EU", "EURO", "EUR ", "E1R", "€", "ÄÖÜ"].map(|bad| text(bad, 1)).to_vec(),
        "name" => {
            [&["", "Write", "a_b", "a b", "é", "a\\u0000"].map(|bad| text(bad, 1))[..], &[text("a", 64)]]
                .concat()
        }
        "host" => ["", "a/b", "a b", "u@h", "é", "a\\nb", "http://h"].map(|bad| text(bad, 1)).to_vec(),
        "metadata" => owned(&["\"a\"", "{\"a\":1}", "{\"\":\"a\"}", "{\"a\":null}", "{\"a\":{\"b\":\"c\"}}"]),
        unknown => panic!("{unknown} of {} has no bad values here", binary.name()),
    };
    // No field takes any of these, and none is read as another.
    bad.extend(owned(&["true", "false", "[]", "[1]", "[\"a\"]", "1.5"]));
    if field != "metadata" {
        bad.extend(owned(&["{}", "{\"a\":1}"]));
    }
    bad
}
