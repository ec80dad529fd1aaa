//! The router on a small table, without a socket.

use super::*;

const ROUTES: &[Route<()>] = &[
    Route::get("/", |(), _, _| Ok(Response::empty(200))),
    Route::get("/things/{thing}", |(), _, params| {
        Ok(Response::empty(200).with_header("Thing", params.text(0).to_owned()))
    })
    .with_query(&["x"])
    .completed_by(|(), answer| answer.map_err(|problem| problem.with_header("Thing", "none"))),
    Route::delete("/things/{thing}", |(), _, _| Ok(Response::empty(204))),
    Route::post("/things", |(), _, _| Ok(Response::empty(201))),
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

#[test]
fn a_query_parameter_that_the_route_does_not_list_is_refused_before_its_handler_runs() {
    for (target, status) in [("/things/7?x=1", 200), ("/things/7?y=1", 400), ("/?x=1", 400)] {
        assert_eq!(answer(Method::GET, target).status, status, "{target}");
    }
    let refused = answer(Method::GET, "/things/7?y=1");
    assert_eq!(refused.header("Thing"), Some("none"), "the route completes a refusal too");
}

#[test]
fn of_a_bad_id_and_a_bad_parameter_the_id_is_told_of() {
    const BY_ID: &[Route<()>] = &[Route::get("/things/{thing_id}", |(), _, _| Ok(Response::empty(200)))];
    let answer = |target| Router::new((), BY_ID).handle(&Request::get(target));
    let refused = answer("/things/7?y=1");
    let body = String::from_utf8(refused.body).unwrap();
    assert!(refused.status == 400 && body.contains("/problems/invalid-id"), "{body}");
    assert_eq!(answer("/things/01936d5e-8f2a-7000-8000-000000000001").status, 200);
}

#[test]
fn routes_of_another_state_are_answered_beside_the_own_ones_and_not_observed() {
    const COMMON: &[Route<&str>] =
        &[Route::get("/about", |text, _, _| Ok(Response::new(200, "text/plain", text.as_bytes().into())))];
    let ends = Ends::default();
    let seen = std::sync::Arc::clone(&ends.0);
    let router = Router::new((), ROUTES).with("about", COMMON).observed_by(ends);
    assert_eq!(router.handle(&Request::get("/about")).body, b"about");
    assert_eq!(router.handle(&Request::new(Method::PUT, "/about")).status, 405);
    assert_eq!(router.handle(&Request::get("/things/7")).status, 200);
    assert_eq!(*seen.lock().unwrap(), [(Some(1), 200)]);
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
    const PANICS: &[Route<()>] = &[Route::get("/", |(), _, _| panic!("on purpose"))];
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
