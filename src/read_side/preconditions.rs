//! What a query may depend on: how fresh the rows must be, and what the client has already.

use std::time::{Duration, Instant};

use super::problems::{READ_MODEL_BEHIND, RETRY_AFTER};
use super::service::ReadSide;
use crate::http::{EntityTags, Problem, Query, Request};
use crate::limits::MAX_EXACT_INTEGER;

/// How long `?min_position=` waits where `wait` says nothing: a read model is behind for
/// milliseconds when all is well.
const DEFAULT_WAIT: Duration = Duration::from_secs(2);

/// Waits as [`await_position`] does, also for rows that are being made for the first time, and makes sure
/// that the rows answer.
///
/// # Errors
/// As [`await_position`], and 503 `read-model-behind` for rows that are made for the first time.
pub(super) fn await_rows(service: &ReadSide, query: &Query, projections: &[&str]) -> Result<(), Problem> {
    let begun = Instant::now();
    await_position(service, query, projections)?;
    let filling = || projections.iter().find(|projection| service.projector.is_filling(projection));
    if query.text("min_position").is_some() {
        let deadline = begun + query.wait()?.unwrap_or(DEFAULT_WAIT);
        while let Some(watch) = filling().and_then(|projection| service.projector.watch(projection))
            && Instant::now() < deadline
            && !watch.is_closed()
        {
            let _permit = service.long_polls.enter()?;
            let next = watch.value() + 1;
            watch.wait_for(next, deadline.saturating_duration_since(Instant::now()));
        }
    }
    filling().map_or(Ok(()), |projection| Err(problem_of_filling(service, projection)))
}

/// Without this answer, a read database that was deleted would deny accounts that exist and show
/// balances of long ago, until it has been filled again.
fn problem_of_filling(service: &ReadSide, projection: &str) -> Problem {
    let reached = service.projector.watch(projection).map_or(0, |watch| watch.value());
    let detail = format!(
        "the read model {projection} is being built from the first event; it is at position {reached}, \
         and answers once it has come to the end that the log had when it was begun"
    );
    Problem::new(&READ_MODEL_BEHIND, detail)
        .with("position", reached)
        .with_header("Event-Position", reached.to_string())
        .with_header("Retry-After", RETRY_AFTER)
}

/// Waits until `projections` have reached the position that `min_position` asks for.
///
/// # Errors
/// 400 for a malformed parameter, 503 `read-model-behind` when they have not in time, 503
/// `overloaded` when too many wait.
pub(super) fn await_position(service: &ReadSide, query: &Query, projections: &[&str]) -> Result<(), Problem> {
    // Checked also where there is nothing to wait for: a malformed parameter is never ignored.
    let wait = query.wait()?;
    let Some(wanted) = query.whole_number("min_position", 0..=MAX_EXACT_INTEGER)? else {
        return Ok(());
    };
    let deadline = Instant::now() + wait.unwrap_or(DEFAULT_WAIT);
    for projection in projections {
        if service.projector.watch(projection).is_none_or(|watch| watch.value() >= wanted) {
            continue;
        }
        // Only a request that really has to wait takes one of the places for waiting.
        let permit = service.long_polls.enter()?;
        let left = deadline.saturating_duration_since(Instant::now());
        let reached = service.projector.wait_for(projection, wanted, left);
        drop(permit);
        if let Some(reached) = reached.filter(|reached| *reached < wanted) {
            return Err(behind(wanted, reached));
        }
    }
    Ok(())
}

fn behind(wanted: u64, reached: u64) -> Problem {
    let detail = format!("the read model is at position {reached}, not yet at {wanted}");
    Problem::new(&READ_MODEL_BEHIND, detail)
        .with("position", reached)
        .with_header("Event-Position", reached.to_string())
        .with_header("Retry-After", RETRY_AFTER)
}

/// Whether `If-None-Match` names the version, so that 304 says enough. Tags are compared weakly (RFC
/// 9110, 13.1.2).
///
/// # Errors
/// 400 when the header is malformed.
pub(super) fn client_has(request: &Request, version: u64) -> Result<bool, Problem> {
    let version = version.to_string();
    Ok(match request.entity_tags("If-None-Match")? {
        None => false,
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
            assert_eq!(client_has(&request, 3).unwrap(), expected, "{value}");
        }
    }
}
