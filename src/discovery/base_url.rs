//! The address of a service, checked once where it enters.

use std::fmt;
use std::str::FromStr;

use ureq::http::Uri;
use ureq::http::uri::Authority;

/// The address of a service, such as `http://127.0.0.1:7000`: `http`, a host, and no path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl(String);

/// A text that is no [`BaseUrl`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUrl(String);

impl FromStr for BaseUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let text = text.trim().trim_end_matches('/');
        let uri: Uri = text.parse().map_err(|_| InvalidUrl(text.to_owned()))?;
        let is_base = uri.scheme_str() == Some("http")
            && uri.authority().is_some_and(is_host_and_port)
            && uri.path() == "/"
            && uri.query().is_none();
        if is_base { Ok(Self(text.to_owned())) } else { Err(InvalidUrl(text.to_owned())) }
    }
}

/// Neither a user name nor a port that is none, both of which [`Uri`] lets through.
fn is_host_and_port(authority: &Authority) -> bool {
    let host = authority.host();
    let with_port = authority.port_u16().map(|port| format!("{host}:{port}"));
    !host.is_empty() && (authority == host || with_port.is_some_and(|with_port| authority == &*with_port))
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no address like http://127.0.0.1:7000", self.0)
    }
}

impl std::error::Error for InvalidUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_http_with_a_host_and_nothing_more() {
        for good in ["http://127.0.0.1:7000", "http://localhost", "http://[::1]:7000/", " http://a:1 "] {
            let url: BaseUrl = good.parse().unwrap();
            assert_eq!(url.to_string(), good.trim().trim_end_matches('/'));
        }
        for bad in [
            "",
            "127.0.0.1:7000",
            "https://a",
            "http://",
            "http://a/b",
            "http://a?b",
            "a b",
            "http://a:x",
            "http://u@a:1",
        ] {
            assert!(bad.parse::<BaseUrl>().is_err(), "{bad}");
        }
    }
}
