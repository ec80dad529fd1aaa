//! Errors as `application/problem+json` (RFC 9457): a type for programs, a sentence for people, and
//! further members.
//!
//! **Invariant:** every error response has a type of the tables, and every type has a page at
//! `/problems/{slug}`.
//!
//! Read next: `response.rs`.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::response::Response;

/// A kind of problem. Slugs are part of the interface: a slug never changes its meaning.
#[derive(Debug, PartialEq, Eq)]
pub struct ProblemType {
    /// The last segment of the type URI, `/problems/{slug}`.
    pub slug: &'static str,
    /// The status code of the response.
    pub status: u16,
    /// The title: the kind in a few words.
    pub title: &'static str,
    /// One paragraph: the meaning, and the client's next step.
    pub meaning: &'static str,
}

/// One problem, ready to send.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The kind of the problem.
    pub kind: &'static ProblemType,
    /// The reason in this case, for a person.
    pub detail: String,
    /// Further members of the JSON object.
    pub members: Map<String, Value>,
    /// Further headers, for example `Allow` or `Retry-After`.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
}

impl Problem {
    /// Returns a problem of the kind.
    pub fn new(kind: &'static ProblemType, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), members: Map::new(), headers: Vec::new() }
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Returns 400: `field` of the body is unknown, missing, of the wrong type or out of its range.
    pub fn invalid_field(field: &str, detail: impl Into<String>) -> Self {
        Self::new(&problems::INVALID_FIELD, detail).with("field", field)
    }

    /// Returns 400: a query parameter is unknown, repeated, malformed or out of its range.
    pub fn invalid_query(parameter: &str, detail: impl Into<String>) -> Self {
        Self::new(&problems::INVALID_QUERY, detail).with("parameter", parameter)
    }

    /// Returns 400: a header is malformed.
    pub fn invalid_header(header: &str, detail: impl Into<String>) -> Self {
        Self::new(&problems::INVALID_HEADER, detail).with("header", header)
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        let kind = problem.kind;
        let mut object = Map::new();
        object.insert("type".into(), format!("/problems/{}", kind.slug).into());
        object.insert("title".into(), kind.title.into());
        object.insert("status".into(), kind.status.into());
        object.insert("detail".into(), problem.detail.into());
        // RFC 9457, 3.2: members of its own stand beside the standard members of a problem.
        object.extend(problem.members);
        let body = Value::Object(object).to_string().into_bytes();
        let mut response = Response::new(kind.status, "application/problem+json", body);
        response.headers.extend(problem.headers);
        response
    }
}

/// Declares kinds of problems and the list `ALL`:
/// `NAME = status "slug", "title", "meaning";`
macro_rules! problem_types {
    ($($name:ident = $status:literal $slug:literal, $title:literal, $meaning:literal;)*) => {
        $(#[doc = $meaning]
        pub const $name: $crate::http::ProblemType =
            $crate::http::ProblemType { slug: $slug, status: $status, title: $title, meaning: $meaning };)*
        /// All kinds of this module.
        pub const ALL: &[&$crate::http::ProblemType] = &[$(&$name),*];
    };
}
pub(crate) use problem_types;

/// The problems that any service can have; each service adds further kinds.
pub mod problems {
    problem_types! {
        INVALID_JSON = 400 "invalid-json", "The body is not valid JSON",
            "The body could not be read as one JSON object in UTF-8. The detail says where. Correct the body and send it again.";
        INVALID_FIELD = 400 "invalid-field", "A field of the body is not valid",
            "A field of the body is unknown, missing, of the wrong type or out of its range; `field` names it. Correct it and send the request again.";
        INVALID_QUERY = 400 "invalid-query", "A query parameter is not valid",
            "A query parameter is unknown, repeated, malformed or out of its range; `parameter` names it. Nothing is clamped in silence. Correct it and send the request again.";
        INVALID_HEADER = 400 "invalid-header", "A header is not valid",
            "A header is malformed, or stands twice where it may stand once; `header` names it. It is never ignored, because the request would then mean something else. Correct it and send the request again.";
        INVALID_ID = 400 "invalid-id", "The identifier in the path is not valid",
            "An identifier in the path is not of its form (a UUID with hyphens, a service name). Check the address.";
        INVALID_REQUEST = 400 "invalid-request", "The request is not valid HTTP",
            "The request could not be read as HTTP/1.1, or it was cut off. The connection is closed, since its end is uncertain.";
        ORIGIN_NOT_ALLOWED = 403 "origin-not-allowed", "Pages from this origin may not do this",
            "A web page from another origin tried to change something. There is no authentication, so only pages from the machine itself may, and those from origins that the operator has named with `--allow-origin`.";
        NOT_FOUND = 404 "not-found", "There is nothing at this address",
            "No route has this path. `GET /openapi.json` lists all routes.";
        METHOD_NOT_ALLOWED = 405 "method-not-allowed", "The address does not know this method",
            "The path exists, but not with this method. The `Allow` header lists the methods that it has.";
        HOST_NOT_ALLOWED = 421 "host-not-allowed", "The service does not answer to this host name",
            "The `Host` header names a host that the service does not know as its own. Without this rule, a web page could read answers by pointing a name of its own at this address (DNS rebinding). Use an IP address, `localhost`, or the name that the service listens on or advertises; the operator adds names with `--allow-host`.";
        REQUEST_TIMEOUT = 408 "request-timeout", "The request took too long to arrive",
            "The head or the body of the request did not arrive within its deadline. Send it again on a new connection.";
        BODY_TOO_LARGE = 413 "body-too-large", "The body is too large",
            "A request body may have 64 KiB at most. Send less.";
        UNSUPPORTED_MEDIA_TYPE = 415 "unsupported-media-type", "The form of the body is not supported",
            "A request body needs `Content-Type: application/json`, and no `Content-Encoding` but `identity`.";
        HEAD_TOO_LARGE = 431 "head-too-large", "The request head is too large",
            "The request line and headers are longer or more than the server takes. Send less.";
        INTERNAL_ERROR = 500 "internal-error", "The service failed",
            "A fault of the service itself; its log has the details. A command with an `Idempotency-Key` can safely be sent again.";
        NOT_IMPLEMENTED = 501 "not-implemented", "The transfer coding is not known",
            "The server knows no transfer coding but `chunked`. Send the body with a `Content-Length`.";
        NOT_READY = 503 "not-ready", "The service cannot do its whole job yet",
            "The detail says what is missing. Send requests to another instance, and ask again after `Retry-After`.";
        OVERLOADED = 503 "overloaded", "The service is overloaded",
            "The service has more work than it can take. Wait as long as `Retry-After` says, then try again; a command with the same `Idempotency-Key`.";
        VERSION_NOT_SUPPORTED = 505 "http-version-not-supported", "The HTTP version is not supported",
            "The server speaks HTTP/1.1 and HTTP/1.0.";
    }
}
