//! Routing: a table per service, from method and path pattern to a function.
//!
//! A row of the table also lists the query parameters of the route. The router matches a path once, against
//! the service's own routes and the routes of all services, and refuses an unlisted parameter before the
//! handler runs.
//!
//! **Invariant:** each request gets a response. Problems of handlers become responses here, as do refusals of
//! a path, a method, a parameter or a body.
//!
//! Read next: `query.rs` and `json.rs`, the input of a handler.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::cors::{self, AllowedOrigins};
use super::json::{Fields, parse_uuid};
use super::{Method, Problem, Query, Request, Response, problems};

/// The input of a route: the values of the `{...}` segments, in order, and the query.
#[derive(Debug)]
pub struct Params<'a> {
    segments: Vec<&'a str>,
    query: Query,
}

impl<'a> Params<'a> {
    /// Returns the value of the `index`th `{...}` segment, from 0.
    ///
    /// # Panics
    /// When the pattern has fewer segments: a bug in the route table.
    pub fn text(&self, index: usize) -> &'a str {
        self.segments[index]
    }

    /// Returns the same value as a UUID.
    ///
    /// # Errors
    /// 400 `invalid-id` when the segment is not a UUID with hyphens.
    pub fn uuid(&self, index: usize) -> Result<Uuid, Problem> {
        uuid(self.text(index))
    }

    /// Returns the query, with parameters of [`Route::query`] only.
    pub fn query(&self) -> &Query {
        &self.query
    }
}

fn uuid(segment: &str) -> Result<Uuid, Problem> {
    parse_uuid(segment)
        .ok_or_else(|| Problem::new(&problems::INVALID_ID, "the id in the path must be a UUID with hyphens"))
}

/// The methods of all routes: the answer to `OPTIONS *`, which asks about the server as a whole.
const SERVER_WIDE: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";

/// The function of a route.
pub type Handler<S> = fn(&S, &Request, &Params<'_>) -> Result<Response, Problem>;

/// Completes an answer, for example with a header.
pub type Completion<S> = fn(&S, Result<Response, Problem>) -> Result<Response, Problem>;

/// A row of the table: `S` is the service's state.
#[derive(Debug)]
pub struct Route<S: 'static> {
    /// The method; a GET route answers HEAD too.
    pub method: Method,
    /// Segments, each a word or `{name}`: `/accounts/{id}/deposit`. A name that ends in `id` is that of a UUID;
    /// a malformed id is reported before a malformed query.
    pub pattern: &'static str,
    /// The known query parameters.
    pub query: &'static [&'static str],
    handler: Handler<S>,
    completion: Option<Completion<S>>,
}

impl<S> Route<S> {
    /// Returns a GET route without query parameters.
    pub const fn get(pattern: &'static str, handler: Handler<S>) -> Self {
        Self::new(Method::GET, pattern, handler)
    }

    /// Returns a POST route without query parameters.
    pub const fn post(pattern: &'static str, handler: Handler<S>) -> Self {
        Self::new(Method::POST, pattern, handler)
    }

    /// Returns a PUT route without query parameters.
    pub const fn put(pattern: &'static str, handler: Handler<S>) -> Self {
        Self::new(Method::PUT, pattern, handler)
    }

    /// Returns a DELETE route without query parameters.
    pub const fn delete(pattern: &'static str, handler: Handler<S>) -> Self {
        Self::new(Method::DELETE, pattern, handler)
    }

    const fn new(method: Method, pattern: &'static str, handler: Handler<S>) -> Self {
        Self { method, pattern, query: &[], handler, completion: None }
    }

