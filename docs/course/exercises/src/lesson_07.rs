//! Lesson 7: an account as it was.
//!
//! A shorter history is the account as it was then. The lesson begins with folds that cut the history at the wrong
//! place, or put its events into another order; `just lesson 7` shows accounts that never existed.
//!
//! Read next: `docs/course/07-rebuild-and-time-travel.md`.

use tally::account::Account;
use tally::es::{Aggregate, DecodeError, RecordedEvent, decode};

/// Returns the account after its first `version` events: `?at_version=`. The history has the events of one account, in
/// the order of the log.
///
/// # Errors
/// When an event cannot be read.
pub fn at_version(history: &[RecordedEvent<'_>], version: u64) -> Result<Account, DecodeError> {
    fold(history.iter().filter(|event| event.position <= version))
}

/// Returns the account at a time, with all events of that very moment: `?as_of=`. Times have the form of the log, which
/// sorts as text.
///
/// # Errors
/// When an event cannot be read.
pub fn as_of(history: &[RecordedEvent<'_>], time: &str) -> Result<Account, DecodeError> {
    let mut events: Vec<_> = history.iter().filter(|event| event.recorded_at < time).collect();
    // The ids are UUIDv7, which sort by time.
    events.sort_by_key(|event| (event.recorded_at, event.event_id));
    fold(events.into_iter())
}

fn fold<'e>(mut events: impl Iterator<Item = &'e RecordedEvent<'e>>) -> Result<Account, DecodeError> {
    events.try_fold(Account::default(), |account, event| Ok(account.evolve(&decode(event)?)))
}
