//! Request bodies, field by field: every refusal names a field.
//!
//! Read next: `problem.rs`, the form of a refusal.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Problem, Request, problems};

/// The fields of a JSON object in a request body. A route takes each known field, then calls
/// [`Fields::finish`], which refuses the rest.
#[derive(Debug)]
pub struct Fields {
    object: Map<String, Value>,
}

impl Fields {
    /// Reads the body of `request`.
    ///
    /// # Errors
    /// 415 without `Content-Type: application/json`, 400 `invalid-json` when the body is not a JSON
    /// object in UTF-8, 400 `invalid-field` when the object names a field twice.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        if !is_json(request.header("Content-Type").unwrap_or("")) {
            return Err(Problem::new(
                &problems::UNSUPPORTED_MEDIA_TYPE,
                "send the body with Content-Type: application/json",
            ));
        }
        let (value, repeated) =
            read(&request.body).map_err(|error| Problem::new(&problems::INVALID_JSON, error.to_string()))?;
        match (value, repeated) {
            (_, Some(field)) => Err(Problem::invalid_field(&field, "the field is given twice")),
            (Value::Object(object), None) => Ok(Self { object }),
            (_, None) => Err(Problem::new(&problems::INVALID_JSON, "the body must be one JSON object")),
        }
    }

    /// Like [`Fields::of`], but an empty body counts as `{}` and needs no media type.
    ///
    /// # Errors
    /// As [`Fields::of`].
    pub fn of_optional(request: &Request) -> Result<Self, Problem> {
        if request.body.is_empty() {
            return Ok(Self { object: Map::new() });
        }
        Self::of(request)
    }

    /// Takes a field; `null` counts as absent.
    pub fn take(&mut self, field: &str) -> Option<Value> {
        self.object.remove(field).filter(|value| !value.is_null())
    }

    /// Takes a text.
    ///
    /// # Errors
    /// 400 when the field is not a string.
    pub fn text(&mut self, field: &str) -> Result<Option<String>, Problem> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::invalid_field(field, "must be a string")),
        }
    }

    /// Takes a whole number.
    ///
    /// # Errors
    /// 400 when the field is not a whole number from `range`, or has a fraction or an exponent.
    pub fn whole_number(
        &mut self,
        field: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Problem> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        // `as_u64` is `None` for `1.0` and `1e3`: an amount has a single spelling.
        value.as_u64().filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
            let (low, high) = range.into_inner();
            Problem::invalid_field(field, format!("must be a whole number from {low} to {high}"))
        })
    }

    /// Takes a UUID.
    ///
    /// # Errors
    /// 400 when the field is not a UUID with hyphens.
    pub fn uuid(&mut self, field: &str) -> Result<Option<Uuid>, Problem> {
        let Some(text) = self.text(field)? else {
            return Ok(None);
        };
        parse_uuid(&text)
            .map(Some)
            .ok_or_else(|| Problem::invalid_field(field, "must be a UUID with hyphens"))
    }

    /// Refuses fields left over.
    ///
    /// # Errors
    /// 400 with the name of an unknown field.
    pub fn finish(self) -> Result<(), Problem> {
        match self.object.into_iter().next() {
            Some((field, _)) => Err(Problem::invalid_field(&field, "the field is unknown")),
            None => Ok(()),
        }
    }
}

/// Returns the value of a required field.
///
/// # Errors
/// 400 with the name of the field when `value` is absent.
pub fn required<T>(field: &str, value: Option<T>) -> Result<T, Problem> {
    value.ok_or_else(|| Problem::invalid_field(field, "the field is required"))
}

/// Reads a UUID in hyphenated form, of either case. The uuid crate also reads braced, URN and plain forms,
/// which would give an account several addresses.
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|_| text.len() == 36)
}

/// Returns the JSON value in `body`, and the first repeated name of an object.
fn read(body: &[u8]) -> serde_json::Result<(Value, Option<String>)> {
    let mut repeated = None;
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = Unique { path: String::new(), repeated: &mut repeated }.deserialize(&mut deserializer)?;
    // A second value after the first is an error, and never ignored.
    deserializer.end()?;
    Ok((value, repeated))
}

