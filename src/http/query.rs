//! Query parameters, checked by name. An unknown, repeated or malformed parameter is refused: a service without
//! this check would answer `?at_versoin=3` with the present state.
//!
//! The known names of a route stand in the route table, and the router reads the query. A name that ends in
//! [`ANY_KEY`] stands for a family, such as `metadata.zone` and `metadata.rack`; each of a family may be repeated.
//!
//! Read next: `json.rs`, the same for bodies.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::{Problem, Request};

/// The longest `wait` of a client, in seconds: below the idle timeouts of common proxies.
pub const MAX_WAIT_SECONDS: f64 = 30.0;

/// The last part of a known name that stands for any key.
const ANY_KEY: &str = ".KEY";

/// The parameters of a request.
#[derive(Debug)]
pub struct Query {
    parameters: Vec<(String, String)>,
}

impl Query {
    /// Reads the query of `request`, which may have the parameters `known`.
    ///
    /// # Errors
    /// 400 `invalid-query` for a parameter not in `known`, given twice, or not UTF-8.
    pub(super) fn of(request: &Request, known: &[&str]) -> Result<Self, Problem> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in request.query().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let has_value = name.len() < pair.len();
            let decoded = |text| {
                decode(text).ok_or_else(|| Problem::invalid_query(name, "is not percent-encoded UTF-8"))
            };
            let (name, value) = (decoded(name)?, decoded(value)?);
            if known.iter().any(|known| key_of(known, &name).is_some()) {
                // An empty text may be meant as a value: a name alone says too little.
                if !has_value {
                    return Err(Problem::invalid_query(&name, "must have a value, as in NAME=VALUE"));
                }
                parameters.push((name, value));
                continue;
            }
            if !known.contains(&name.as_str()) {
                return Err(Problem::invalid_query(&name, "the parameter is unknown here"));
            }
            // Programs disagree about which of two equal parameters counts.
            if parameters.iter().any(|(other, _)| *other == name) {
                return Err(Problem::invalid_query(&name, "the parameter is given twice"));
            }
            parameters.push((name, value));
        }
        Ok(Self { parameters })
    }

    /// Returns the parameter as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the keys and values of a family of parameters: `family` is its known name.
    pub fn keyed<'a>(&'a self, family: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let of_family = |(name, value): &'a (String, String)| Some((key_of(family, name)?, value.as_str()));
        self.parameters.iter().filter_map(of_family)
    }

    /// Returns the parameter as a whole number, never clamped.
    ///
    /// # Errors
    /// 400 when the parameter is not a whole number from `range`.
    pub fn whole_number(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        Some(text)
            // `parse` alone also accepts a plus sign.
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .filter(|number| range.contains(number))
            .map(Some)
            .ok_or_else(|| {
                let (low, high) = range.into_inner();
                Problem::invalid_query(name, format!("must be a whole number from {low} to {high}"))
            })
    }

    /// Returns the parameter `wait`, in seconds, fractions allowed.
    ///
    /// # Errors
    /// 400 when the parameter is not a number from 0 to [`MAX_WAIT_SECONDS`].
    pub fn wait(&self) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.text("wait") else {
            return Ok(None);
        };
        Some(text)
            // `parse` alone also accepts `inf`, `nan`, a sign, and `.5`.
            .filter(|text| text.starts_with(|first: char| first.is_ascii_digit()))
            .and_then(|text| text.parse::<f64>().ok())
            .filter(|seconds| (0.0..=MAX_WAIT_SECONDS).contains(seconds))
            .map(|seconds| Some(Duration::from_secs_f64(seconds)))
            .ok_or_else(|| {
                Problem::invalid_query(
                    "wait",
                    format!("must be a number of seconds from 0 to {MAX_WAIT_SECONDS}"),
                )
            })
    }
}

/// Returns the key in the name of a parameter that belongs to the family `known`; a key is never empty.
fn key_of<'a>(known: &str, name: &'a str) -> Option<&'a str> {
    let prefix = &known[..=known.strip_suffix(ANY_KEY)?.len()];
    name.strip_prefix(prefix).filter(|key| !key.is_empty())
}

/// Decodes percent-encoding, and `+` as a space, as browsers and curl encode queries. None for a `%`
/// without two hexadecimal digits, or for bytes that are not UTF-8.
fn decode(text: &str) -> Option<String> {
    let is_escape = |after: &str| {
        after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    // The crate copies a malformed escape as it stands; a strict reader looks first.
    if !text.split('%').skip(1).all(is_escape) {
        return None;
    }
    // Before the escapes are decoded: `%2B` stays a plus.
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<Query, Problem> {
        Query::of(&Request::get(&format!("/?{text}")), &["after", "wait", "owner", "metadata.KEY"])
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
        let problem = result.unwrap_err();
        assert_eq!(problem.kind.slug, "invalid-query");
        problem.members["parameter"].as_str().unwrap().to_owned()
    }

    #[test]
    fn unknown_repeated_and_undecodable_parameters_are_refused_by_name() {
        assert_eq!(refused(query("aftre=1")), "aftre");
        assert_eq!(refused(query("after=1&after=1")), "after");
        for bad in ["owner=%ff", "owner=%4", "owner=%+1"] {
            assert_eq!(refused(query(bad)), "owner", "{bad}");
        }
    }

    #[test]
    fn a_family_of_parameters_has_any_key_and_no_key_is_empty() {
        let found = query("metadata.a=1&metadata.b.c=&metadata.a=2&metadata.%C3%A4=%3D").unwrap();
        let keyed: Vec<_> = found.keyed("metadata.KEY").collect();
        assert_eq!(keyed, [("a", "1"), ("b.c", ""), ("a", "2"), ("ä", "=")]);
        for bad in ["metadata.", "metadata", "metadatb.a", "metadata.a"] {
            let text = if bad == "metadata.a" { bad.to_owned() } else { format!("{bad}=1") };
            assert_eq!(refused(query(&text)), bad);
        }
    }

    #[test]
    fn numbers_are_never_clamped() {
        for bad in ["", "-1", "+1", "1.0", "11", "99999999999999999999", "a", "1%00"] {
            let query = query(&format!("after={bad}")).unwrap();
            assert_eq!(refused(query.whole_number("after", 0..=10)), "after", "{bad}");
        }
        assert_eq!(query("after=10").unwrap().whole_number("after", 0..=10).unwrap(), Some(10));
    }

    #[test]
    fn waits_are_seconds_within_reason() {
        for bad in ["", "-1", "31", "inf", "nan", "1s"] {
            assert_eq!(refused(query(&format!("wait={bad}")).unwrap().wait()), "wait", "{bad}");
        }
        let half = query("wait=0.5").unwrap().wait().unwrap();
        assert_eq!(half, Some(Duration::from_millis(500)));
    }

    #[test]
    fn texts_are_percent_decoded() {
        let query = query("owner=Ada+L%C3%B6v%20%2B").unwrap();
        assert_eq!(query.text("owner"), Some("Ada Löv +"));
    }
}
