//! Routing: one table per service, from method and path pattern to a function.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::cors::{self, AllowedOrigins};
use super::json::{Fields, parse_uuid};
use super::{Method, Problem, Request, Response, problems};

/// The values of the `{...}` segments of a route's pattern, in order.
#[derive(Debug)]
pub struct Params<'a> {
    values: Vec<&'a str>,
}

impl<'a> Params<'a> {
    /// Returns the value of the `index`th `{...}` segment, from 0.
    ///
    /// # Panics
    /// When the pattern has fewer: a bug in the route table.
    pub fn text(&self, index: usize) -> &'a str {
        self.values[index]
    }

    /// The same as a UUID.
    ///
    /// # Errors
    /// 400 `invalid-id` when it is none.
    pub fn uuid(&self, index: usize) -> Result<Uuid, Problem> {
        parse_uuid(self.text(index)).ok_or_else(|| {
            Problem::new(&problems::INVALID_ID, "the id in the path must be a UUID with hyphens")
        })
    }
}

/// The methods of all routes: the answer to `OPTIONS *`, which asks about the server as a whole.
const SERVER_WIDE: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";

/// The function that answers a route.
pub type Handler<S> = fn(&S, &Request, &Params<'_>) -> Result<Response, Problem>;

/// One row of the table: `S` is the service's state.
#[derive(Debug)]
pub struct Route<S: 'static> {
    /// The method; HEAD is answered wherever GET is.
    pub method: Method,
    /// Segments, each a word or `{name}`: `/accounts/{id}/deposit`.
    pub pattern: &'static str,
    /// Answers the request.
    pub handler: Handler<S>,
}

/// Receives a report of every request that a [`Router`] answers; both calls must be quick.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A request begins.
    fn begun(&self);

    /// A request ended: the row of the route table (None when no row has the method and path), the
    /// status (500 when the handler panicked), and the elapsed time.
    fn ended(&self, route: Option<usize>, status: u16, elapsed: Duration);
}

/// A request in flight. Dropping this value reports the end, also after a panic.
struct Observed<'a> {
    observer: Option<&'a dyn Observer>,
    route: Cell<Option<usize>>,
    status: u16,
    begun: Instant,
}

impl Drop for Observed<'_> {
    fn drop(&mut self) {
        if let Some(observer) = self.observer {
            observer.ended(self.route.get(), self.status, self.begun.elapsed());
        }
    }
}

/// A service: its state and its routes.
#[derive(Debug)]
pub struct Router<S: 'static> {
    state: S,
    routes: &'static [Route<S>],
    observer: Option<Box<dyn Observer>>,
    origins: AllowedOrigins,
}

impl<S> Router<S> {
    /// The service with that state and those routes. Where two patterns match, the first counts.
    pub fn new(state: S, routes: &'static [Route<S>]) -> Self {
        Self { state, routes, observer: None, origins: AllowedOrigins::default() }
    }

    /// The same service, with every request reported to `observer`.
    #[must_use]
    pub fn observed_by(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Lets web pages from these origins (`https://bank.example`; `*` for all) use the service,
    /// beside those from the machine itself (`localhost`, `127.0.0.1`, `[::1]`, any port).
    #[must_use]
    pub fn allow_origins(mut self, origins: Vec<String>) -> Self {
        self.origins = AllowedOrigins::new(origins);
        self
    }

    /// The service's state.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Whether a route has the path, with any method.
    pub fn knows(&self, path: &str) -> bool {
        self.routes.iter().any(|route| matches(route.pattern, path).is_some())
    }

    /// Answers a request; every problem becomes its response.
    pub fn handle(&self, request: &Request) -> Response {
        let observer = self.observer.as_deref();
        observer.inspect(|observer| observer.begun());
        let mut observed = Observed { observer, route: Cell::new(None), status: 500, begun: Instant::now() };
        let origin = self.origins.origin(request);
        let answer = cors::admit(&origin, request).and_then(|()| self.answer(request, &observed.route));
        let mut response = answer.unwrap_or_else(Response::from);
        cors::label(&mut response, &origin, request);
        observed.status = response.status;
        response
    }

    fn answer(&self, request: &Request, found: &Cell<Option<usize>>) -> Result<Response, Problem> {
        if request.path() == "*" && request.method == Method::OPTIONS {
            return Ok(Response::empty(204).with_header("Allow", SERVER_WIDE));
        }
        let mut allowed = Vec::new();
        for (row, route) in self.routes.iter().enumerate() {
            let Some(params) = matches(route.pattern, request.path()) else {
                continue;
            };
            let method = if request.method == Method::HEAD { &Method::GET } else { &request.method };
            if *method == route.method {
                found.set(Some(row));
                if route.method != Method::POST {
                    // Only POST has a use for a body: a body of another method is refused, never ignored.
                    Fields::of_optional(request)?.finish()?;
                }
                return (route.handler)(&self.state, request, &params);
            }
            allowed.push(route.method.as_str());
            if route.method == Method::GET {
                allowed.push("HEAD");
            }
        }
        if allowed.is_empty() {
            return Err(Problem::new(
                &problems::NOT_FOUND,
                format!("there is nothing at {}", request.path()),
            ));
        }
        allowed.push("OPTIONS");
        let allow = allowed.join(", ");
        if request.method == Method::OPTIONS {
            return Ok(Response::empty(204).with_header("Allow", allow));
        }
        let detail = format!("{} takes {allow}", request.path());
        Err(Problem::new(&problems::METHOD_NOT_ALLOWED, detail).with_header("Allow", allow))
    }
}

/// The values of the pattern's `{...}` segments, when `path` matches it. An empty segment
/// matches nothing.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<Params<'a>> {
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
    segments.next().is_none().then_some(Params { values })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &[Route<()>] = &[
        Route { method: Method::GET, pattern: "/", handler: |(), _, _| Ok(Response::empty(200)) },
        Route {
            method: Method::GET,
            pattern: "/things/{id}",
            handler: |(), _, params| Ok(Response::empty(200).with_header("Thing", params.text(0).to_owned())),
        },
        Route {
            method: Method::DELETE,
            pattern: "/things/{id}",
            handler: |(), _, _| Ok(Response::empty(204)),
        },
        Route { method: Method::POST, pattern: "/things", handler: |(), _, _| Ok(Response::empty(201)) },
    ];

