//! The OpenAPI documents: what each service writes by hand, completed with what all have in common.
//!
//! By hand are the routes, parameters, bodies and successes, in `openapi/*.json`. An operation
//! lists the slugs of its problems there, and everything else about them (status, title, meaning,
//! headers, example) comes from the [`ProblemType`] that the handlers answer with.
//!
//! **Invariant:** `tests/spec/openapi.rs` calls everything in the documents and finds every route in
//! them, so they are as true as the tests are green.
//!
//! Read next: `about.rs`, which serves them.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::http::ProblemType;

/// What the documents of all services have in common.
const COMMON: &str = include_str!("../../openapi/common.json");

/// The problems that any request can be answered with: by the engine, by the rules that go for every
/// route, or because a handler fails.
pub const EVERYWHERE: [&str; 13] = [
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

/// Where an operation lists the slugs of its problems in the hand-written documents.
const SLUGS: &str = "x-problems";

/// The whole document of a service, from its hand-written part and the problems it can answer.
///
/// # Panics
/// When the hand-written part is not JSON, or names a problem that there is not. A test builds
/// every document, so no released service meets this.
pub fn document(own: &str, problems: &[&'static ProblemType]) -> Value {
    let mut document = merged(parsed(COMMON), parsed(own));
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    for operation in operations_of(&mut document) {
        describe_problems(operation, problems);
    }
    document
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("the documents are JSON")
}

/// Both in one: objects are merged and lists joined, and in all else `over` wins.
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
        (_, over) => over,
    }
}

/// A document as it is served: of several media types, `application/json` stands first, because generated
/// clients take the first one for the only one.
pub struct Served<'a>(pub &'a Value);

impl Serialize for Served<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(members) => {
                let is_default = |name: &str| name == "application/json";
                let first = members.iter().filter(|(name, _)| is_default(name));
                let others = members.iter().filter(|(name, _)| !is_default(name));
                serializer.collect_map(first.chain(others).map(|(name, value)| (name, Served(value))))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Served)),
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

/// Puts a response for each status of the operation's problems, below what it says itself.
fn describe_problems(operation: &mut Map<String, Value>, problems: &[&'static ProblemType]) {
    let listed = operation.remove(SLUGS).unwrap_or_default();
    let own = listed.as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut slugs: Vec<&str> = own.collect();
    slugs.extend(EVERYWHERE.iter().filter(|slug| !slugs.contains(slug)).copied().collect::<Vec<_>>());
    let kinds: Vec<&ProblemType> = slugs.into_iter().map(|slug| of_slug(problems, slug)).collect();
    let mut responses = Map::new();
    for status in kinds.iter().map(|kind| kind.status) {
        let of_status: Vec<_> = kinds.iter().copied().filter(|kind| kind.status == status).collect();
        responses.insert(status.to_string(), response(&of_status));
    }
    let own = operation.remove("responses").unwrap_or_default();
    operation.insert("responses".into(), merged(Value::Object(responses), own));
}

fn of_slug(problems: &[&'static ProblemType], slug: &str) -> &'static ProblemType {
    let found = problems.iter().find(|kind| kind.slug == slug);
    found.unwrap_or_else(|| panic!("there is no problem {slug}"))
}

/// The response that is one of these problems, all of one status.
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
    if kinds.iter().all(|kind| kind.status == 503) {
        response["headers"] = json!({ "Retry-After": { "$ref": "#/components/headers/RetryAfter" } });
    }
    response
}

/// The `type` of such problems.
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
            "x-problems": ["not-found"]
        }}}}"#;
        let document = document(own, problems::ALL);
        let operation = &document["paths"]["/things"]["get"];
        assert_eq!(operation["responses"]["200"], json!({"description": "Things."}));
        let missing = &operation["responses"]["404"];
        let body = &missing["content"]["application/problem+json"];
        assert_eq!(body["schema"]["allOf"][1]["properties"]["type"]["enum"], json!(["/problems/not-found"]));
        assert!(missing["headers"].get("Event-Position").is_some());
        assert!(operation["responses"]["503"]["headers"].get("Retry-After").is_some());
        assert!(operation.get(SLUGS).is_none());
        assert!(document["paths"].get("/metrics").is_some());
    }

    #[test]
    #[should_panic(expected = "there is no problem not-fuond")]
    fn a_problem_that_there_is_not_cannot_be_listed() {
        document(r#"{"paths": {"/": {"get": {"x-problems": ["not-fuond"]}}}}"#, problems::ALL);
    }
}
