//! A response as handlers return a response.
//!
//! **Invariant:** a response is whole in memory: a failing handler never leaves a half-sent answer.
//!
//! Read next: `engine/encode.rs`, which turns a response into bytes.

use std::borrow::Cow;

use serde::Serialize;

/// A whole response. The engine adds `Content-Length`, `Date` and `Connection`.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers in order. An engine refuses a value with control characters in it.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// Returns a response without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Returns a response with the media type. A line end follows a JSON body, so that the prompt of a
    /// terminal begins on its own line after the answer.
    pub fn new(status: u16, media_type: &'static str, mut body: Vec<u8>) -> Self {
        if media_type.ends_with("json") {
            // Exactly: a page of the feed has a megabyte, and `push` might double the capacity.
            body.reserve_exact(1);
            body.push(b'\n');
        }
        Self { status, headers: vec![("Content-Type", Cow::Borrowed(media_type))], body }
    }

    /// Returns a JSON response.
    ///
    /// # Panics
    /// When `value` cannot be JSON (a map with keys other than strings): a bug of the caller,
    /// which the engine answers with a 500.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("a response is JSON");
        Self::new(status, "application/json", body)
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Returns the value of the first header `name`, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
    }
}
