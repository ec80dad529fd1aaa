//! The call from the engine into a service, with a panic caught and the answer's memory counted.
//!
//! **Invariant:** a panic of a handler costs one request, and the bytes of large answers stay within
//! their [`Budget`] until the client has received them.
//!
//! Read next: `connection.rs`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use super::options::Connections;
use crate::http::budget::{Budget, Share};
use crate::http::trace::traced;
use crate::http::{Problem, Request, Response, problems};

/// A service, as the engines hold the function.
pub(super) type Service = dyn Fn(&Request) -> Response + Send + Sync;

/// Runs the handler and answers 500 when the handler panics.
pub(super) fn call(service: &Service, request: &Request, connections: &Connections) -> Response {
    traced(request, || {
        // Unwind safety: handlers share state behind locks alone, and a lock stays consistent or poisoned.
        let called = catch_unwind(AssertUnwindSafe(|| service(request)));
        called.unwrap_or_else(|panic| {
            connections.panics.fetch_add(1, Ordering::Relaxed);
            let (method, path) = (request.method.as_str(), request.path());
            log::error!("{method} {path}: the handler panicked: {}", panic_text(&*panic));
            Problem::new(&problems::INTERNAL_ERROR, "the handler failed; see the log").into()
        })
    })
}

/// Returns the response with a share of the budget, or a 503 without a share when the budget is spent.
pub(super) fn within_budget(response: Response, answers: &Budget) -> (Response, Option<Share<'_>>) {
    match answers.claim(response.body.len()) {
        Some(share) => (response, Some(share)),
        None => {
            // The memory returns to the allocator before the small refusal takes its own.
            drop(response);
            let detail = "too many large answers are on their way to clients; ask for less, or later";
            let problem = Problem::new(&problems::OVERLOADED, detail).with_header("Retry-After", "1");
            (problem.into(), None)
        }
    }
}

/// Returns the text of a panic; a panic can carry any value.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}
