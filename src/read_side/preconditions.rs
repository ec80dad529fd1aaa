//! What a query may depend on: how fresh the rows must be, and what the client has already.

use std::time::{Duration, Instant};

use super::problems::{READ_MODEL_BEHIND, RETRY_AFTER};
use super::service::ReadSide;
use crate::http::{Problem, Query, Request};

/// How long `?min_position=` waits where `wait` says nothing: a read model is behind for
/// milliseconds when all is well.
const DEFAULT_WAIT: Duration = Duration::from_secs(2);
/// Positions stay exact in any JSON reader, like amounts.
const MAX_POSITION: u64 = (1 << 53) - 1;

/// Waits until `projections` have reached the position that `min_position` asks for.
///
/// # Errors
/// 400 for a malformed parameter, 503 `read-model-behind` when they have not in time, 503
/// `overloaded` when too many wait.
pub(super) fn await_position(service: &ReadSide, query: &Query, projections: &[&str]) -> Result<(), Problem> {
    service.projector.hurry();
    // Checked also where there is nothing to wait for: a malformed parameter is never ignored.
    let wait = query.wait()?;
    let Some(wanted) = query.whole_number("min_position", 0..=MAX_POSITION)? else {
        return Ok(());
    };
    let deadline = Instant::now() + wait.unwrap_or(DEFAULT_WAIT);
    for watch in projections.iter().filter_map(|projection| service.projector.watch(projection)) {
        if watch.value() >= wanted {
            continue;
        }
        // Only a request that really has to wait takes one of the places for waiting.
        let permit = service.long_polls.enter()?;
        let left = deadline.saturating_duration_since(Instant::now());
        let reached = service.projector.hurry_while(|| watch.wait_for(wanted, left));
        drop(permit);
        if reached < wanted {
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

/// Whether `If-None-Match` names the version, so that 304 says enough.
///
/// # Errors
/// 400 when the header is malformed.
pub(super) fn client_has(request: &Request, version: u64) -> Result<bool, Problem> {
    let mut has = false;
    for value in request.header_values("If-None-Match") {
        has |= names(value, version).ok_or_else(|| {
            Problem::invalid_header("If-None-Match", "must be * or a list of entity tags, such as \"3\"")
        })?;
    }
    Ok(has)
}

/// Whether the header's value names the version, compared weakly (RFC 9110, 13.1.2); nothing
/// when it is malformed.
fn names(value: &str, version: u64) -> Option<bool> {
    if value.trim() == "*" {
        return Some(true);
    }
    let version = version.to_string();
    let mut rest = value.trim_matches([' ', '\t', ',']);
    let mut found = false;
    loop {
        let tag = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?;
        let (opaque, after) = tag.split_once('"')?;
        if !opaque.bytes().all(|byte| byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80) {
            return None;
        }
        found |= opaque == version;
        let after = after.trim_start_matches([' ', '\t']);
        if after.is_empty() {
            return Some(found);
        }
        rest = after.strip_prefix(',')?.trim_start_matches([' ', '\t', ',']);
    }
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
            ("\"a,b\", \"3\" ,", true),
        ] {
            assert_eq!(names(value, 3), Some(expected), "{value}");
        }
    }

    #[test]
    fn a_malformed_list_of_entity_tags_is_refused() {
        for bad in ["", "3", "\"3", "3\"", "\"3\" \"4\"", "*, \"3\"", "w/\"3\"", "\"a b\"", "W/", "\"3\";"] {
            assert_eq!(names(bad, 3), None, "{bad}");
        }
    }
}
