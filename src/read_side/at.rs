//! A value with the position of the log that the value stands for, and the header that reports the position.
//!
//! **Invariant:** `Event-Position` is written by one function of the read side, [`label`].

use std::borrow::Cow;

use crate::http::{Problem, Response};

/// The header that reports how fresh an answer is.
pub(super) const EVENT_POSITION: &str = "Event-Position";

/// A value, and the position that it stands for: the rows contain all events up to the position.
#[derive(Debug)]
pub(super) struct At<T> {
    pub(super) position: u64,
    pub(super) value: T,
}

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
    /// Returns the problem with its position.
    pub(super) fn problem(mut self) -> Problem {
        label(&mut self.value.headers, self.position);
        self.value
    }
}

fn label(headers: &mut Vec<(&'static str, Cow<'static, str>)>, position: u64) {
    headers.push((EVENT_POSITION, position.to_string().into()));
}
