//! The check that a page continues the history of the table sets.
//!
//! The hash of the next event proves the continuation. But a log restored from a backup may have come to
//! the same position by other events, and no new event be recorded: rows would then answer about lost
//! events, and count as fresh. Therefore a request overlaps after every failure, at the start, and
//! after every empty poll: the feed returns the last applied event together with
//! the next events, and the hash of the former is compared.
//!
//! **Invariant:** after a failure, no page is applied and no head is believed before the feed has shown
//! an event that continues or equals the last event applied.
//!
//! Read next: `table_set.rs`.

use uuid::Uuid;

use super::checked_page::{CheckedPage, PageRequest, check_next};
use super::projector_event::CatchUpError;
use super::read_db::Checkpoint;
use super::table_set::TableSet;

/// The remedy for a feed with another history.
const REMEDY: &str = "Start the right event store, or delete this database to follow the one that is there";

/// The conclusion from a page about the history of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continuity {
    /// The feed has the history of the table sets.
    Proven,
    /// The page has no event to compare.
    Unknown,
}

/// Checks that `page` is of the log `log_id`, and continues each of the table `sets`, which stand at the
/// beginning of the page.
///
/// # Errors
/// [`CatchUpError::PageRejected`]: two histories are never mixed.
pub(super) fn check<'s>(
    request: &PageRequest,
    page: &CheckedPage,
    log_id: Option<Uuid>,
    mut sets: impl Iterator<Item = &'s TableSet> + Clone,
) -> Result<Continuity, CatchUpError> {
    let rejected = |what: String| CatchUpError::PageRejected(format!("{what}. {REMEDY}"));
    let (after, found) = (request.after, page.log_id);
    if let Some(known) = log_id.filter(|known| *known != found) {
        return Err(rejected(format!(
            "the feed is log {found}, but these read models follow log {known}: two histories are never mixed"
        )));
    }
    if page.head < after {
        let head = page.head;
        return Err(rejected(format!(
            "the log ends at {head}, but was read up to {after}: it has lost events"
        )));
    }
    let mut events = page.events();
    if request.overlaps {
        let last = events.next().map(|event| Checkpoint::after(&event));
        if sets.clone().any(|set| last != Some(set.reached)) {
            return Err(rejected(format!(
                "event {after} of the feed is not the one that was read: the log was restored or altered, and \
                 two histories are never mixed"
            )));
        }
    }
    if let Some(first) = events.next() {
        for set in sets.clone() {
            check_next(&first, after, &set.reached.hash).map_err(rejected)?;
        }
    }
    // At position 0 no event was applied, so no proof is due; likewise without sets.
    let is_proven = after == 0 || page.last_position().is_some() || sets.next().is_none();
    Ok(if is_proven { Continuity::Proven } else { Continuity::Unknown })
}
