//! The id by which the log lines of one request are found: `X-Correlation-Id`, or the trace id of a
//! `traceparent` (W3C Trace Context). The write side records the same id with the events of the request.
//!
//! **Invariant:** an id belongs to one request: the thread forgets the id with the answer, also after a panic.
//! An id is visible ASCII of bounded length, so a client can neither forge nor flood log lines.
//!
//! Read next: `engine/service.rs`, which sets the id; `service/logger.rs`, which shows the id.

use std::cell::RefCell;

use super::request::Request;

/// The longest shown id, in characters: the longest `X-Correlation-Id` that the write side accepts.
const MAX_SHOWN: usize = 200;

thread_local! {
    /// The id of the request that the thread handles now; empty without.
    static CURRENT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Returns the id of the request that this thread handles now.
pub fn current_trace() -> Option<String> {
    // The value is gone while a thread ends, and such a thread handles no request.
    let id = CURRENT.try_with(|current| current.borrow().clone()).ok()?;
    (!id.is_empty()).then_some(id)
}

/// Runs `work` with the id of `request` as the current id of this thread.
pub(super) fn traced<T>(request: &Request, work: impl FnOnce() -> T) -> T {
    // Most requests have no id, and cost two look-ups among their headers.
    let Some(id) = id_of(request) else {
        return work();
    };
    CURRENT.with(|current| *current.borrow_mut() = id);
    let _end = Forget;
    work()
}

/// Clears the current id when dropped.
struct Forget;

impl Drop for Forget {
    fn drop(&mut self) {
        CURRENT.with(|current| *current.borrow_mut() = String::new());
    }
}

fn id_of(request: &Request) -> Option<String> {
    let given = request.header("X-Correlation-Id");
    let id = given.or_else(|| request.header("traceparent").and_then(trace_id))?;
    // A refused id (too long, or with a control character) is shown as well, cut and masked.
    let visible = |character: char| if character.is_ascii_graphic() { character } else { '?' };
    Some(id.chars().take(MAX_SHOWN).map(visible).collect())
}

/// Returns the trace id of a W3C `traceparent`, `00-{32 hex}-{16 hex}-{2 hex}`. The standard has receivers
/// ignore a malformed header: the trace begins anew, and the request is as good as before.
pub fn trace_id(traceparent: &str) -> Option<&str> {
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

    fn seen(headers: &[(&str, &str)]) -> Option<String> {
        let request =
            headers.iter().fold(Request::get("/"), |request, (name, value)| request.with_header(name, value));
        traced(&request, current_trace)
    }

    #[test]
    fn a_request_has_its_correlation_id_or_else_the_trace_id_of_its_traceparent() {
        let traceparent = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!(seen(&[]), None);
        assert_eq!(seen(&[traceparent]).as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
        assert_eq!(seen(&[traceparent, ("X-Correlation-Id", "order-7")]).as_deref(), Some("order-7"));
        assert_eq!(seen(&[("traceparent", "00-xyz")]), None);
    }

    #[test]
    fn an_id_is_bounded_and_visible() {
        assert_eq!(seen(&[("X-Correlation-Id", "a b\u{85}c")]).as_deref(), Some("a?b?c"));
        assert_eq!(seen(&[("X-Correlation-Id", &"x".repeat(5_000))]).unwrap().len(), MAX_SHOWN);
    }

    #[test]
    fn the_next_request_of_the_thread_does_not_inherit_an_id_even_after_a_panic() {
        let request = Request::get("/").with_header("X-Correlation-Id", "order-7");
        let panicked = std::panic::catch_unwind(|| traced(&request, || panic!("{:?}", current_trace())));
        assert!(panicked.is_err());
        assert_eq!(current_trace(), None);
    }
}