fn is_json(content_type: &str) -> bool {
    // Parameters such as `charset=utf-8` change no meaning: JSON is UTF-8.
    let essence = content_type.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Reads a JSON value and notes the first repeated name of an object, at any depth. serde_json alone keeps the
/// last of two equal names; with money, a guess at the sender's intention is not good enough.
struct Unique<'r> {
    /// The place of the value: empty for the body, else the names on the way, joined by dots.
    path: String,
    repeated: &'r mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Value, M::Error> {
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let path = if self.path.is_empty() { name.clone() } else { format!("{}.{name}", self.path) };
            let value = map.next_value_seed(Unique { path: path.clone(), repeated: self.repeated })?;
            // Noted and not refused here: a body that is malformed further on is reported as malformed.
            if object.insert(name, value).is_some() {
                self.repeated.get_or_insert(path);
            }
        }
        Ok(Value::Object(object))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Value, S::Error> {
        let mut array = Vec::new();
        while let Some(item) =
            items.next_element_seed(Unique { path: self.path.clone(), repeated: self.repeated })?
        {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Result<Fields, Problem> {
        Fields::of(&Request::post("/", json))
    }

    fn refused_field<T: fmt::Debug>(result: Result<T, Problem>) -> Value {
        let problem = result.unwrap_err();
        assert_eq!(problem.kind.slug, "invalid-field");
        problem.members["field"].clone()
    }

    #[test]
    fn whole_numbers_are_neither_fractions_nor_exponents_nor_texts() {
        for bad in ["12.5", "1e3", "1.0", "-1", "\"5\"", "0", "11", "true", "[]", "99999999999999999999"] {
            let mut fields = fields(&format!("{{\"amount\":{bad}}}")).unwrap();
            assert_eq!(refused_field(fields.whole_number("amount", 1..=10)), "amount", "{bad}");
        }
        let mut fields = fields(r#"{"amount":10}"#).unwrap();
        assert_eq!(fields.whole_number("amount", 1..=10).unwrap(), Some(10));
    }

    #[test]
    fn unknown_fields_and_repeated_fields_are_refused_by_name() {
        assert_eq!(refused_field(fields(r#"{"tip":1}"#).unwrap().finish()), "tip");
        assert_eq!(refused_field(fields(r#"{"amount":1,"amount":2}"#)), "amount");
        assert_eq!(refused_field(fields(r#"{"metadata":{"zone":"a","zone":"b"}}"#)), "metadata.zone");
        assert_eq!(refused_field(fields(r#"{"a":[{"b":{"c":1,"c":1}}]}"#)), "a.b.c");
    }

    #[test]
    fn a_missing_field_is_refused_by_name() {
        let absent = fields(r#"{"owner":null}"#).unwrap().text("owner").unwrap();
        assert_eq!(refused_field(required("owner", absent)), "owner");
    }

    #[test]
    fn only_json_objects_are_bodies() {
        for bad in ["", "[]", "null", "1", "\"a\"", "{", "{}x", "{\"a\":\"\\ud800\"}"] {
            assert_eq!(fields(bad).unwrap_err().kind.slug, "invalid-json", "{bad}");
        }
        let mut bytes = Request::post("/", "");
        bytes.body = b"{\"a\":\"\xff\"}".to_vec();
        assert_eq!(Fields::of(&bytes).unwrap_err().kind.slug, "invalid-json");
    }

    #[test]
    fn a_body_needs_its_media_type() {
        let mut request = Request::new(super::super::Method::POST, "/");
        request.body = b"{}".to_vec();
        assert_eq!(Fields::of(&request).unwrap_err().kind.slug, "unsupported-media-type");
        let request = request.with_header("content-type", "Application/JSON; charset=utf-8");
        Fields::of(&request).unwrap().finish().unwrap();
    }

    #[test]
    fn uuids_come_with_hyphens_in_either_case() {
        assert!(parse_uuid("01936D5E-8F2A-7000-8000-000000000001").is_some());
        assert!(parse_uuid("01936d5e8f2a70008000000000000001").is_none());
        assert!(parse_uuid("{01936d5e-8f2a-7000-8000-000000000001}").is_none());
    }
}
