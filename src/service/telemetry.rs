//! The metrics that every service has: requests by route, connections, the version.
//!
//! Wiring: only this module knows both [`http`](crate::http) and [`metrics`](crate::service::metrics). Of the
//! four golden signals the metrics cover traffic and errors (requests by status class), latency (a histogram
//! by route) and saturation (requests in flight). The duration of a long poll includes its wait.
//!
//! **Invariant:** labels come from the route table, never from a request.
//!
//! Read next: `service/metrics/mod.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::metrics::{Buckets, Counter, Gauge, Histogram, MEDIA_TYPE, Metrics};
use crate::http::{Budget, ConnectionStats, Connections, Observer, Request, Response, Route};

/// The status classes, in the order of [`RouteMetrics::requests`].
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The longest text of a request on a log line, in characters: the longest correlation id.
const MAX_SHOWN: usize = 200;

/// The requests of a service, by route. Pass it to [`Router::observed_by`](crate::http::Router::observed_by).
#[derive(Debug)]
pub struct HttpMetrics {
    /// One element for each row of the route table, then one for requests that match no row.
    routes: Vec<RouteMetrics>,
    in_flight: Gauge,
}

#[derive(Debug)]
struct RouteMetrics {
    requests: [Counter; 5],
    duration: Histogram,
}

impl HttpMetrics {
    /// Adds the series for `routes` to `metrics`.
    pub fn of<S>(metrics: &Metrics, routes: &[Route<S>]) -> Self {
        let rows = routes.iter().map(|route| (route.method.as_str(), route.pattern));
        let rows: Vec<_> = rows.chain([("other", "none")]).collect();
        let in_flight =
            metrics.gauge("tally_http_requests_in_flight", "Requests that are being answered now.", &[]);
        let requests: Vec<_> = rows.iter().map(|row| request_counters(metrics, *row)).collect();
        let durations = rows.iter().map(|row| duration_histogram(metrics, *row));
        let routes = requests.into_iter().zip(durations);
        let routes = routes.map(|(requests, duration)| RouteMetrics { requests, duration }).collect();
        Self { routes, in_flight }
    }
}

fn request_counters(metrics: &Metrics, (method, route): (&str, &str)) -> [Counter; 5] {
    CLASSES.map(|class| {
        let labels = [("method", method), ("route", route), ("status", class)];
        metrics.counter("tally_http_requests_total", "Requests answered, by route and status class.", &labels)
    })
}

fn duration_histogram(metrics: &Metrics, (method, route): (&str, &str)) -> Histogram {
    let labels = [("method", method), ("route", route)];
    let help = "Time from the whole request to its answer, a long poll's wait included.";
    metrics.histogram("tally_http_request_duration_seconds", help, &labels, &Buckets::LATENCY)
}

impl Observer for HttpMetrics {
    fn begun(&self) {
        self.in_flight.add(1);
    }

    fn ended(&self, route: Option<usize>, status: u16, elapsed: Duration) {
        self.in_flight.add(-1);
        // The last element counts requests that match no route.
        let none = self.routes.len() - 1;
        let route = &self.routes[route.unwrap_or(none).min(none)];
        // A status outside 100 to 599 counts in the nearest class: the set of series is fixed.
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        route.requests[class].add(1);
        route.duration.observe_duration(elapsed);
    }
}

/// Answers a request and logs it at `debug`: method, path, status, duration, and the id that correlates the
/// line with the lines of other services and with the recorded events.
pub fn logged(request: &Request, answer: impl FnOnce() -> Response) -> Response {
    // First, because every request passes here: without debug logging, the function costs one comparison.
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

/// Returns a text of a client for a log line: a bounded number of visible characters.
fn shown(text: &str) -> String {
    // A client chooses the text: a line end could forge a line of the log.
    let visible = |character: char| if character.is_ascii_graphic() { character } else { '?' };
    text.chars().take(MAX_SHOWN).map(visible).collect()
}

/// Adds the connections of a server, the memory of its answers, and the version to `metrics`.
pub fn show_server(metrics: &Metrics, connections: &Arc<Connections>, answers: &Arc<Budget>) {
    let gauge = |name, help, value: fn(ConnectionStats) -> u64| {
        let connections = Arc::clone(connections);
        metrics.computed_gauge(name, help, &[], move || value(connections.stats()) as f64);
    };
    let counter = |name, help, value: fn(ConnectionStats) -> u64| {
        let connections = Arc::clone(connections);
        metrics.computed_counter(name, help, &[], move || value(connections.stats()) as f64);
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
    metrics.computed_gauge("tally_http_answer_bytes", held, &[], move || budget.held() as f64);
    let budget = Arc::clone(answers);
    let refused = "Answers over 32 KiB refused with 503 because too many were held.";
    let count = move || budget.refused() as f64;
    metrics.computed_counter("tally_http_answers_refused_total", refused, &[], count);
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    metrics.gauge("tally_build_info", "Always 1; the label is the version.", &version).set(1);
}

/// Returns the answer to `GET /metrics`.
pub fn scrape(metrics: &Metrics) -> Response {
    Response::new(200, MEDIA_TYPE, metrics.render().into_bytes()).with_header("Cache-Control", "no-store")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Router;

    const OBSERVED: &[Route<()>] = &[
        Route::get("/things/{thing}", |(), _, _| Ok(Response::empty(200))),
        Route::post("/things", |(), _, _| Ok(Response::empty(503))),
    ];

    fn scrape_after(requests: &[Request]) -> String {
        let metrics = Arc::new(Metrics::default());
        show_server(&metrics, &Arc::default(), &Arc::default());
        let observed = Router::new((), OBSERVED).observed_by(HttpMetrics::of(&metrics, OBSERVED));
        requests.iter().for_each(|request| drop(observed.handle(request)));
        let answer = scrape(&metrics);
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
            r#"tally_http_requests_total{method="GET",route="/things/{thing}",status="2xx"} 2"#,
            r#"tally_http_requests_total{method="POST",route="/things",status="5xx"} 1"#,
            r#"tally_http_requests_total{method="other",route="none",status="4xx"} 1"#,
            r#"tally_http_request_duration_seconds_count{method="GET",route="/things/{thing}"} 2"#,
            "tally_http_requests_in_flight 0",
            "tally_http_open_connections 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("4711"), "a path of a request became a label");
    }
}
