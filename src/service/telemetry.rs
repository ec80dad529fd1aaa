//! What every service shows of itself on `/metrics`: its requests by route, its connections, and
//! the build that it is.
//!
//! Wiring: this module alone knows both [`http`](crate::http) and [`metrics`](crate::service::metrics).
//! Of the four golden signals it measures traffic and errors (requests by status class), latency
//! (a histogram by route) and saturation (requests in flight). A long poll counts with the time
//! that its client asked to wait.
//!
//! **Invariant:** labels come from the route table, never from a request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::http::{Budget, ConnectionStats, Connections, Observer, Request, Response, Route};
use crate::service::metrics::{Buckets, Counter, Gauge, Histogram, MEDIA_TYPE, Registry};

/// Status classes in the order of [`RouteMetrics::requests`], from 100 to 599.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Most characters of a text of a request on a line of the log: the longest correlation id.
const MAX_SHOWN: usize = 200;

/// The requests of one service, by route. Give it to [`Router::observed_by`](crate::http::Router::observed_by).
#[derive(Debug)]
pub struct HttpMetrics {
    /// One for each row of the route table, then one for what no row answers.
    routes: Vec<RouteMetrics>,
    in_flight: Gauge,
}

#[derive(Debug)]
struct RouteMetrics {
    requests: [Counter; 5],
    duration: Histogram,
}

impl HttpMetrics {
    /// Adds the series for `routes` to `registry`.
    pub fn of<S>(registry: &Registry, routes: &[Route<S>]) -> Self {
        let rows = routes.iter().map(|route| (route.method.as_str(), route.pattern));
        let rows: Vec<_> = rows.chain([("other", "none")]).collect();
        let in_flight =
            registry.gauge("tally_http_requests_in_flight", "Requests that are being answered now.", &[]);
        let requests: Vec<_> = rows.iter().map(|row| request_counters(registry, *row)).collect();
        let durations = rows.iter().map(|row| duration_histogram(registry, *row));
        let routes = requests.into_iter().zip(durations);
        let routes = routes.map(|(requests, duration)| RouteMetrics { requests, duration }).collect();
        Self { routes, in_flight }
    }
}

fn request_counters(registry: &Registry, (method, route): (&str, &str)) -> [Counter; 5] {
    CLASSES.map(|class| {
        let labels = [("method", method), ("route", route), ("status", class)];
        registry.counter(
            "tally_http_requests_total",
            "Requests answered, by route and status class.",
            &labels,
        )
    })
}

fn duration_histogram(registry: &Registry, (method, route): (&str, &str)) -> Histogram {
    let labels = [("method", method), ("route", route)];
    let help = "Time from the whole request to its answer, a long poll's wait included.";
    registry.histogram("tally_http_request_duration_seconds", help, &labels, &Buckets::LATENCY)
}

impl Observer for HttpMetrics {
    fn begun(&self) {
        self.in_flight.add(1);
    }

    fn ended(&self, route: Option<usize>, status: u16, elapsed: Duration) {
        self.in_flight.add(-1);
        let none = self.routes.len() - 1;
        let route = &self.routes[route.unwrap_or(none).min(none)];
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        route.requests[class].add(1);
        route.duration.observe_duration(elapsed);
    }
}

/// Answers a request and writes a line about it, at `debug`: what it was, how it ended, and the id that
/// joins it with the lines of other services and with the events that it recorded.
pub fn logged(request: &Request, answer: impl FnOnce() -> Response) -> Response {
    // Asked before anything is measured or formatted: this is on the way of every request.
    if !log::log_enabled!(log::Level::Debug) {
        return answer();
    }
    let begun = Instant::now();
    let response = answer();
    let correlation = request.header("X-Correlation-Id").or_else(|| request.header("traceparent"));
    log::debug!(
        "{} {} {} {:.3} ms, correlation id {}",
        shown(request.method.as_str()),
        shown(request.path()),
        response.status,
        begun.elapsed().as_secs_f64() * 1000.0,
        correlation.map_or_else(|| "-".into(), shown),
    );
    response
}

