//! A value with a position of the log, and the header `Event-Position`.
//!
//! **Invariant:** on the read side, [`label`] alone writes `Event-Position`.
//!
//! Read next: `freshness.rs`, which waits for a position.

use std::borrow::Cow;

use crate::http::{Problem, Response};

/// The header for the freshness of an answer.
pub(super) const EVENT_POSITION: &str = "Event-Position";

/// A value from rows that contain all events up to the position.
#[derive(Debug)]
pub(super) struct At<T> {
    pub(super) position: u64,
    pub(super) value: T,
}

/// The result of a query.
pub(super) type Queried<T> = rusqlite::Result<At<T>>;

impl<T> At<T> {
    /// Makes an answer of the value. A refusal reports the position too.
    pub(super) fn answer(
        self,
        answer: impl FnOnce(T) -> Result<Response, Problem>,
    ) -> Result<Response, Problem> {
        let position = self.position;
        let mut response = answer(self.value).map_err(|value| At { position, value }.problem())?;
        label(&mut response.headers, position);
        Ok(response)
    }
}

impl At<Problem> {
    /// Returns the problem with the header.
    pub(super) fn problem(mut self) -> Problem {
        label(&mut self.value.headers, self.position);
        self.value
    }
}

fn label(headers: &mut Vec<(&'static str, Cow<'static, str>)>, position: u64) {
    headers.push((EVENT_POSITION, position.to_string().into()));
}
