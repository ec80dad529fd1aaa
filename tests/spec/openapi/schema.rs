//! A checker for the part of JSON Schema that the documents use. A keyword that it does not know
//! fails the test, so that nothing is taken as checked that is not.

use serde_json::Value;

/// Keywords that say something to people and tools, and nothing about what is valid. Patterns
/// are here, too: the fuzz run (`tests/fuzz-api.sh`) has an engine for them.
const NOT_CHECKED: [&str; 5] = ["description", "default", "example", "examples", "pattern"];

/// What is wrong with `value`, if anything, by `schema` of `document`.
pub(crate) fn violations(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let keywords = schema.as_object().unwrap_or_else(|| panic!("{schema} is no schema"));
    let broken = keywords.iter().filter(|(keyword, _)| !NOT_CHECKED.contains(&keyword.as_str()));
    broken.flat_map(|(keyword, rule)| check(document, schema, keyword, rule, value)).collect()
}

/// The value that a reference such as `#/components/schemas/Uuid` points to; another value itself.
pub(crate) fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(place) => {
            let pointer = place.strip_prefix('#').unwrap_or_else(|| panic!("{place} is elsewhere"));
            document.pointer(pointer).unwrap_or_else(|| panic!("nothing is at {place}"))
        }
        None => value,
    }
}

fn check(document: &Value, schema: &Value, keyword: &str, rule: &Value, value: &Value) -> Vec<String> {
    let unless = |holds: bool| {
        if holds { Vec::new() } else { vec![format!("{keyword} {rule} does not hold for {value}")] }
    };
    let number = || (rule.as_f64().unwrap(), value.as_f64());
    match keyword {
        "$ref" => violations(document, resolved(document, schema), value),
        "type" => unless(one_or_many(rule).any(|name| has_type(value, name.as_str().unwrap()))),
        "enum" => unless(rule.as_array().unwrap().contains(value)),
        "const" => unless(rule == value),
        "minimum" => unless(number().1.is_none_or(|value| value >= number().0)),
        "maximum" => unless(number().1.is_none_or(|value| value <= number().0)),
        "exclusiveMinimum" => unless(number().1.is_none_or(|value| value > number().0)),
        "format" => unless(value.as_str().is_none_or(|text| has_format(text, rule.as_str().unwrap()))),
        "minLength" | "minItems" | "minProperties" => {
            unless(size(value, keyword).is_none_or(|size| size >= rule.as_u64().unwrap()))
        }
        "maxLength" | "maxItems" | "maxProperties" => {
            unless(size(value, keyword).is_none_or(|size| size <= rule.as_u64().unwrap()))
        }
        "allOf" => {
            rule.as_array().unwrap().iter().flat_map(|part| violations(document, part, value)).collect()
        }
        "if" if violations(document, rule, value).is_empty() => violations(document, &schema["then"], value),
        "if" | "then" => Vec::new(),
        "items" => {
            value.as_array().into_iter().flatten().flat_map(|item| violations(document, rule, item)).collect()
        }
        "required" | "properties" | "additionalProperties" | "propertyNames" => {
            of_object(document, schema, keyword, value)
        }
        unknown => panic!("the checker does not know {unknown}"),
    }
}

fn of_object(document: &Value, schema: &Value, keyword: &str, value: &Value) -> Vec<String> {
    let Some(object) = value.as_object() else {
        return Vec::new();
    };
    let rule = &schema[keyword];
    match keyword {
        "required" => {
            let names = rule.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
            let missing = names.filter(|name| !object.contains_key(*name));
            missing.map(|name| format!("{name} is missing in {value}")).collect()
        }
        "propertyNames" => {
            object.keys().flat_map(|name| violations(document, rule, &name.as_str().into())).collect()
        }
        "properties" => {
            let known = object.iter().filter_map(|(name, member)| Some((rule.get(name)?, member)));
            known.flat_map(|(schema, member)| violations(document, schema, member)).collect()
        }
        _ => {
            let further = object.iter().filter(|(name, _)| schema["properties"].get(name).is_none());
            let check = |(name, member): (&String, &Value)| match rule {
                Value::Bool(true) => Vec::new(),
                Value::Bool(false) => vec![format!("{name} is unknown in {value}")],
                schema => violations(document, schema, member),
            };
            further.flat_map(check).collect()
        }
    }
}

fn one_or_many(rule: &Value) -> impl Iterator<Item = &Value> {
    rule.as_array().map_or_else(|| std::slice::from_ref(rule), Vec::as_slice).iter()
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        unknown => panic!("{unknown} is no type"),
    }
}

fn has_format(text: &str, name: &str) -> bool {
    match name {
        "uuid" => text.len() == 36 && text.parse::<uuid::Uuid>().is_ok(),
        "date-time" => text.parse::<tally::time::Timestamp>().is_ok(),
        "uri-reference" => text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()),
        "int64" => true,
        unknown => panic!("the checker does not know the format {unknown}"),
    }
}

fn size(value: &Value, keyword: &str) -> Option<u64> {
    let size = match &keyword[3..] {
        "Length" => value.as_str()?.chars().count(),
        "Items" => value.as_array()?.len(),
        _ => value.as_object()?.len(),
    };
    Some(size as u64)
}

#[test]
fn the_checker_finds_what_breaks_each_of_its_rules() {
    let check = |schema: &str, value: &str| {
        let document = serde_json::json!({ "text": { "type": "string" } });
        let [schema, value] = [schema, value].map(|json| serde_json::from_str::<Value>(json).unwrap());
        violations(&document, &schema, &value).len()
    };
    for (schema, good, bad) in [
        (r##"{"$ref": "#/text"}"##, r#""a""#, "1"),
        (r#"{"type": ["string", "null"]}"#, "null", "1"),
        (r#"{"type": "integer"}"#, "1", "1.5"),
        (r#"{"enum": [1, 2]}"#, "2", "3"),
        (r#"{"minimum": 1}"#, "1", "0"),
        (r#"{"maximum": 1}"#, "1", "2"),
        (r#"{"exclusiveMinimum": 1}"#, "2", "1"),
        (r#"{"format": "uuid"}"#, r#""01936d5e-8f2a-7000-8000-000000000001""#, r#""a""#),
        (r#"{"minLength": 1}"#, r#""ä""#, r#""""#),
        (r#"{"maxItems": 1}"#, "[1]", "[1, 2]"),
        (r#"{"allOf": [{"minimum": 1}, {"maximum": 1}]}"#, "1", "2"),
        (r#"{"if": {"const": 1}, "then": {"const": 2}}"#, "3", "1"),
        (r#"{"items": {"const": 1}}"#, "[1]", "[1, 2]"),
        (r#"{"required": ["a"]}"#, r#"{"a": 1}"#, "{}"),
        (r#"{"propertyNames": {"maxLength": 1}}"#, r#"{"a": 1}"#, r#"{"aa": 1}"#),
        (r#"{"properties": {"a": {"const": 1}}}"#, r#"{"b": 2}"#, r#"{"a": 2}"#),
        (r#"{"additionalProperties": false, "properties": {"a": {}}}"#, r#"{"a": 1}"#, r#"{"b": 1}"#),
    ] {
        assert_eq!((check(schema, good), check(schema, bad)), (0, 1), "{schema}");
    }
}
