//! A request as handlers see a request: whole, parsed, within the engine's limits.
//!
//! **Invariant:** a request never blocks its reader: the engine has received the body.
//!
//! Read next: `engine/request_head.rs`, which fills a request.

use std::ops::Range;

use ::http::Method;

/// A whole request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The body; empty without a body.
    pub body: Vec<u8>,
    // One string holds target and headers, and ranges point into the string: a request costs a handful of
    // allocations, not two for every header.
    text: String,
    path: Range<usize>,
    query: Range<usize>,
    headers: Vec<(Range<usize>, Range<usize>)>,
}

impl Request {
    /// Returns a request for `target` (path and query, as on the request line), without headers and body.
    pub fn new(method: Method, target: &str) -> Self {
        let mut request = Self {
            method: Method::GET,
            body: Vec::new(),
            text: String::new(),
            path: 0..0,
            query: 0..0,
            headers: Vec::new(),
        };
        request.reset(method, target);
        request
    }

    /// Turns this value into another request without headers and body, in the same memory: an engine
    /// reuses one value for all requests of a connection.
    pub(super) fn reset(&mut self, method: Method, target: &str) {
        let path_end = target.find('?').unwrap_or(target.len());
        self.method = method;
        self.body.clear();
        self.text.clear();
        self.text.push_str(target);
        self.path = 0..path_end;
        // Without a `?`, both ends of the query are the end of the target.
        self.query = (path_end + 1).min(target.len())..target.len();
        self.headers.clear();
    }

    /// Releases the buffers when the request head or the body has reserved more than `kept_bytes`.
    pub(super) fn release_memory(&mut self, kept_bytes: usize) {
        if self.text.capacity() > kept_bytes || self.body.capacity() > kept_bytes {
            // A new value, because `clear` keeps the capacity.
            *self = Self::new(Method::GET, "");
        }
    }

    /// Returns `GET target`, for tests and callers without a socket.
    pub fn get(target: &str) -> Self {
        Self::new(Method::GET, target)
    }

    /// Returns `POST target` with a JSON body, for tests and callers without a socket.
    pub fn post(target: &str, json: &str) -> Self {
        let mut request = Self::new(Method::POST, target).with_header("Content-Type", "application/json");
        request.body = json.as_bytes().to_vec();
        request
    }

    /// Adds a header, for a chain of calls.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.push_header(name, value);
        self
    }

    /// Adds a header.
    pub fn push_header(&mut self, name: &str, value: &str) {
        let start = self.text.len();
        self.text.push_str(name);
        let middle = self.text.len();
        self.text.push_str(value);
        self.headers.push((start..middle, middle..self.text.len()));
    }

    /// Returns the path in normal form: escapes that no character needs are decoded by the engine.
    pub fn path(&self) -> &str {
        &self.text[self.path.clone()]
    }

    /// Returns the raw query string; empty without a query.
    pub fn query(&self) -> &str {
        &self.text[self.query.clone()]
    }

    /// Returns the value of the first header `name`, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_values(name).next()
    }

    /// Returns all values of the header `name`, in order.
    pub fn header_values<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.headers
            .iter()
            .filter(move |(key, _)| self.text[key.clone()].eq_ignore_ascii_case(name))
            .map(|(_, value)| &self.text[value.clone()])
    }

    /// Returns all headers in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (&self.text[name.clone()], &self.text[value.clone()]))
    }
}
