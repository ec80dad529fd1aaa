//! The routes that every service has: `GET /`, `/metrics`, `/openapi.json` and the pages of its problems. The
//! code is the same for all services; a [`Profile`] holds the differences.
//!
//! **Invariant:** each fact has a single source. The pages are made from the OpenAPI document and from the
//! table of problems that the handlers answer with.
//!
//! Read next: `service/openapi.rs`.

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value, json};

use super::metrics::Metrics;
use super::{openapi, telemetry};
use crate::account::{AccountEvent, STATEMENT_KINDS};
use crate::console::{escaped, small_page};
use crate::http::{Params, Problem, ProblemType, Request, Response, Route, problems as generic};
use crate::{read_side, registry, write_side};

/// The document and the problems of a service.
#[derive(Debug)]
pub struct Profile {
    document: &'static str,
    problems: &'static [&'static ProblemType],
    /// The lists of the code that the document shows.
    lists: &'static [openapi::CodeList],
    /// Where a client may ask that finds no route here.
    pub(super) hint: &'static str,
}

const QUERIES: &str =
    "; this service takes commands, and read services answer queries: GET /services/read of the registry";
const COMMANDS: &str =
    "; this service answers queries, and a write service takes commands: GET /services/write of the registry";

/// The service registry.
pub const REGISTRY: Profile = Profile {
    document: include_str!("../../openapi/registry.json"),
    problems: registry::PROBLEMS,
    lists: &[],
    hint: "",
};
/// The write side.
pub const WRITE: Profile = Profile {
    document: include_str!("../../openapi/write.json"),
    problems: write_side::problems::ALL,
    lists: &[("/components/schemas/EventType/enum", AccountEvent::EVENT_TYPES)],
    hint: QUERIES,
};
/// The read side.
pub const READ: Profile = Profile {
    document: include_str!("../../openapi/read.json"),
    problems: read_side::problems::ALL,
    lists: &[("/components/schemas/Transaction/properties/kind/enum", STATEMENT_KINDS)],
    hint: COMMANDS,
};

impl Profile {
    /// Returns the problems that the service can answer.
    pub fn problems(&self) -> Vec<&'static ProblemType> {
        generic::ALL.iter().chain(self.problems).copied().collect()
    }

    /// Returns the OpenAPI document of the service.
    pub fn openapi(&self) -> Value {
        openapi::document(self.document, &self.problems(), self.lists)
    }
}

/// The state of the routes.
#[derive(Debug)]
pub struct About {
    profile: &'static Profile,
    metrics: Arc<Metrics>,
    /// The address of the console; `None` for the registry, which serves the console itself.
    console: Option<String>,
    /// Built on the first request: most processes get none.
    document: OnceLock<Value>,
}

impl About {
    /// Returns the presentation of the service with that profile, with those metrics.
    pub fn new(profile: &'static Profile, metrics: Arc<Metrics>, console: Option<String>) -> Self {
        Self { profile, metrics, console, document: OnceLock::new() }
    }

    fn document(&self) -> &Value {
        self.document.get_or_init(|| self.profile.openapi())
    }
}

/// The routes that every service has.
pub const ROUTES: &[Route<About>] = &[
    Route::get("/", index),
    Route::get("/metrics", scrape),
    Route::get("/openapi.json", openapi),
    Route::get("/problems/{slug}", problem),
];

fn scrape(about: &About, _: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    Ok(telemetry::scrape(&about.metrics))
}

fn openapi(about: &About, _: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    Ok(Response::json(200, &openapi::JsonFirst(about.document())))
}

// ------------------------------------------------------------------------------------ pages

