//! The web pages that may use a service: CORS, and the gap that CORS leaves.
//!
//! The services have no authentication: this file alone protects a service on a developer's laptop from
//! pages open in the same browser. Pages from the machine itself may send any request, pages from
//! other origins only with `--allow-origin`. The service refuses every request of a foreign page that changes
//! state: browsers always send the origin of a changing request.
//!
//! **Invariant:** a name in `Host` does not prove that the page is the service's own. Only a numeric address
//! is a proof.
//!
//! Read next: `router.rs`, which calls the three functions.

use std::borrow::Cow;
use std::net::IpAddr;

use ::http::Method;

use super::problem::{Problem, problems};
use super::request::Request;
use super::response::Response;

/// The headers that a page may read besides the headers that CORS always exposes.
const EXPOSED_HEADERS: &str =
    "ETag, Event-Position, Location, Idempotency-Replayed, Retry-After, Server-Timing";
/// Time that a browser may cache a preflight, in seconds: ten minutes save most preflights, and a
/// changed `--allow-origin` applies soon.
const MAX_AGE_SECONDS: &str = "600";

/// The origins that may use a service, besides the machine itself.
#[derive(Clone, Debug, Default)]
pub(super) struct AllowedOrigins {
    any: bool,
    origins: Vec<String>,
}

/// The origin of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origin<'a> {
    /// No `Origin` header: not from a page, or a read within the page's own origin.
    None,
    Allowed(&'a str),
    Foreign,
}

impl AllowedOrigins {
    /// Returns the rules for `origins`; `*` admits all.
    pub(super) fn new(origins: Vec<String>) -> Self {
        let any = origins.iter().any(|origin| origin == "*");
        // Operators copy addresses with a final slash from a browser, which sends origins without a slash.
        let origins = origins.iter().map(|origin| origin.trim_end_matches('/').to_owned()).collect();
        Self { any, origins }
    }

    /// Classifies the origin of a request. Two `Origin` headers are foreign: no browser sends two.
    pub(super) fn origin<'a>(&self, request: &'a Request) -> Origin<'a> {
        let mut values = request.header_values("Origin");
        match (values.next(), values.next()) {
            (None, _) => Origin::None,
            (Some(origin), None) if self.is_allowed(origin, request) => Origin::Allowed(origin),
            (Some(_), _) => Origin::Foreign,
        }
    }

    fn is_allowed(&self, origin: &str, request: &Request) -> bool {
        let is_allowed = |allowed: &String| allowed.eq_ignore_ascii_case(origin);
        self.any || is_loopback(origin) || self.origins.iter().any(is_allowed) || is_own(origin, request)
    }
}

fn authority(origin: &str) -> Option<&str> {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
}

fn is_loopback(origin: &str) -> bool {
    let rest = authority(origin).and_then(|authority| {
        let names = ["localhost", "127.0.0.1", "[::1]"];
        names.into_iter().find_map(|name| authority.strip_prefix(name))
    });
    rest.is_some_and(|rest| {
        // Only a port may follow: `localhost.evil.example` is a foreign host.
        rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
    })
}

/// Whether the origin is the service's own page at a numeric address.
fn is_own(origin: &str, request: &Request) -> bool {
    // Numeric addresses alone: a foreign page can point its own name at this service (DNS rebinding), and
    // then its origin equals the `Host` as well.
    let own = authority(origin).filter(|authority| request.header("Host") == Some(authority));
    own.is_some_and(|own| {
        let host =
            own.rsplit_once(':').map_or(own, |(host, port)| if port.ends_with(']') { own } else { host });
        host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
    })
}

/// Refuses changes by foreign pages.
///
/// # Errors
/// 403 `origin-not-allowed` for a foreign page with a method that changes state.
pub(super) fn admit(origin: &Origin<'_>, request: &Request) -> Result<(), Problem> {
    // Not `Method::is_safe`, which also counts TRACE: no route takes a TRACE.
    let only_reads = matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
    // CORS alone would hide the answer from the page, but let a simple request through: for example a `POST`
    // without a body to `/close`.
    if *origin == Origin::Foreign && !only_reads {
        let detail = "pages from this origin may not change anything here";
        return Err(Problem::new(&problems::ORIGIN_NOT_ALLOWED, detail));
    }
    Ok(())
}