/// What a client sent, fit for a line of the log: a bounded number of visible characters.
fn shown(text: &str) -> String {
    let visible = |character: char| if character.is_ascii_graphic() { character } else { '?' };
    text.chars().take(MAX_SHOWN).map(visible).collect()
}

/// Adds the connections of a server, the answers that it holds, and the build that it is, to `registry`.
pub fn show_server(registry: &Registry, connections: &Arc<Connections>, answers: &Arc<Budget>) {
    let gauge = |name, help, value: fn(ConnectionStats) -> u64| {
        let connections = Arc::clone(connections);
        registry.computed_gauge(name, help, &[], move || value(connections.stats()) as f64);
    };
    let counter = |name, help, value: fn(ConnectionStats) -> u64| {
        let connections = Arc::clone(connections);
        registry.computed_counter(name, help, &[], move || value(connections.stats()) as f64);
    };
    gauge("tally_http_open_connections", "Connections that are open now.", |stats| stats.open as u64);
    gauge("tally_http_threads", "Threads for connections, idle ones included.", |stats| stats.threads as u64);
    counter("tally_http_connections_total", "Connections accepted.", |stats| stats.accepted);
    let refused = "Connections answered with 503 because all were taken.";
    counter("tally_http_connections_refused_total", refused, |stats| stats.refused);
    let evicted = "Idle connections closed because room was needed.";
    counter("tally_http_connections_evicted_total", evicted, |stats| stats.evicted);
    counter("tally_http_handler_panics_total", "Requests whose handler panicked.", |stats| stats.panics);
    let budget = Arc::clone(answers);
    let held = "Bytes of answers over 32 KiB that are being built, or taken by their clients.";
    registry.computed_gauge("tally_http_answer_bytes", held, &[], move || budget.held() as f64);
    let budget = Arc::clone(answers);
    let refused = "Answers over 32 KiB refused with 503 because too many were held.";
    let count = move || budget.refused() as f64;
    registry.computed_counter("tally_http_answers_refused_total", refused, &[], count);
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    registry.gauge("tally_build_info", "Always 1; the label is the version.", &version).set(1);
}

/// The answer to `GET /metrics`.
pub fn scrape(registry: &Registry) -> Response {
    Response::new(200, MEDIA_TYPE, registry.render().into_bytes()).with_header("Cache-Control", "no-store")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Method, Router};
    use crate::service::metrics::lint;

    const OBSERVED: &[Route<()>] = &[
        Route { method: Method::GET, pattern: "/things/{id}", handler: |(), _, _| Ok(Response::empty(200)) },
        Route { method: Method::POST, pattern: "/things", handler: |(), _, _| Ok(Response::empty(503)) },
    ];

    fn scrape_after(requests: &[Request]) -> String {
        let registry = Arc::new(Registry::default());
        show_server(&registry, &Arc::default(), &Arc::default());
        let observed = Router::new((), OBSERVED).observed_by(HttpMetrics::of(&registry, OBSERVED));
        requests.iter().for_each(|request| drop(observed.handle(request)));
        let answer = scrape(&registry);
        assert_eq!((answer.status, answer.header("Content-Type")), (200, Some(MEDIA_TYPE)));
        String::from_utf8(answer.body).unwrap()
    }

    #[test]
    fn requests_are_counted_by_the_pattern_of_their_route_and_the_class_of_their_status() {
        let text = scrape_after(&[
            Request::get("/things/1"),
            Request::get("/things/2"),
            Request::post("/things", "{}"),
            Request::get("/secret-4711"),
        ]);
        for line in [
            r#"tally_http_requests_total{method="GET",route="/things/{id}",status="2xx"} 2"#,
            r#"tally_http_requests_total{method="POST",route="/things",status="5xx"} 1"#,
            r#"tally_http_requests_total{method="other",route="none",status="4xx"} 1"#,
            r#"tally_http_request_duration_seconds_count{method="GET",route="/things/{id}"} 2"#,
            "tally_http_requests_in_flight 0",
            "tally_http_open_connections 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("4711"), "a path of a request became a label");
    }

    #[test]
    fn the_scrape_keeps_the_rules_of_prometheus() {
        assert_eq!(lint(&scrape_after(&[Request::get("/things/1")])), [""; 0]);
    }
}
