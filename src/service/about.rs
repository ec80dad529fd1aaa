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
use crate::http::{Params, Problem, ProblemType, Request, Response, Route, problems as generic};
use crate::{read_side, registry, write_side};

/// The document and the problems of a service.
#[derive(Debug)]
pub struct Profile {
    document: &'static str,
    problems: &'static [&'static ProblemType],
}

/// The service registry.
pub const REGISTRY: Profile =
    Profile { document: include_str!("../../openapi/registry.json"), problems: registry::PROBLEMS };
/// The write side.
pub const WRITE: Profile =
    Profile { document: include_str!("../../openapi/write.json"), problems: write_side::problems::ALL };
/// The read side.
pub const READ: Profile =
    Profile { document: include_str!("../../openapi/read.json"), problems: read_side::problems::ALL };

impl Profile {
    /// Returns the problems that the service can answer.
    pub fn problems(&self) -> Vec<&'static ProblemType> {
        generic::ALL.iter().chain(self.problems).copied().collect()
    }

    /// Returns the OpenAPI document of the service.
    pub fn openapi(&self) -> Value {
        openapi::document(self.document, &self.problems())
    }
}

/// The state of the routes.
#[derive(Debug)]
pub struct About {
    profile: &'static Profile,
    metrics: Arc<Metrics>,
    /// Built on the first request: most processes get none.
    document: OnceLock<Value>,
}

impl About {
    /// Returns the presentation of the service with that profile, with those metrics.
    pub fn new(profile: &'static Profile, metrics: Arc<Metrics>) -> Self {
        Self { profile, metrics, document: OnceLock::new() }
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
        page(kind.title, &format!("<p>{}\n{code}\n", marked_up(kind.meaning)))
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
    let body = format!(
        "<p>{}\n<ul>\n{routes}</ul>\n<p>Problems: {}\n",
        marked_up(text("summary")),
        problems.join(", ")
    );
    Ok(page(text("title"), &body))
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

fn page(title: &str, body: &str) -> Response {
    let title = marked_up(title);
    let page = format!(
        "<!doctype html>\n<html lang=en><meta charset=utf-8><title>{title}</title>\n<h1>{title}</h1>\n{body}</html>\n"
    );
    Response::new(200, "text/html; charset=utf-8", page.into_bytes())
}

/// Returns a text of the documents as HTML: backquotes become code.
fn marked_up(text: &str) -> String {
    // `&` first: the `&` of `&lt;` must not be escaped again.
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
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
        Router::new(About::new(profile, Arc::default()), ROUTES).handle(&request)
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
    fn backquotes_become_code_and_nothing_becomes_markup() {
        assert_eq!(marked_up("`a` < b & `c`"), "<code>a</code> &lt; b &amp; <code>c</code>");
    }
}