/// Refuses pages from anywhere but this machine, whatever origins the operator has allowed.
///
/// # Errors
/// 403 `origin-not-allowed` for an `Origin` that is not a loopback address.
pub fn admit_local_pages(request: &Request) -> Result<(), Problem> {
    if request.header_values("Origin").all(is_loopback) {
        return Ok(());
    }
    let detail = "pages from this origin may not do this: only those of this machine (localhost) may";
    Err(Problem::new(&problems::ORIGIN_NOT_ALLOWED, detail))
}

/// Adds the headers by which the browser decides about the page.
pub(super) fn label(response: &mut Response, origin: &Origin<'_>, request: &Request) {
    let mut add = |name, value| response.headers.push((name, value));
    // A cache must not serve the answer for one origin to another origin.
    add("Vary", Cow::Borrowed("Origin"));
    let Origin::Allowed(origin) = origin else {
        return;
    };
    add("Access-Control-Allow-Origin", Cow::Owned((*origin).to_owned()));
    add("Access-Control-Expose-Headers", Cow::Borrowed(EXPOSED_HEADERS));
    // A preflight. Every requested header is admitted: the origin decides, not the headers.
    if request.method == Method::OPTIONS && request.header("Access-Control-Request-Method").is_some() {
        let asked = request.header("Access-Control-Request-Headers").unwrap_or("").to_owned();
        add("Access-Control-Allow-Headers", Cow::Owned(asked));
        add("Access-Control-Max-Age", Cow::Borrowed(MAX_AGE_SECONDS));
        if let Some(methods) = response.header("Allow").map(str::to_owned) {
            response.headers.push(("Access-Control-Allow-Methods", Cow::Owned(methods)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(origin: &str) -> Request {
        Request::get("/").with_header("Origin", origin).with_header("Host", "192.168.1.5:7001")
    }

    fn is_allowed(allowed: &AllowedOrigins, origin: &str) -> bool {
        allowed.origin(&from(origin)) == Origin::Allowed(origin)
    }

    #[test]
    fn pages_from_the_machine_itself_are_allowed_and_lookalikes_are_not() {
        let allowed = AllowedOrigins::default();
        for origin in
            ["http://localhost", "https://localhost:3000", "http://127.0.0.1:1", "http://[::1]:65535"]
        {
            assert!(is_allowed(&allowed, origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://localhost.evil.example",
            "http://localhost:",
            "http://localhost:99999",
            "http://localhost:80.evil.example",
            "http://127.0.0.1.evil.example",
            "http://127.0.0.2",
            "file://localhost",
            "http://localhost@evil.example",
            "http://evil.example",
            "localhost",
        ] {
            assert_eq!(allowed.origin(&from(origin)), Origin::Foreign, "{origin}");
        }
    }

    #[test]
    fn further_origins_are_allowed_by_name_or_all_at_once() {
        let allowed = AllowedOrigins::new(vec!["https://bank.example/".to_owned()]);
        assert!(is_allowed(&allowed, "https://bank.example"));
        assert!(
            !is_allowed(&allowed, "http://bank.example") && !is_allowed(&allowed, "https://bank.example:1")
        );
        assert!(is_allowed(&AllowedOrigins::new(vec!["*".to_owned()]), "null"));
    }

    #[test]
    fn the_services_own_page_is_known_by_its_address_but_not_by_a_name() {
        let allowed = AllowedOrigins::default();
        assert!(is_allowed(&allowed, "http://192.168.1.5:7001"));
        assert!(!is_allowed(&allowed, "http://192.168.1.5:7002"));
        for (host, own) in
            [("[fe80::1]:7001", true), ("[fe80::1]", true), ("10.0.0.1", true), ("evil.example:7001", false)]
        {
            let origin = format!("http://{host}");
            let request = Request::get("/").with_header("Origin", &origin).with_header("Host", host);
            assert_eq!(allowed.origin(&request) == Origin::Allowed(&origin), own, "{host}");
        }
    }

    #[test]
    fn two_origins_are_none() {
        let request = from("http://localhost").with_header("Origin", "http://localhost");
        assert_eq!(AllowedOrigins::default().origin(&request), Origin::Foreign);
    }
}
