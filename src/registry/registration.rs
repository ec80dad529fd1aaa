//! Reads a registration from a request.
//!
//! **Invariant:** every field has a limit: a client cannot make the registry store more than about 2.5 KiB
//! per instance.
//!
//! Read next: `registry/leases.rs`.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::instance::Registration;
use crate::host::{self, Host, InvalidHost};
use crate::http::{Fields, Problem, Request, required};

/// The longest name of a service, in characters: one label of a DNS name.
pub const MAX_NAME_LENGTH: usize = 63;
/// The largest number of metadata entries of an instance.
pub const MAX_METADATA_ENTRIES: usize = 16;
/// The longest key of a metadata entry, in bytes of UTF-8; the shortest key has one byte.
pub const MAX_KEY_BYTES: usize = 64;
/// The longest value of a metadata entry, in bytes of UTF-8.
pub const MAX_VALUE_BYTES: usize = 256;
/// The largest metadata of an instance, in bytes of JSON without spaces: the form of the answers, in which an
/// escaped character takes up to six bytes.
pub const MAX_METADATA_BYTES: usize = 2048;

/// Whether `text` is a service name: 1 to [`MAX_NAME_LENGTH`] of a-z, 0-9 and `-`.
pub fn is_service_name(text: &str) -> bool {
    (1..=MAX_NAME_LENGTH).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

impl Registration {
    /// Reads the body of `POST /services`. An instance without an id gets a new one.
    ///
    /// # Errors
    /// 400 with the name of the field, 415.
    pub(super) fn of(request: &Request) -> Result<Self, Problem> {
        let mut fields = Fields::of(request)?;
        let registration = Self {
            name: name(&mut fields)?,
            host: host(&mut fields)?,
            port: port(&mut fields)?,
            instance_id: fields.uuid("instance_id")?.unwrap_or_else(Uuid::now_v7),
            metadata: metadata(&mut fields)?,
        };
        // Last: rejects fields that no reader above has taken.
        fields.finish()?;
        Ok(registration)
    }
}

fn name(fields: &mut Fields) -> Result<String, Problem> {
    let name = required("name", fields.text("name")?)?;
    if is_service_name(&name) {
        return Ok(name);
    }
    Err(Problem::invalid_field("name", "must be 1 to 63 of a-z, 0-9 and -"))
}

/// Returns the host, an IPv6 address without brackets.
fn host(fields: &mut Fields) -> Result<String, Problem> {
    let text = required("host", fields.text("host")?)?;
    let host = text.parse::<Host>().and_then(Host::for_clients);
    host.map(|host| host.to_string()).map_err(|InvalidHost| Problem::invalid_field("host", host::RULE))
}

fn port(fields: &mut Fields) -> Result<u16, Problem> {
    let port = required("port", fields.whole_number("port", 1..=u64::from(u16::MAX))?)?;
    // Cannot fail after the check of the range.
    u16::try_from(port).map_err(|error| Problem::invalid_field("port", error.to_string()))
}

fn metadata(fields: &mut Fields) -> Result<BTreeMap<String, String>, Problem> {
    let refused = |detail: String| Problem::invalid_field("metadata", detail);
    let entries = match fields.take("metadata") {
        None => return Ok(BTreeMap::new()),
        Some(Value::Object(entries)) => entries,
        Some(_) => return Err(refused("must be an object of strings".into())),
    };
    if entries.len() > MAX_METADATA_ENTRIES {
        return Err(refused(format!("must have {MAX_METADATA_ENTRIES} entries at most")));
    }
    let metadata: Result<BTreeMap<_, _>, _> =
        entries.into_iter().map(|(key, value)| entry(key, value)).collect();
    let metadata = metadata.map_err(refused)?;
    // Strings always serialize. The size is checked after escaping, as the answers carry it.
    let bytes = serde_json::to_vec(&metadata).map_or(0, |json| json.len());
    if bytes > MAX_METADATA_BYTES {
        return Err(refused(format!("must have {MAX_METADATA_BYTES} bytes of JSON at most, has {bytes}")));
    }
    Ok(metadata)
}

fn entry(key: String, value: Value) -> Result<(String, String), String> {
    let Value::String(value) = value else {
        return Err("must have strings as values".to_owned());
    };
    if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
        return Err(format!("must have keys of 1 to {MAX_KEY_BYTES} bytes of UTF-8"));
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(format!("must have values of {MAX_VALUE_BYTES} bytes of UTF-8 at most"));
    }
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body() -> Value {
        json!({"name": "write", "host": "127.0.0.1", "port": 7001})
    }

    fn read(body: &Value) -> Result<Registration, Problem> {
        Registration::of(&Request::post("/services", &body.to_string()))
    }

    fn assert_refused(field: &str, value: Value) {
        let mut body = body();
        body[field] = value;
        let problem = read(&body).expect_err(&body.to_string());
        assert_eq!(
            (problem.kind.slug, &problem.members["field"]),
            ("invalid-field", &json!(field)),
            "{body}"
        );
    }

    #[test]
    fn the_required_fields_are_enough() {
        let registration = read(&body()).unwrap();
        assert_eq!(registration.port, 7001);
        assert_eq!(registration.instance_id.get_version_num(), 7);
        assert!(registration.metadata.is_empty());
    }

    #[test]
    fn every_field_is_checked_and_named() {
        for bad in [json!(""), json!("Write"), json!("a_b"), json!("é"), json!("a".repeat(64)), json!(1)] {
            assert_refused("name", bad);
        }
        for bad in ["", "a/b", "u@h", "0.0.0.0", "[", "127.0.0.1:80", "..", "127.1", "::", "255.255.255.255"]
        {
            assert_refused("host", json!(bad));
        }
        for bad in [json!(0), json!(65_536), json!(-1), json!(1.5), json!("80")] {
            assert_refused("port", bad);
        }
        for bad in [json!("x"), json!("01936d5e8f2a70008000000000000001"), json!(7)] {
            assert_refused("instance_id", bad);
        }
        assert_refused("weight", json!(1));
        for field in ["name", "host", "port"] {
            assert_refused(field, Value::Null);
        }
    }

    #[test]
    fn metadata_is_text_bounded_in_bytes() {
        let many: BTreeMap<String, String> = (0..17).map(|i| (i.to_string(), String::new())).collect();
        for bad in [json!([]), json!("a"), json!({"a": 1}), json!({"": "a"}), json!({"a": null}), json!(many)]
        {
            assert_refused("metadata", bad);
        }
        assert_refused("metadata", json!({"k".repeat(65): "v"}));
        assert_refused("metadata", json!({"k": "v".repeat(257)}));
        assert_refused("metadata", json!({"k": "ä".repeat(129)}));
        assert_refused("metadata", json!({"ä".repeat(33): "v"}));

        let mut body = body();
        body["metadata"] = json!({"ä".repeat(32): "ä".repeat(128)});
        assert_eq!(read(&body).unwrap().metadata.len(), 1);
    }

    #[test]
    fn all_metadata_together_is_bounded_in_the_bytes_of_its_answer() {
        let values = |text: &str, count: usize| -> BTreeMap<String, String> {
            (0..count).map(|key| (key.to_string(), text.to_owned())).collect()
        };
        for bad in [values(&"v".repeat(256), 8), values(&"\u{1}".repeat(180), 2)] {
            assert_refused("metadata", json!(bad));
        }
        let mut body = body();
        body["metadata"] = json!(values(&"v".repeat(256), 7));
        assert_eq!(read(&body).unwrap().metadata.len(), 7);
    }
}