    /// Sets the query parameters of the route.
    #[must_use]
    pub const fn with_query(mut self, names: &'static [&'static str]) -> Self {
        self.query = names;
        self
    }

    /// Completes each answer of the route with `completion`, also a refusal of the query or the body.
    #[must_use]
    pub const fn completed_by(mut self, completion: Completion<S>) -> Self {
        self.completion = Some(completion);
        self
    }

    fn answer(&self, state: &S, request: &Request, segments: Vec<&str>) -> Result<Response, Problem> {
        let answer = self.read(request, segments).and_then(|params| (self.handler)(state, request, &params));
        match self.completion {
            None => answer,
            Some(completion) => completion(state, answer),
        }
    }

    fn read<'a>(&self, request: &Request, segments: Vec<&'a str>) -> Result<Params<'a>, Problem> {
        if self.method != Method::POST {
            // Only POST has a use for a body. A body of another method is refused, never ignored.
            Fields::of_optional(request)?.finish()?;
        }
        match Query::of(request, self.query) {
            Ok(query) => Ok(Params { segments, query }),
            // Of two mistakes, a client hears of the first one in the address: a malformed id of the path.
            Err(refused) => Err(self.check_ids(&segments).err().unwrap_or(refused)),
        }
    }

    /// Checks the segments of the path that must be UUIDs.
    fn check_ids(&self, segments: &[&str]) -> Result<(), Problem> {
        let names = self.pattern.split('/').filter(|part| part.starts_with('{'));
        let mut ids = names.zip(segments).filter(|(name, _)| name.ends_with("id}"));
        ids.try_for_each(|(_, segment)| uuid(segment).map(drop))
    }
}

/// Counts and times the requests of a [`Router`]. Both calls must be quick.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A request begins.
    fn begun(&self);

    /// A request ended: the row of the route table (`None` for an unknown method or path), the status (500
    /// when the handler panicked), and the time of the answer.
    fn ended(&self, route: Option<usize>, status: u16, elapsed: Duration);
}

/// A running request. The request ends on drop: a panic is counted too.
struct Observed<'a> {
    observer: Option<&'a dyn Observer>,
    route: Option<usize>,
    status: u16,
    begun: Instant,
}

impl Drop for Observed<'_> {
    fn drop(&mut self) {
        if let Some(observer) = self.observer {
            observer.ended(self.route, self.status, self.begun.elapsed());
        }
    }
}

type Answer<S> = Box<dyn Fn(&S, &Request, Vec<&str>) -> Result<Response, Problem> + Send + Sync>;

/// A route in the table of a router for `S`. The route itself may have another state.
struct Row<S> {
    method: &'static Method,
    pattern: &'static str,
    /// The index in the service's own table; `None` for a route from [`Router::with`].
    own: Option<usize>,
    answer: Answer<S>,
}

impl<S> Row<S> {
    fn of<T>(route: &'static Route<T>, own: Option<usize>, answer: Answer<S>) -> Self {
        Self { method: &route.method, pattern: route.pattern, own, answer }
    }
}

impl<S> fmt::Debug for Row<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.pattern)
    }
}

/// The rows for the path of a request.
struct PathMatch<'r, 'p, S> {
    /// The row for path and method, and the values of the `{...}` segments.
    row: Option<(&'r Row<S>, Vec<&'p str>)>,
    /// The methods of the rows before.
    allowed: Vec<&'static str>,
    is_own: bool,
}

/// A service: state and routes.
#[derive(Debug)]
pub struct Router<S: 'static> {
    state: S,
    rows: Vec<Row<S>>,
    observer: Option<Box<dyn Observer>>,
    origins: AllowedOrigins,
    /// See [`Router::with_hint`].
    hint: &'static str,
}

impl<S> Router<S> {
    /// Returns the service with this state and these routes. Of two matching patterns, the first counts.
    pub fn new(state: S, routes: &'static [Route<S>]) -> Self {
        // Closures hide the type of the state, so one table holds the routes of two states.
        let row = |(index, route): (usize, &'static Route<S>)| {
            let answer: Answer<S> =
                Box::new(|state, request, segments| route.answer(state, request, segments));
            Row::of(route, Some(index), answer)
        };
        let rows = routes.iter().enumerate().map(row).collect();
        Self { state, rows, observer: None, origins: AllowedOrigins::default(), hint: "" }
    }

    /// Adds routes with a state of their own, after the service's own routes. The observer does not see
    /// their requests: a scrape of the metrics must not change them.
    #[must_use]
    pub fn with<C: Send + Sync>(mut self, state: C, routes: &'static [Route<C>]) -> Self {
        let state = Arc::new(state);
        self.rows.extend(routes.iter().map(|route| {
            let state = Arc::clone(&state);
            // This route ignores the state of the service, and has a state of its own.
            let answer: Answer<S> =
                Box::new(move |_, request, segments| route.answer(&state, request, segments));
            Row::of(route, None, answer)
        }));
        self
    }

