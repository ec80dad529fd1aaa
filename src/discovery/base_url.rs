//! The address of a service, checked once at the boundary.
//!
//! **Invariant:** a client can connect to every [`BaseUrl`]: the host is not a wildcard, the port is not 0.
//!
//! Read next: `host.rs`, the rules for hosts.

use std::fmt;
use std::str::FromStr;

use crate::host::{Host, host_and_port};

/// The TCP port of a URL without a port.
const HTTP_PORT: u16 = 80;

/// The address of a service, such as `http://127.0.0.1:7000`: scheme `http`, a host that clients can
/// connect to, a port other than 0, no path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl(String);

/// A text that [`BaseUrl`] rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUrl(String);

impl BaseUrl {
    /// Returns the address of `port` on `host`, or `None` when no client could connect to `host`.
    pub fn of(host: Host, port: u16) -> Option<Self> {
        let host = host.for_clients().ok()?;
        (port != 0).then(|| Self(format!("http://{}:{port}", host.in_url())))
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidUrl;

    /// Reads `http://HOST` or `http://HOST:PORT`, with or without a final slash.
    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let text = text.trim();
        // The final slash is the root path, which many tools append.
        let authority = text.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let url = authority
            .and_then(host_and_port)
            .and_then(|(host, port)| Self::of(host, port.unwrap_or(HTTP_PORT)));
        url.ok_or_else(|| InvalidUrl(text.to_owned()))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected http://HOST:PORT that clients can connect to, got {:?}", self.0)
    }
}

impl std::error::Error for InvalidUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_http_with_a_host_and_a_port_and_nothing_more() {
        for (text, url) in [
            ("http://127.0.0.1:7000", "http://127.0.0.1:7000"),
            ("http://localhost", "http://localhost:80"),
            (" http://[::1]:7000/ ", "http://[::1]:7000"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().to_string(), url);
        }
        for bad in [
            "",
            "127.0.0.1:7000",
            "https://a",
            "http://",
            "http://a/b",
            "http://a//",
            "http://a?b",
            "a b",
            "http://a:x",
            "http://a:0",
            "http://u@a:1",
            "http://127.1:1",
            "http://0.0.0.0:1",
            "http://::1:1",
        ] {
            assert!(bad.parse::<BaseUrl>().is_err(), "{bad}");
        }
    }
}
