//! What accompanies a command in its headers: idempotency key, correlation, trace context.

use super::command::Command;
use crate::es::{Context, IdempotencyKey, Metadata};
use crate::http::{Problem, Request, problems};

/// Longest `Idempotency-Key`.
const MAX_KEY: usize = 255;
/// Longest `X-Correlation-Id`.
const MAX_CORRELATION_ID: usize = 200;

/// Reads the headers that accompany a command, and gives a transfer without an id a new one. The client's
/// key stands for the command as the client sent it; the transfer's id stands for the transfer.
///
/// # Errors
/// 400 `invalid-header` for a key or correlation id that is malformed.
pub(super) fn context_of(request: &Request, command: Command) -> Result<(Context, Command), Problem> {
    let key = visible(request, "Idempotency-Key", MAX_KEY)?;
    let traceparent = request.header("traceparent").filter(|value| trace_id(value).is_some());
    let correlation_id = visible(request, "X-Correlation-Id", MAX_CORRELATION_ID)?
        .or_else(|| traceparent.and_then(trace_id).map(str::to_owned));
    let metadata =
        Metadata { correlation_id, causation_id: key.clone(), traceparent: traceparent.map(str::to_owned) };
    let of_client = key.map(|key| IdempotencyKey::of(key, &command)).transpose();
    let command = command.with_transfer_id();
    let keys = of_client.and_then(|of_client| Ok(of_client.into_iter().chain(command.own_key()?).collect()));
    let not_json = |error: serde_json::Error| Problem::new(&problems::INTERNAL_ERROR, error.to_string());
    Ok((Context { keys: keys.map_err(not_json)?, metadata }, command))
}

/// A header of visible ASCII characters, at most once.
fn visible(request: &Request, name: &str, longest: usize) -> Result<Option<String>, Problem> {
    let mut values = request.header_values(name);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let lawful = (1..=longest).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic());
    if !lawful || values.next().is_some() {
        let what = format!("must be given once, as 1 to {longest} visible ASCII characters");
        return Err(Problem::invalid_header(name, what));
    }
    Ok(Some(value.to_owned()))
}

/// The trace id of a W3C `traceparent`, `00-{32 hex}-{16 hex}-{2 hex}`. The standard has receivers
/// ignore a malformed one: the trace begins anew, the request is none the worse.
fn trace_id(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let mut hex = |length: usize| {
        let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        parts.next().filter(|part| part.len() == length && part.bytes().all(lower_hex))
    };
    let (version, trace_id, _parent, _flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    (version != "ff" && trace_id.bytes().any(|byte| byte != b'0')).then_some(trace_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn context(headers: &[(&str, &str)]) -> Result<Context, Problem> {
        let request =
            headers.iter().fold(Request::get("/"), |request, (name, value)| request.with_header(name, value));
        context_of(&request, Command::Close { account_id: uuid::Uuid::nil() }).map(|(context, _)| context)
    }

    #[test]
    fn the_correlation_id_is_the_callers_or_that_of_the_trace() {
        let traced = context(&[("traceparent", TRACE)]).unwrap().metadata;
        assert_eq!(traced.correlation_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(traced.traceparent.as_deref(), Some(TRACE));
        let named = context(&[("traceparent", TRACE), ("X-Correlation-Id", "order-7")]).unwrap().metadata;
        assert_eq!(named.correlation_id.as_deref(), Some("order-7"));
        let malformed = context(&[("traceparent", "00-xyz")]).unwrap().metadata;
        assert_eq!((malformed.correlation_id, malformed.traceparent), (None, None));
    }

    #[test]
    fn a_malformed_or_repeated_key_is_refused_and_never_ignored() {
        let long = "k".repeat(256);
        for bad in ["", "a b", "ä", "a\tb", &long] {
            let problem = context(&[("Idempotency-Key", bad)]).unwrap_err();
            assert_eq!(problem.members["header"], "Idempotency-Key", "{bad}");
        }
        let twice = context(&[("Idempotency-Key", "a"), ("Idempotency-Key", "b")]).unwrap_err();
        assert_eq!(twice.kind.slug, "invalid-header");
        assert!(context(&[("Idempotency-Key", &long[..255])]).is_ok());
    }
}
