//! The OpenAPI documents: a hand-written part per service, completed with the common part and the problems.
//!
//! `openapi/*.json` holds the routes, parameters, bodies and successes. An operation lists the slugs of its
//! problems there; their status, title, meaning, headers and example come from the [`ProblemType`] that the
//! handlers answer with. An operation that resembles another names the other's path as `x-like`. An empty `enum` is
//! filled with a list of the code, see [`CodeList`].
//!
//! **Invariant:** `tests/spec/openapi.rs` calls every operation of the documents and finds every route in a
//! document, so the documents cannot drift from the code.
//!
//! Read next: `service/about.rs`, which serves the documents.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::http::ProblemType;

/// The part that the documents of all services share.
const COMMON: &str = include_str!("../../openapi/common.json");

/// The slugs of the problems that any request can get: from the engine, from the rules of every route, or
/// from a failed handler.
const EVERYWHERE: [&str; 13] = [
    "invalid-request",
    "invalid-header",
    "invalid-json",
    "invalid-field",
    "unsupported-media-type",
    "host-not-allowed",
    "request-timeout",
    "body-too-large",
    "head-too-large",
    "internal-error",
    "not-implemented",
    "overloaded",
    "http-version-not-supported",
];

/// The member of an operation that lists the slugs of its problems.
const SLUGS: &str = "x-problems";

/// A list that the code has, and the place of the document where clients read the list: a JSON pointer to an
/// `enum`.
pub type CodeList = (&'static str, &'static [&'static str]);

/// The member of a POST operation that names the path of another, whose members fill the gaps of the operation.
const LIKE: &str = "x-like";

/// Returns the document of a service, from the hand-written part `own`, the problems of the service, and the
/// lists of the code.
///
/// # Panics
/// When the hand-written part is not JSON, names an unknown problem or path, or has no place for a list. A test
/// builds every document, so no released service panics here.
pub fn document(own: &str, problems: &[&'static ProblemType], lists: &[CodeList]) -> Value {
    let mut document = merged(parsed(COMMON), parsed(own));
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    for (pointer, values) in lists {
        let place = document.pointer_mut(pointer);
        *place.unwrap_or_else(|| panic!("the document has no {pointer}")) = json!(values);
    }
    let paths = document["paths"].clone();
    for operation in operations_of(&mut document) {
        complete(operation, &paths);
        describe_problems(operation, problems);
    }
    document
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("the documents are JSON")
}

/// Returns both values merged: members of objects are merged, lists are joined, otherwise `over` wins.
fn merged(under: Value, over: Value) -> Value {
    match (under, over) {
        (Value::Object(mut under), Value::Object(over)) => {
            for (name, value) in over {
                let below = under.remove(&name).unwrap_or(Value::Null);
                under.insert(name, merged(below, value));
            }
            Value::Object(under)
        }
        (Value::Array(mut under), Value::Array(over)) => {
            under.extend(over);
            Value::Array(under)
        }
        // Any other pair cannot be merged, and the service's own value counts.
        (_, over) => over,
    }
}

/// A document in the order for clients: of several media types, `application/json` comes first, because
/// generated clients use the first media type only.
pub struct JsonFirst<'a>(pub &'a Value);

impl Serialize for JsonFirst<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(members) => {
                let is_default = |name: &str| name == "application/json";
                let first = members.iter().filter(|(name, _)| is_default(name));
                let others = members.iter().filter(|(name, _)| !is_default(name));
                serializer.collect_map(first.chain(others).map(|(name, value)| (name, JsonFirst(value))))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(JsonFirst)),
            scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                scalar.serialize(serializer)
            }
        }
    }
}

fn operations_of(document: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    paths.filter_map(Value::as_object_mut).flat_map(Map::values_mut).filter_map(Value::as_object_mut)
}

/// Adds the members that the operation has in common with another.
fn complete(operation: &mut Map<String, Value>, paths: &Value) {
    let Some(path) = operation.remove(LIKE) else { return };
    let model = path.as_str().and_then(|path| paths.get(path)?["post"].as_object());
    for (name, value) in model.unwrap_or_else(|| panic!("no operation at {path}")) {
        operation.entry(name).or_insert_with(|| value.clone());
    }
}