fn problem(about: &About, request: &Request, params: &Params<'_>) -> Result<Response, Problem> {
    let slug = params.text(0);
    let Some(kind) = about.profile.problems().into_iter().find(|kind| kind.slug == slug) else {
        return Err(Problem::new(&generic::NOT_FOUND, "this service has no problem of that name"));
    };
    let response = if request.preferred(&["application/json", "text/html"]) == 0 {
        let (title, status, meaning) = (kind.title, kind.status, kind.meaning);
        let kind = openapi::type_of(kind);
        Response::json(200, &json!({ "type": kind, "title": title, "status": status, "meaning": meaning }))
    } else {
        let code = format!("<p>Status {}, <code>{}</code>", kind.status, openapi::type_of(kind));
        small_page(200, kind.title, &format!("<p>{}\n{code}\n", marked_up(kind.meaning)))
    };
    // A cache must keep the two forms apart.
    Ok(response.with_header("Vary", "Accept"))
}

/// Answers with a page for a person who opened the address in a browser.
fn index(about: &About, _: &Request, _: &Params<'_>) -> Result<Response, Problem> {
    let document = about.document();
    let text = |name: &str| document["info"][name].as_str().unwrap_or_default();
    let routes: String = document["paths"]
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(path, item)| rows(path, item))
        .collect();
    let problems = about.profile.problems();
    let problems: Vec<_> =
        problems.iter().map(|kind| format!("<a href=/problems/{0}>{0}</a>", kind.slug)).collect();
    // The registry has no index: its page is the console.
    let console = about.console.as_deref().map(escaped);
    let console =
        console.map(|url| format!("<p><a href=\"{url}\">The console</a> shows the system at work.\n"));
    let body = format!(
        "<p>{}\n{}<ul>\n{routes}</ul>\n<p>Problems: {}\n",
        marked_up(text("summary")),
        console.unwrap_or_default(),
        problems.join(", ")
    );
    Ok(small_page(200, text("title"), &body))
}

/// Returns a row for each method of a path, with a link if the path has no parameter.
fn rows(path: &str, item: &Value) -> Vec<String> {
    let methods: Map<String, Value> = item.as_object().cloned().unwrap_or_default();
    let row = |(method, operation): (String, Value)| {
        let shown = match method.as_str() {
            // A link with a placeholder would lead to a refusal.
            "get" if !path.contains('{') => format!("<a href={path}>{path}</a>"),
            _ => path.to_owned(),
        };
        let summary = marked_up(operation["summary"].as_str().unwrap_or_default());
        format!("<li><code>{} {shown}</code>: {summary}\n", method.to_uppercase())
    };
    methods.into_iter().map(row).collect()
}

/// Returns the answer to `GET /health` in the form for people, when a browser asks; another answer as it is.
pub(super) fn shown_to_people(request: &Request, answer: Response) -> Response {
    // A refusal of the request itself is an answer to a program.
    if request.path() != "/health" || ![200, 503].contains(&answer.status) {
        return answer;
    }
    let fields = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(Value::Object(fields)) if request.preferred(&["application/json", "text/html"]) == 1 => fields,
        // Another form was asked for, or the answer has no body.
        Ok(_) | Err(_) => return answer.with_header("Vary", "Accept"),
    };
    let row = |(name, value): (&String, &Value)| {
        // A text without its quotes: a person reads the page.
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(&value))
    };
    let title = if answer.status == 200 { "Healthy" } else { "Not healthy" };
    let body = format!("<dl>\n{}</dl>\n", fields.iter().map(row).collect::<String>());
    let mut page = small_page(answer.status, title, &body).with_header("Vary", "Accept");
    // `Retry-After` and the headers for web pages stay; the type is the page's own.
    page.headers.extend(answer.headers.into_iter().filter(|(name, _)| *name != "Content-Type"));
    page
}

