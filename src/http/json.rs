//! Request bodies, field by field, so that every refusal names the field it is about.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Problem, Request, problems};

/// The fields of a JSON object that was sent as a request body. Take each field that the route
/// knows, then call [`Fields::finish`], which refuses what is left.
#[derive(Debug)]
pub struct Fields {
    object: Map<String, Value>,
}

impl Fields {
    /// Reads the body of `request`.
    ///
    /// # Errors
    /// 415 without `Content-Type: application/json`, 400 `invalid-json` when the body is no JSON
    /// object in UTF-8, 400 `invalid-field` when it names a field twice.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        if !is_json(request.header("Content-Type").unwrap_or("")) {
            return Err(Problem::new(
                &problems::UNSUPPORTED_MEDIA_TYPE,
                "send the body with Content-Type: application/json",
            ));
        }
        let UniqueFields { object, repeated } = serde_json::from_slice(&request.body)
            .map_err(|error| Problem::new(&problems::INVALID_JSON, error.to_string()))?;
        match repeated {
            Some(field) => Err(Problem::invalid_field(&field, "the field is given twice")),
            None => Ok(Self { object }),
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
    /// 400 when it is no string.
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
    /// 400 when it is no whole number from `range`; a fraction or an exponent makes it none.
    pub fn whole_number(
        &mut self,
        field: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Problem> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        value.as_u64().filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
            let (low, high) = range.into_inner();
            Problem::invalid_field(field, format!("must be a whole number from {low} to {high}"))
        })
    }

    /// Takes a UUID.
    ///
    /// # Errors
    /// 400 when it is no UUID with hyphens.
    pub fn uuid(&mut self, field: &str) -> Result<Option<Uuid>, Problem> {
        let Some(text) = self.text(field)? else {
            return Ok(None);
        };
        parse_uuid(&text)
            .map(Some)
            .ok_or_else(|| Problem::invalid_field(field, "must be a UUID with hyphens"))
    }

    /// Makes sure that no field is left.
    ///
    /// # Errors
    /// 400 that names a field which the route does not know.
    pub fn finish(self) -> Result<(), Problem> {
        match self.object.into_iter().next() {
            Some((field, _)) => Err(Problem::invalid_field(&field, "the field is unknown")),
            None => Ok(()),
        }
    }
}

/// A field that must be there.
///
/// # Errors
/// 400 that names `field` when `value` is absent.
pub fn required<T>(field: &str, value: Option<T>) -> Result<T, Problem> {
    value.ok_or_else(|| Problem::invalid_field(field, "the field is required"))
}

/// A UUID in its hyphenated form, of either case. The other forms that the uuid crate reads
/// (braced, URN, without hyphens) would give one account several addresses.
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|_| text.len() == 36)
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// serde_json keeps the last of two equal names; for money the sender must not be guessed at.
struct UniqueFields {
    object: Map<String, Value>,
    repeated: Option<String>,
}

impl<'de> Deserialize<'de> for UniqueFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = UniqueFields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<UniqueFields, M::Error> {
                let mut fields = UniqueFields { object: Map::new(), repeated: None };
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if fields.object.insert(name.clone(), value).is_some() {
                        fields.repeated = Some(name);
                    }
                }
                Ok(fields)
            }

            fn visit_unit<E: de::Error>(self) -> Result<UniqueFields, E> {
                Err(E::invalid_type(de::Unexpected::Unit, &self))
            }
        }
        deserializer.deserialize_any(ObjectVisitor)
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
        let mut request = Request::new(super::super::Method::Post, "/");
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