    /// Reports every request for the service's own routes, and for no route, to `observer`.
    #[must_use]
    pub fn observed_by(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Lets web pages from these origins (`https://bank.example`; `*` for all) use the service,
    /// beside pages from the machine itself (`localhost`, `127.0.0.1`, `[::1]`, any port).
    #[must_use]
    pub fn allow_origins(mut self, origins: Vec<String>) -> Self {
        self.origins = AllowedOrigins::new(origins);
        self
    }

    /// Adds a hint to the refusals of unknown paths and methods: where else a client may ask.
    #[must_use]
    pub fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    /// Returns the service's state.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Answers a request; every problem becomes a response.
    pub fn handle(&self, request: &Request) -> Response {
        let found = self.find(request);
        let observer = self.observer.as_deref().filter(|_| found.is_own);
        observer.inspect(|observer| observer.begun());
        // 500 until a response exists: a panic of the handler leaves this status.
        let mut observed = Observed { observer, route: None, status: 500, begun: Instant::now() };
        let origin = self.origins.origin(request);
        let answer = cors::admit(&origin, request).and_then(|()| {
            // Set before the handler runs: a panic counts for its route. A refused origin counts for none.
            observed.route = found.row.as_ref().and_then(|(row, _)| row.own);
            self.answer(request, found)
        });
        let mut response = answer.unwrap_or_else(Response::from);
        // Refusals get the headers too: a web page cannot read a problem without them.
        cors::label(&mut response, &origin, request);
        observed.status = response.status;
        response
    }

    fn find<'p>(&self, request: &'p Request) -> PathMatch<'_, 'p, S> {
        // A HEAD request runs the GET handler; the engine leaves out the body.
        let method = if request.method == Method::HEAD { &Method::GET } else { &request.method };
        // An unknown path counts as the service's own: the observer counts such requests too.
        let mut found = PathMatch { row: None, allowed: Vec::new(), is_own: true };
        for row in &self.rows {
            let Some(segments) = matches(row.pattern, request.path()) else {
                continue;
            };
            found.is_own = row.own.is_some();
            if row.method == method {
                found.row = Some((row, segments));
                break;
            }
            found.allowed.push(row.method.as_str());
            if *row.method == Method::GET {
                found.allowed.push("HEAD");
            }
        }
        found
    }

    fn answer(&self, request: &Request, found: PathMatch<'_, '_, S>) -> Result<Response, Problem> {
        let PathMatch { row, mut allowed, .. } = found;
        if let Some((row, segments)) = row {
            return (row.answer)(&self.state, request, segments);
        }
        let is_options = request.method == Method::OPTIONS;
        if is_options && request.path() == "*" {
            return Ok(Response::empty(204).with_header("Allow", SERVER_WIDE));
        }
        if allowed.is_empty() {
            let detail = format!("there is nothing at {}{}", request.path(), self.hint);
            return Err(Problem::new(&problems::NOT_FOUND, detail));
        }
        allowed.push("OPTIONS");
        let allow = allowed.join(", ");
        if is_options {
            return Ok(Response::empty(204).with_header("Allow", allow));
        }
        let detail = format!("{} takes {allow}{}", request.path(), self.hint);
        Err(Problem::new(&problems::METHOD_NOT_ALLOWED, detail).with_header("Allow", allow))
    }
}

/// Returns the values of the pattern's `{...}` segments when `path` matches the pattern. An empty segment
/// of the path matches no pattern.
fn matches<'p>(pattern: &str, path: &'p str) -> Option<Vec<&'p str>> {
    // Most rows differ before their first variable: one comparison saves taking both apart.
    let fixed = pattern.find('{').map_or(pattern, |first| &pattern[..first]);
    if !path.starts_with(fixed) {
        return None;
    }
    if fixed.len() == pattern.len() {
        return (path == pattern).then(Vec::new);
    }
    let mut values = Vec::new();
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        let segment = segments.next()?;
        if expected.starts_with('{') && !segment.is_empty() {
            values.push(segment);
        } else if expected != segment {
            return None;
        }
    }
    // A pattern is never a prefix: a longer path is another path.
    segments.next().is_none().then_some(values)
}

#[cfg(test)]
mod tests;
