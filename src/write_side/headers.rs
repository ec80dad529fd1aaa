//! The headers of a command: idempotency key, trace context, and precondition.
//!
//! **Invariant:** a malformed header is refused, never ignored: without the header, the command would have
//! another meaning. Only a malformed `traceparent` is ignored, as the W3C standard demands.
//!
//! Read next: `commands.rs`, which runs a command with these headers.

use crate::es::Metadata;
use crate::http::{EntityTags, Problem, Request, Response, trace_id};

/// The longest `Idempotency-Key`, in bytes.
const MAX_KEY: usize = 255;
/// The longest `X-Correlation-Id`, in bytes.
pub(super) const MAX_CORRELATION_ID: usize = 200;

/// The prefix of the keys of transfers. The keys of clients have no spaces, so clients cannot use these keys.
pub(super) const TRANSFER_KEY: &str = "transfer ";

/// The headers of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Headers {
    /// `Idempotency-Key`.
    pub(super) key: Option<String>,
    /// `X-Correlation-Id` and `traceparent`, kept with each event.
    pub(super) metadata: Metadata,
    pub(super) precondition: Precondition,
}

impl Headers {
    /// Reads the headers of a command.
    ///
    /// # Errors
    /// 400 `invalid-header` with the name of the malformed header.
    pub(super) fn of(request: &Request) -> Result<Self, Problem> {
        let key = visible(request, "Idempotency-Key", MAX_KEY)?;
        let traceparent = request.header("traceparent").filter(|value| trace_id(value).is_some());
        // The client's own id wins over the id of the trace.
        let correlation_id = visible(request, "X-Correlation-Id", MAX_CORRELATION_ID)?
            .or_else(|| traceparent.and_then(trace_id).map(str::to_owned));
        let traceparent = traceparent.map(str::to_owned);
        // The key identifies the command, the cause of its events.
        let metadata = Metadata { correlation_id, causation_id: key.clone(), traceparent };
        Ok(Self { key, metadata, precondition: Precondition::of(request)? })
    }
}

/// Returns the value of a header of visible ASCII characters, which may stand once.
fn visible(request: &Request, name: &str, longest: usize) -> Result<Option<String>, Problem> {
    let mut values = request.header_values(name);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let lawful = (1..=longest).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic());
    // Of two values, the service cannot know which the client means.
    if !lawful || values.next().is_some() {
        let what = format!("must be given once, as 1 to {longest} visible ASCII characters");
        return Err(Problem::invalid_header(name, what));
    }
    Ok(Some(value.to_owned()))
}

/// `If-Match` and `If-None-Match`: a condition on the version of the account (optimistic concurrency,
/// RFC 9110, 13.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Precondition {
    /// The versions with which the command runs.
    matching: Option<Versions>,
    /// The versions with which the command is refused.
    none_matching: Option<Versions>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Versions {
    /// Every version, but not the absence of the account.
    All,
    Listed(Vec<u64>),
}

impl Versions {
    /// Reads a header of entity tags. The write side uses versions as entity tags: any other tag is a mistake
    /// of the client.
    fn of(request: &Request, name: &str) -> Result<Option<Self>, Problem> {
        let tags = match request.entity_tags(name)? {
            None => return Ok(None),
            Some(EntityTags::Any) => return Ok(Some(Self::All)),
            Some(EntityTags::Tags(tags)) => tags,
        };
        // `parse` alone accepts a sign.
        let version = |opaque: &str| {
            opaque.parse::<u64>().ok().filter(|_| opaque.bytes().all(|byte| byte.is_ascii_digit()))
        };
        // `If-Match` compares strongly: a weak tag could never match (RFC 9110, 13.1.1).
        let versions = tags.iter().map(|tag| version(tag.opaque).filter(|_| !tag.weak));
        versions.collect::<Option<_>>().map(|versions| Some(Self::Listed(versions))).ok_or_else(|| {
            Problem::invalid_header(name, "must be * or versions in double quotes, such as \"3\"")
        })
    }

    fn has(&self, version: u64) -> bool {
        match self {
            // 0 is the version of an absent account.
            Self::All => version > 0,
            Self::Listed(versions) => versions.contains(&version),
        }
    }
}

impl Precondition {
    fn of(request: &Request) -> Result<Self, Problem> {
        let matching = Versions::of(request, "If-Match")?;
        Ok(Self { matching, none_matching: Versions::of(request, "If-None-Match")? })
    }

    /// Returns whether the command may run on the account at `version`.
    pub(super) fn is_met_by(&self, version: u64) -> bool {
        let is_excluded = self.none_matching.as_ref().is_some_and(|versions| versions.has(version));
        self.matching.as_ref().is_none_or(|versions| versions.has(version)) && !is_excluded
    }
}

/// Adds `Event-Position` to an answer: the position of a receipt, or the head of the log.
pub(super) fn at(position: u64, response: Response) -> Response {
    response.with_header("Event-Position", position.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(given: &[(&str, &str)]) -> Result<Headers, Problem> {
        let request =
            given.iter().fold(Request::get("/"), |request, (name, value)| request.with_header(name, value));
        Headers::of(&request)
    }

    #[test]
    fn the_correlation_id_is_the_callers_or_that_of_the_trace() {
        let traced = headers(&[("traceparent", TRACE)]).unwrap().metadata;
        assert_eq!(traced.correlation_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(traced.traceparent.as_deref(), Some(TRACE));
        let named = headers(&[("traceparent", TRACE), ("X-Correlation-Id", "order-7")]).unwrap().metadata;
        assert_eq!(named.correlation_id.as_deref(), Some("order-7"));
        let malformed = headers(&[("traceparent", "00-xyz")]).unwrap().metadata;
        assert_eq!((malformed.correlation_id, malformed.traceparent), (None, None));
    }

    #[test]
    fn a_malformed_or_repeated_key_is_refused_and_never_ignored() {
        let long = "k".repeat(256);
        for bad in ["", "a b", "ä", "a\tb", &long] {
            let problem = headers(&[("Idempotency-Key", bad)]).unwrap_err();
            assert_eq!(problem.members["header"], "Idempotency-Key", "{bad}");
        }
        let twice = headers(&[("Idempotency-Key", "a"), ("Idempotency-Key", "b")]).unwrap_err();
        assert_eq!(twice.kind.slug, "invalid-header");
        assert!(headers(&[("Idempotency-Key", &long[..255])]).is_ok());
    }

    fn read(value: &str) -> Result<Option<Versions>, Problem> {
        Precondition::of(&Request::get("/").with_header("If-Match", value)).map(|read| read.matching)
    }

    #[test]
    fn versions_come_in_double_quotes() {
        assert_eq!(read("\"3\"").unwrap(), Some(Versions::Listed(vec![3])));
        assert_eq!(read("\"3\", \"4\",").unwrap(), Some(Versions::Listed(vec![3, 4])));
        assert_eq!(read("*").unwrap(), Some(Versions::All));
        assert_eq!(Precondition::of(&Request::get("/")).unwrap(), Precondition::default());
    }

    #[test]
    fn anything_else_is_refused_and_never_ignored() {
        for bad in [
            "",
            "3",
            "\"3",
            "W/\"3\"",
            "\"abc\"",
            "\"\"",
            "\"-1\"",
            "\"+1\"",
            "*, \"3\"",
            "\"99999999999999999999\"",
        ] {
            assert_eq!(read(bad).unwrap_err().members["header"], "If-Match", "{bad}");
        }
    }
}