/// Returns a text of the documents as HTML: backquotes become code.
fn marked_up(text: &str) -> String {
    let escaped = escaped(text);
    let parts = escaped.split('`').enumerate();
    parts
        .map(|(at, part)| if at % 2 == 0 { part.to_owned() } else { format!("<code>{part}</code>") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Router;

    const SERVICES: [&Profile; 3] = [&REGISTRY, &WRITE, &READ];

    fn answer(profile: &'static Profile, target: &str, accept: &str) -> Response {
        let request = Request::get(target).with_header("Accept", accept);
        Router::new(About::new(profile, Arc::default(), None), ROUTES).handle(&request)
    }

    fn text(response: Response) -> String {
        assert_eq!(response.status, 200);
        String::from_utf8(response.body).unwrap()
    }

    #[test]
    fn each_problem_of_a_service_has_a_page_for_programs_and_one_for_people() {
        for profile in SERVICES {
            for kind in profile.problems() {
                let path = openapi::type_of(kind);
                let shown: Value = serde_json::from_str(&text(answer(profile, &path, "*/*"))).unwrap();
                assert_eq!((&shown["type"], &shown["status"]), (&json!(path), &json!(kind.status)));
                assert_eq!(shown["meaning"], kind.meaning);
                let page = answer(profile, &path, "text/html,*/*;q=0.8");
                assert_eq!(page.header("Vary"), Some("Accept"));
                assert!(text(page).contains(&marked_up(kind.title)));
            }
        }
    }

    #[test]
    fn a_problem_that_the_service_does_not_have_has_no_page() {
        for (profile, slug) in
            [(&REGISTRY, "insufficient-funds"), (&WRITE, "read-model-behind"), (&READ, "x")]
        {
            assert_eq!(answer(profile, &format!("/problems/{slug}"), "*/*").status, 404, "{slug}");
        }
    }

    #[test]
    fn no_two_problems_of_a_service_share_a_slug() {
        for profile in SERVICES {
            let mut slugs: Vec<_> = profile.problems().iter().map(|kind| kind.slug).collect();
            let all = slugs.len();
            slugs.sort_unstable();
            slugs.dedup();
            assert_eq!(slugs.len(), all);
        }
    }

    #[test]
    fn the_index_lists_all_routes_and_links_those_that_need_nothing() {
        let page = text(answer(&WRITE, "/", "*/*"));
        assert!(page.contains("<h1>Tally: write side</h1>"));
        for row in ["GET <a href=/events>/events</a>", "POST /accounts/{id}/deposit", "GET /problems/{slug}"]
        {
            assert!(page.contains(row), "{row} is not in {page}");
        }
    }

    #[test]
    fn the_index_links_to_the_console() {
        let about = About::new(&READ, Arc::default(), Some("http://127.0.0.1:7000".to_owned()));
        let page = text(Router::new(about, ROUTES).handle(&Request::get("/")));
        assert!(page.contains("<a href=\"http://127.0.0.1:7000\">"), "{page}");
        assert!(!text(answer(&REGISTRY, "/", "*/*")).contains("The console</a>"));
    }

    #[test]
    fn a_browser_gets_health_as_a_page_and_a_program_as_it_is() {
        let shown = |target, accept, status| {
            let request = Request::get(target).with_header("Accept", accept);
            let answer = Response::json(status, &json!({ "detail": "<b>full</b>", "head": 7 }));
            shown_to_people(&request, answer.with_header("Retry-After", "1"))
        };
        for status in [200, 503] {
            let page = shown("/health", "text/html,*/*;q=0.8", status);
            assert_eq!((page.status, page.header("Retry-After")), (status, Some("1")));
            assert_eq!(page.header("Vary"), Some("Accept"));
            let page = String::from_utf8(page.body).unwrap();
            assert!(page.contains("<dd>&lt;b>full&lt;/b></dd>") && page.contains("<dd>7</dd>"), "{page}");
        }
        for (target, accept, status) in
            [("/health", "*/*", 200), ("/ready", "text/html", 503), ("/health", "text/html", 400)]
        {
            let answer = shown(target, accept, status);
            assert_eq!(answer.header("Content-Type"), Some("application/json"), "{target} {accept} {status}");
        }
    }

    #[test]
    fn backquotes_become_code_and_nothing_becomes_markup() {
        assert_eq!(marked_up("`a` < b & `c`"), "<code>a</code> &lt; b &amp; <code>c</code>");
    }
}