/// Adds a response for each status of the operation's problems; hand-written responses win.
fn describe_problems(operation: &mut Map<String, Value>, problems: &[&'static ProblemType]) {
    let listed = operation.remove(SLUGS).unwrap_or_default();
    let own = listed.as_array().into_iter().flatten().filter_map(Value::as_str);
    // The slugs of the operation come first, then the slugs of every route that the operation does not list.
    let mut slugs: Vec<&str> = own.collect();
    // Collected first, since the filter reads the list that grows.
    slugs.extend(EVERYWHERE.iter().filter(|slug| !slugs.contains(slug)).copied().collect::<Vec<_>>());
    let kinds: Vec<&ProblemType> = slugs.into_iter().map(|slug| of_slug(problems, slug)).collect();
    let mut responses = Map::new();
    for status in kinds.iter().map(|kind| kind.status) {
        let of_status: Vec<_> = kinds.iter().copied().filter(|kind| kind.status == status).collect();
        responses.insert(status.to_string(), response(&of_status));
    }
    // The operation's own responses come last, and win over the generated responses.
    let own = operation.remove("responses").unwrap_or_default();
    operation.insert("responses".into(), merged(Value::Object(responses), own));
}

fn of_slug(problems: &[&'static ProblemType], slug: &str) -> &'static ProblemType {
    let found = problems.iter().find(|kind| kind.slug == slug);
    found.unwrap_or_else(|| panic!("unknown problem {slug}"))
}

/// Returns the response for problems of one status.
fn response(kinds: &[&ProblemType]) -> Value {
    let described: Vec<_> = kinds.iter().map(|kind| format!("`{}`: {}", kind.slug, kind.meaning)).collect();
    let types: Vec<_> = kinds.iter().map(|kind| type_of(kind)).collect();
    let examples: Map<_, _> =
        kinds.iter().map(|kind| (kind.slug.to_owned(), json!({ "value": example(kind) }))).collect();
    let schema = json!({
        "allOf": [
            { "$ref": "#/components/schemas/Problem" },
            { "properties": { "type": { "enum": types } } },
        ]
    });
    let mut response = json!({
        "description": described.join("\n\n"),
        "content": { "application/problem+json": { "schema": schema, "examples": examples } },
    });
    // Every 503 has a Retry-After.
    if kinds.iter().all(|kind| kind.status == 503) {
        response["headers"] = json!({ "Retry-After": { "$ref": "#/components/headers/RetryAfter" } });
    }
    response
}

/// Returns the `type` of a problem.
pub fn type_of(kind: &ProblemType) -> String {
    format!("/problems/{}", kind.slug)
}

fn example(kind: &ProblemType) -> Value {
    let mut example = json!({
        "type": type_of(kind),
        "title": kind.title,
        "status": kind.status,
        "detail": kind.title,
    });
    let members = [
        ("invalid-field", "field", "amount"),
        ("invalid-query", "parameter", "limit"),
        ("invalid-header", "header", "If-Match"),
    ];
    for (_, member, value) in members.iter().filter(|(slug, _, _)| *slug == kind.slug) {
        example[*member] = (*value).into();
    }
    example
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problems;

    #[test]
    fn problems_are_described_by_status_beside_the_successes() {
        let own = r#"{"paths": {"/things": {"get": {
            "responses": {"200": {"description": "Things."}, "404": {"headers": {"Event-Position": {}}}},
            "x-problems": ["not-found"], "tags": []
        }}}}"#;
        let lists: &[CodeList] = &[("/paths/~1things/get/tags", &["a", "b"])];
        let document = document(own, problems::ALL, lists);
        let operation = &document["paths"]["/things"]["get"];
        assert_eq!(operation["responses"]["200"], json!({"description": "Things."}));
        let missing = &operation["responses"]["404"];
        let body = &missing["content"]["application/problem+json"];
        assert_eq!(body["schema"]["allOf"][1]["properties"]["type"]["enum"], json!(["/problems/not-found"]));
        assert!(missing["headers"].get("Event-Position").is_some());
        assert!(operation["responses"]["503"]["headers"].get("Retry-After").is_some());
        assert_eq!(operation["tags"], json!(["a", "b"]));
        assert!(operation.get(SLUGS).is_none());
        assert!(document["paths"].get("/metrics").is_some());
    }

    #[test]
    fn an_operation_like_another_has_what_it_does_not_say_itself() {
        let own = r#"{"paths": {
            "/a": {"post": {"operationId": "a", "parameters": [1], "responses": {"200": {}}, "x-problems": ["not-found"]}},
            "/b": {"post": {"operationId": "b", "parameters": [2], "x-like": "/a"}}
        }}"#;
        let document = document(own, problems::ALL, &[]);
        let operation = &document["paths"]["/b"]["post"];
        assert_eq!((&operation["operationId"], &operation["parameters"]), (&json!("b"), &json!([2])));
        assert!(operation["responses"].get("404").is_some() && operation.get(LIKE).is_none());
    }

    #[test]
    #[should_panic(expected = "unknown problem not-fuond")]
    fn a_problem_that_there_is_not_cannot_be_listed() {
        document(r#"{"paths": {"/": {"get": {"x-problems": ["not-fuond"]}}}}"#, problems::ALL, &[]);
    }
}
