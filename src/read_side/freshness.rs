//! The freshness of answers: the wait for a position, the position of an answer without rows, and the version
//! in the client's cache.
//!
//! Read next: `src/es/projection/status.rs`, which the waits watch.

use std::time::{Duration, Instant};

use super::at::{At, EVENT_POSITION};
use super::problems::{READ_MODEL_BEHIND, RETRY_AFTER};
use super::service::ReadSide;
use crate::es::ProjectionStatus;
use crate::http::{EntityTags, Problem, Query, Request, Response};
use crate::limits::MAX_EXACT_INTEGER;

/// The wait for `?min_position=` without a `wait` parameter: read models lag by milliseconds as a rule.
const DEFAULT_WAIT: Duration = Duration::from_secs(2);

/// Completes the answer to a query: an answer without a position gets the position of the slowest read model.
pub(super) fn complete(service: &ReadSide, answer: Result<Response, Problem>) -> Result<Response, Problem> {
    match answer {
        // A refusal for a reason in the request alone, before any row was read.
        Err(problem) if problem.headers.iter().all(|(name, _)| *name != EVENT_POSITION) => {
            let position = slowest(&service.projector.status());
            Err(At { position, value: problem }.problem())
        }
        answer => answer,
    }
}

/// Returns the position of the slowest projection.
pub(super) fn slowest(statuses: &[ProjectionStatus]) -> u64 {
    statuses.iter().map(|status| status.position).min().unwrap_or(0)
}

/// Waits as [`await_position`] does, and until the rows of `projections` are complete.
///
/// # Errors
/// As [`await_position`], and 503 `read-model-behind` while a projection fills new tables.
pub(super) fn await_rows(service: &ReadSide, query: &Query, projections: &[&str]) -> Result<(), Problem> {
    let begun = Instant::now();
    await_position(service, query, projections)?;
    let filling = || projections.iter().find(|projection| service.projector.is_filling(projection));
    if query.text("min_position").is_some() {
        let deadline = begun + query.wait()?.unwrap_or(DEFAULT_WAIT);
        // Filling ends without a signal of its own, so the loop looks after each new position.
        while let Some(&projection) = filling()
            && let Some(watch) = service.projector.watch(projection)
            && Instant::now() < deadline
            && !watch.is_closed()
        {
            let _permit = service.long_polls.enter()?;
            let next = watch.value() + 1;
            let left = deadline.saturating_duration_since(Instant::now());
            // Not a wait on the watch, which the live lane does not see.
            service.projector.wait_for(projection, next, left);
        }
    }
    filling().map_or(Ok(()), |projection| Err(problem_of_filling(service, projection)))
}

/// Returns the refusal of a query on incomplete rows. Without the refusal, a read service with an empty
/// database would deny accounts that exist, and show old balances.
fn problem_of_filling(service: &ReadSide, projection: &str) -> Problem {
    let reached = service.projector.watch(projection).map_or(0, |watch| watch.value());
    let detail = format!(
        "the read model {projection} is being built from the first event; it is at position {reached}, \
         and answers once it has come to the end that the log had when it was begun{}",
        service.pause_note()
    );
    behind(reached, detail)
}

/// Waits until `projections` have reached the position `min_position` of the query.
///
/// # Errors
/// 400 for a malformed parameter, 503 `read-model-behind` when the time is up first, 503 `overloaded` when
/// too many requests wait.
pub(super) fn await_position(service: &ReadSide, query: &Query, projections: &[&str]) -> Result<(), Problem> {
    // Read before the early return below: a malformed `wait` is never ignored.
    let wait = query.wait()?;
    let Some(wanted) = query.whole_number("min_position", 0..=MAX_EXACT_INTEGER)? else {
        return Ok(());
    };
    let deadline = Instant::now() + wait.unwrap_or(DEFAULT_WAIT);
    // One deadline for all: the time of the first wait is gone for the second.
    for projection in projections {
        if service.projector.watch(projection).is_none_or(|watch| watch.value() >= wanted) {
            continue;
        }
        // A request for a position in the past takes no permit.
        let permit = service.long_polls.enter()?;
        let left = deadline.saturating_duration_since(Instant::now());
        let reached = service.projector.wait_for(projection, wanted, left);
        drop(permit);
        if let Some(reached) = reached.filter(|reached| *reached < wanted) {
            let detail = format!(
                "the read model is at position {reached}, not yet at {wanted}{}",
                service.pause_note()
            );
            return Err(behind(reached, detail));
        }
    }
    Ok(())
}

fn behind(position: u64, detail: String) -> Problem {
    let problem = Problem::new(&READ_MODEL_BEHIND, detail).with("position", position);
    At { position, value: problem.with_header("Retry-After", RETRY_AFTER) }.problem()
}

/// Returns whether `If-None-Match` names the version, so that a 304 is enough. Tags are compared weakly
/// (RFC 9110, 13.1.2).
///
/// # Errors
/// 400 when the header is malformed.
pub(super) fn has_version(request: &Request, version: u64) -> Result<bool, Problem> {
    let version = version.to_string();
    Ok(match request.entity_tags("If-None-Match")? {
        None => false,
        // `*` matches any version, and the account exists.
        Some(EntityTags::Any) => true,
        Some(EntityTags::Tags(tags)) => tags.iter().any(|tag| tag.opaque == version),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_are_compared_weakly_in_lists_and_by_star() {
        for (value, expected) in [
            ("\"3\"", true),
            ("W/\"3\"", true),
            ("\"1\", W/\"3\"", true),
            ("\"1\",\"2\"", false),
            ("*", true),
            ("\"33\"", false),
            ("\"\"", false),
        ] {
            let request = Request::get("/").with_header("If-None-Match", value);
            assert_eq!(has_version(&request, 3).unwrap(), expected, "{value}");
        }
    }
}
