//! Which web pages may use a service (CORS, and what CORS leaves open).
//!
//! There is no authentication, so what protects a service on somebody's laptop from any page that
//! is open in the same browser is this file. Pages from the machine itself may do everything,
//! others what `--allow-origin` says. CORS alone would hide answers but let simple requests
//! through (a `POST` without a body, to `/close`, is one), so requests that change something are
//! refused when a foreign page sends them: browsers always say where such a request comes from.
//!
//! **Invariant:** the name in `Host` proves nothing, since a page can let its own name point at
//! this machine (DNS rebinding). Only an address of digits does.

use std::borrow::Cow;
use std::net::IpAddr;

use super::{Method, Problem, Request, Response, problems};

/// The headers of ours that a page may read beside the usual ones.
const EXPOSED: &str = "ETag, Event-Position, Location, Idempotency-Replayed, Retry-After";
/// How long a browser may remember a preflight, in seconds.
const MAX_AGE: &str = "600";

/// The origins that may use a service, beside those of the machine itself.
#[derive(Clone, Debug, Default)]
pub(super) struct AllowedOrigins {
    any: bool,
    origins: Vec<String>,
}

/// Where a request comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origin<'a> {
    /// Not from a page, or from one that only reads within its own origin.
    None,
    Allowed(&'a str),
    Foreign,
}

impl AllowedOrigins {
    /// `*` stands for all.
    pub(super) fn new(origins: Vec<String>) -> Self {
        let any = origins.iter().any(|origin| origin == "*");
        let origins = origins.iter().map(|origin| origin.trim_end_matches('/').to_owned()).collect();
        Self { any, origins }
    }

    pub(super) fn origin<'a>(&self, request: &'a Request) -> Origin<'a> {
        let mut values = request.header_values("Origin");
        match (values.next(), values.next()) {
            (None, _) => Origin::None,
            (Some(origin), None) if self.allow(origin, request) => Origin::Allowed(origin),
            (Some(_), _) => Origin::Foreign,
        }
    }

    fn allow(&self, origin: &str, request: &Request) -> bool {
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
        rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
    })
}

/// The service's own page, asked for by an address of digits.
fn is_own(origin: &str, request: &Request) -> bool {
    let own = authority(origin).filter(|authority| request.header("Host") == Some(authority));
    own.is_some_and(|own| {
        let host =
            own.rsplit_once(':').map_or(own, |(host, port)| if port.ends_with(']') { own } else { host });
        host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
    })
}

/// # Errors
/// 403 `origin-not-allowed` when a foreign page wants to change something.
pub(super) fn admit(origin: &Origin<'_>, request: &Request) -> Result<(), Problem> {
    // Not `Method::is_safe`, which also counts TRACE: no route takes a TRACE.
    let only_reads = matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if *origin == Origin::Foreign && !only_reads {
        let detail = "pages from this origin may not change anything here";
        return Err(Problem::new(&problems::ORIGIN_NOT_ALLOWED, detail));
    }
    Ok(())
}

/// Tells the browser what the page may do and read.
pub(super) fn label(response: &mut Response, origin: &Origin<'_>, request: &Request) {
    let mut add = |name, value| response.headers.push((name, value));
    // A cache must not give one origin's answer to another.
    add("Vary", Cow::Borrowed("Origin"));
    let Origin::Allowed(origin) = origin else {
        return;
    };
    add("Access-Control-Allow-Origin", Cow::Owned((*origin).to_owned()));
    add("Access-Control-Expose-Headers", Cow::Borrowed(EXPOSED));
    if request.method == Method::OPTIONS && request.header("Access-Control-Request-Method").is_some() {
        let asked = request.header("Access-Control-Request-Headers").unwrap_or("").to_owned();
        add("Access-Control-Allow-Headers", Cow::Owned(asked));
        add("Access-Control-Max-Age", Cow::Borrowed(MAX_AGE));
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
