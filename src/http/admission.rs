//! The rules that every request must satisfy before a route sees the request.
//!
//! **Invariant:** input is never ignored and never guessed. An unknown host name, a single field that is
//! given twice and an unsupported content coding are refused here, once for all routes.
//!
//! Read next: `router.rs`.

use super::problem::{Problem, problems};
use super::request::Request;
use crate::host::Host;

/// Header fields of the routes that a request may have once (RFC 9110, 5.3). The engine checks
/// `Content-Length` and `Transfer-Encoding`.
const SINGLE_FIELDS: [&str; 9] = [
    "Host",
    "Content-Type",
    "Idempotency-Key",
    "X-Correlation-Id",
    "traceparent",
    "Origin",
    "Access-Control-Request-Method",
    "Expect",
    "Authorization",
];

/// The host names of a service.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    names: Vec<String>,
    any: bool,
}

impl Admission {
    /// Returns the rules for requests to `names`, besides IP addresses and `localhost`. The name `*` admits all.
    pub fn to(names: impl IntoIterator<Item = String>) -> Self {
        let names: Vec<String> =
            names.into_iter().map(|name| canonical(&name).to_ascii_lowercase()).collect();
        Self { any: names.iter().any(|name| name == "*"), names }
    }

    /// Checks a request.
    ///
    /// # Errors
    /// 421 `host-not-allowed`, 400 `invalid-header` for a single field given twice, 415 for a body in a
    /// content coding.
    pub fn check(&self, request: &Request) -> Result<(), Problem> {
        // Of two fields with the same name, a proxy and this service could each trust another.
        if let Some(name) = SINGLE_FIELDS.iter().find(|name| request.header_values(name).nth(1).is_some()) {
            return Err(Problem::invalid_header(name, "stands twice, but may stand once"));
        }
        self.check_host(request)?;
        check_coding(request)
    }

    /// Checks the host name. A request of HTTP/1.0 may lack the header; browsers, the reason for this rule,
    /// always send the header.
    fn check_host(&self, request: &Request) -> Result<(), Problem> {
        let Some(authority) = request.header("Host") else {
            return Ok(());
        };
        let malformed =
            || Problem::invalid_header("Host", "must be a host name or an address, with or without a port");
        let is_known = match host(authority).ok_or_else(malformed)? {
            // DNS rebinding needs a name: no page can point an address at another machine.
            Host::Address(_) => true,
            Host::Name(name) => {
                let is_name = |own: &str| own.eq_ignore_ascii_case(&name);
                self.any || is_name("localhost") || self.names.iter().any(|own| is_name(own))
            }
        };
        if is_known {
            return Ok(());
        }
        let detail = format!(
            "{authority:?} does not name this service; its operator can add the name with --allow-host"
        );
        Err(Problem::new(&problems::HOST_NOT_ALLOWED, detail))
    }
}

/// Returns a host name without a final dot.
fn canonical(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// Returns the host in the value of a `Host` header; the port may be empty (RFC 3986, 3.2.3).
pub(super) fn host(authority: &str) -> Option<Host> {
    let (host, port) = match authority.rsplit_once(':') {
        // A colon before `]` belongs to an IPv6 address.
        Some((host, port)) if !port.contains(']') => (host, port),
        Some(_) | None => (authority, ""),
    };
    let is_bracketed = host.starts_with('[') || !host.contains(':');
    let is_port = port.is_empty() || crate::host::port(port).is_some();
    if is_bracketed && is_port { canonical(host).parse().ok() } else { None }
}

/// Refuses a body in a content coding: the services decode no coding.
fn check_coding(request: &Request) -> Result<(), Problem> {
    let codings = request.header_values("Content-Encoding").flat_map(|value| value.split(',')).map(str::trim);
    let mut applied = codings.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
    // A coding without a body changes no meaning.
    match applied.next().filter(|_| !request.body.is_empty()) {
        None => Ok(()),
        Some(coding) => {
            let detail = format!("the body has the content coding {coding:?}: send it without a coding");
            let problem = Problem::new(&problems::UNSUPPORTED_MEDIA_TYPE, detail);
            Err(problem.with("coding", coding).with_header("Accept-Encoding", "identity"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(names: &[&str], headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::post("/accounts", "{}");
        headers.iter().for_each(|(name, value)| request.push_header(name, value));
        let admission = Admission::to(names.iter().map(|name| (*name).to_owned()));
        admission.check(&request).map_or_else(|problem| problem.kind.status, |()| 200)
    }

    #[test]
    fn a_service_answers_to_addresses_localhost_and_its_own_names() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:7001",
            "192.168.1.7:80",
            "[::1]",
            "[::1]:7001",
            "localhost",
            "LOCALHOST:1",
            "localhost.",
        ] {
            assert_eq!(status(&[], &[("Host", host)]), 200, "{host}");
        }
        for host in ["evil.example", "evil.example:7001", "localhost.evil.example", "127.0.0.1.nip.io"] {
            assert_eq!(status(&["write.internal"], &[("Host", host)]), 421, "{host}");
            assert_eq!(status(&["*"], &[("Host", host)]), 200, "{host}");
        }
        for host in ["write.internal", "Write.Internal:7001", "write.internal."] {
            assert_eq!(status(&["write.internal"], &[("Host", host)]), 200, "{host}");
        }
        assert_eq!(status(&[], &[]), 200, "HTTP/1.0 needs no host");
    }

    #[test]
    fn the_value_of_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for good in ["a", "a:80", "a:", "a_b-c.d", "127.0.0.1:1", "[::1]", "[::1]:65535"] {
            assert!(host(good).is_some(), "{good}");
        }
        for bad in [
            "", ":80", "x:abc", "x:99999", "a b", "u@a", "[::1", "[x]", "::1", "a:1:2", "[::1]x", "a/b",
            "x:+1", "\u{e9}",
        ] {
            assert!(host(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_field_that_may_stand_once_is_refused_when_it_stands_twice() {
        for name in ["Idempotency-Key", "X-Correlation-Id", "traceparent", "content-type", "Origin"] {
            assert_eq!(status(&[], &[(name, "a"), (name, "a")]), 400, "{name}");
        }
        assert_eq!(
            status(
                &[],
                &[("Accept", "a/b"), ("Accept", "c/d"), ("If-Match", "\"1\""), ("If-Match", "\"2\"")]
            ),
            200
        );
    }

    #[test]
    fn a_content_coding_is_never_ignored() {
        for coding in ["gzip", "identity, br", "x-unknown", "GZIP"] {
            assert_eq!(status(&[], &[("Content-Encoding", coding)]), 415, "{coding}");
        }
        assert_eq!(status(&[], &[("Content-Encoding", "identity"), ("Content-Encoding", "deflate")]), 415);
        for coding in ["identity", "", " Identity , identity"] {
            assert_eq!(status(&[], &[("Content-Encoding", coding)]), 200, "{coding}");
        }
    }
}
