//! The audit of an account's history: was each event possible in the state before the event?
//!
//! [`Account::evolve`] refuses nothing, so a forged deposit of a closed account replays without an
//! error. [`known_kinds`] gives the audit of `es` the rule that finds the deposit.
//!
//! Read next: `src/es/known_kinds.rs`, the kinds that an audit knows.

use super::aggregate::{Account, AccountEvent, Effect};
use crate::es::{Aggregate, KnownKinds};

/// Returns the bank's kinds of aggregates, for an audit of its log.
pub fn known_kinds() -> KnownKinds {
    KnownKinds::new().and::<Account>(check_possible)
}

/// Checks that a command to `account` would have decided on `event`.
///
/// # Errors
/// The rejection, or the event that the account would have had instead.
pub(super) fn check_possible(account: &Account, event: &AccountEvent) -> Result<(), String> {
    if let Effect::In(moved) | Effect::Out(moved) = event.clone().into_entry().effect
        // The account has no rule against an empty amount: the write side rejects the request earlier.
        && moved.amount == 0
    {
        return Err("its amount is 0".into());
    }
    let decided = account.decide(&event.command()).map_err(|rejection| format!("{rejection:?}"))?;
    // A rule may hold for the command and still give another event, with another currency for example.
    if decided == [event.clone()] { Ok(()) } else { Err(format!("the account would have had {decided:?}")) }
}