    fn answer(method: Method, path: &str) -> Response {
        Router::new((), ROUTES).handle(&Request::new(method, path))
    }

    #[test]
    fn a_route_is_found_by_method_and_path_and_given_its_parameters() {
        assert_eq!(answer(Method::GET, "/things/7?x=1").header("Thing"), Some("7"));
        assert_eq!(answer(Method::HEAD, "/").status, 200);
        assert_eq!(answer(Method::POST, "/things").status, 201);
    }

    #[test]
    fn an_unknown_path_is_404() {
        for path in ["/thing", "/things/", "/things/7/8", "//things", "", "*"] {
            assert_eq!(answer(Method::GET, path).status, 404, "{path}");
        }
    }

    #[test]
    fn a_known_path_with_another_method_is_405_and_lists_what_is_allowed() {
        let response = answer(Method::PUT, "/things/7");
        assert_eq!(response.status, 405);
        assert_eq!(response.header("Allow"), Some("GET, HEAD, DELETE, OPTIONS"));
        assert_eq!(
            answer(Method::from_bytes(b"BREW").unwrap(), "/things").header("Allow"),
            Some("POST, OPTIONS")
        );
    }

    #[derive(Debug, Default)]
    struct Ends(std::sync::Arc<std::sync::Mutex<Vec<End>>>);
    type End = (Option<usize>, u16);

    impl Observer for Ends {
        fn begun(&self) {}
        fn ended(&self, route: Option<usize>, status: u16, _: Duration) {
            self.0.lock().unwrap().push((route, status));
        }
    }

    #[test]
    fn an_observer_is_told_route_and_status_of_every_answer_and_of_a_panic() {
        const PANICS: &[Route<()>] =
            &[Route { method: Method::GET, pattern: "/", handler: |(), _, _| panic!("on purpose") }];
        let ends = Ends::default();
        let seen = std::sync::Arc::clone(&ends.0);
        let router = Router::new((), ROUTES).observed_by(Ends(std::sync::Arc::clone(&seen)));
        router.handle(&Request::new(Method::DELETE, "/things/7"));
        router.handle(&Request::get("/nothing"));
        let panicking = Router::new((), PANICS).observed_by(ends);
        let panic = std::panic::AssertUnwindSafe(|| panicking.handle(&Request::get("/")));
        assert!(std::panic::catch_unwind(panic).is_err());
        assert_eq!(*seen.lock().unwrap(), [(Some(2), 204), (None, 404), (Some(0), 500)]);
    }

    #[test]
    fn options_lists_what_is_allowed() {
        let response = answer(Method::OPTIONS, "/things");
        assert_eq!((response.status, response.header("Allow")), (204, Some("POST, OPTIONS")));
    }

    fn from_page(origin: &str, method: Method, path: &str) -> Response {
        let request = Request::new(method, path).with_header("Origin", origin);
        let request = request
            .with_header("Access-Control-Request-Method", "POST")
            .with_header("Access-Control-Request-Headers", "content-type,idempotency-key");
        Router::new((), ROUTES).allow_origins(vec!["https://bank.example".to_owned()]).handle(&request)
    }

    #[test]
    fn a_page_that_is_allowed_may_call_every_route_and_read_our_headers() {
        for origin in ["http://localhost:3000", "https://bank.example"] {
            for (method, path) in [(Method::GET, "/"), (Method::POST, "/things"), (Method::GET, "/unknown")] {
                let response = from_page(origin, method, path);
                assert_eq!(response.header("Access-Control-Allow-Origin"), Some(origin));
                assert!(response.header("Access-Control-Expose-Headers").unwrap().contains("Event-Position"));
                assert_eq!(response.header("Vary"), Some("Origin"));
            }
        }
    }

    #[test]
    fn a_preflight_tells_what_the_route_takes() {
        let response = from_page("http://localhost:3000", Method::OPTIONS, "/things");
        assert_eq!(response.status, 204);
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("http://localhost:3000"));
        assert_eq!(response.header("Access-Control-Allow-Methods"), Some("POST, OPTIONS"));
        assert_eq!(response.header("Access-Control-Allow-Headers"), Some("content-type,idempotency-key"));
        let foreign = from_page("https://evil.example", Method::OPTIONS, "/things");
        assert_eq!((foreign.status, foreign.header("Access-Control-Allow-Origin")), (204, None));
    }

    #[test]
    fn a_page_from_elsewhere_cannot_change_anything_and_cannot_read() {
        for origin in ["https://evil.example", "null"] {
            for (method, path) in [(Method::POST, "/things"), (Method::DELETE, "/things/7")] {
                assert_eq!(from_page(origin, method, path).status, 403);
            }
            let response = from_page(origin, Method::GET, "/");
            assert_eq!((response.status, response.header("Access-Control-Allow-Origin")), (200, None));
            assert_eq!(response.header("Vary"), Some("Origin"));
        }
    }
}
