//! Names the transfers that version 0.1.0 recorded: it kept a transfer's id in the events alone.
//!
//! A `transfer_id` names one transfer for ever, also one that an older version recorded. The id is looked up as
//! an idempotency key, in constant time; so a log of an older version is read once, at its first start
//! under this version, and its transfers get their keys.
//!
//! **Invariant:** the mark that says "done" is recorded after the last key, so a process that ends in
//! the middle goes on at its next start.

use std::ops::ControlFlow;
use std::sync::Arc;

use uuid::Uuid;

use super::commands::Transfer;
use crate::account::{AccountEvent, MoneyMoved};
use crate::es::{
    Context, Error, EventLog, ExecuteError, Executor, IdempotencyKey, MAX_PAGE_EVENTS, Receipt,
    RecordedEvent, Work, decode,
};

/// The key whose receipt says that all transfers before it have keys. Clients' keys have no space.
const DONE: &str = "past transfers named";

/// The withdrawal of a transfer whose deposit comes next.
struct Withdrawn {
    receipt: Receipt,
    moved: MoneyMoved,
}

/// Gives each transfer in the log its key, unless that was done before.
///
/// # Errors
/// When the storage fails, or an event cannot be understood.
pub fn name_past_transfers(bank: &Executor, log: &Arc<EventLog>) -> Result<(), Error> {
    if is_done(bank)? {
        return Ok(());
    }
    let head = log.head().value();
    if head > 0 {
        log::info!("reading {head} events once, to keep the ids of their transfers");
    }
    let (mut after, mut withdrawn) = (0, None);
    while after < head {
        let mut named = Vec::new();
        log.read(|reader| {
            reader.read(after, MAX_PAGE_EVENTS, &mut |event| {
                after = event.position;
                named.extend(transfer(&mut withdrawn, event)?);
                Ok(ControlFlow::Continue(()))
            })
        })?;
        run(bank, Context::default(), move |work| name_all(named, work))?;
    }
    let done = IdempotencyKey { key: DONE.to_owned(), command: [0; 32] };
    run(bank, Context { keys: vec![done], ..Context::default() }, |_| Ok(Uuid::nil()))
}

fn is_done(bank: &Executor) -> Result<bool, Error> {
    let asked = bank.transact(Context::default(), |work| {
        if work.knows_key(DONE)? { Ok(Uuid::nil()) } else { Err(ExecuteError::Rejected(())) }
    });
    match asked {
        Ok(_) => Ok(true),
        Err(ExecuteError::Failed(error)) => Err(error),
        Err(_not_known) => Ok(false),
    }
}

fn name_all(named: Vec<(IdempotencyKey, Receipt)>, work: &mut Work<'_>) -> Result<Uuid, ExecuteError<()>> {
    for (key, receipt) in named {
        // A process that ended in the middle has named some of them; and 0.1.0 let an id be used twice.
        if !work.knows_key(&key.key)? {
            work.name_past(key, receipt);
        }
    }
    Ok(Uuid::nil())
}

fn run(
    bank: &Executor,
    context: Context,
    run: impl FnOnce(&mut Work<'_>) -> Result<Uuid, ExecuteError<()>> + Send + 'static,
) -> Result<(), Error> {
    match bank.transact(context, run) {
        Err(ExecuteError::Failed(error)) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The key and the receipt of the transfer whose deposit `event` is.
fn transfer(
    withdrawn: &mut Option<Withdrawn>,
    event: &RecordedEvent<'_>,
) -> Result<Option<(IdempotencyKey, Receipt)>, Error> {
    // A cheap look before the event is decoded: most events are of no transfer.
    if !event.data.contains("transfer_id") {
        return Ok(None);
    }
    let unreadable = |error: String| Error::Corrupt(format!("event {}: {error}", event.position));
    match decode(event).map_err(|error| unreadable(error.to_string()))? {
        AccountEvent::MoneyWithdrawn(moved) => {
            let RecordedEvent { stream_id, version, position, .. } = *event;
            *withdrawn = Some(Withdrawn { receipt: Receipt { stream_id, version, position }, moved });
            Ok(None)
        }
        AccountEvent::MoneyDeposited(deposited) => {
            let half = withdrawn.take().filter(|half| half.moved.transfer_id == deposited.transfer_id);
            let Some(Withdrawn { receipt, moved }) = half else { return Ok(None) };
            let MoneyMoved { amount, description, transfer_id, .. } = moved;
            let (from, to) = (receipt.stream_id, event.stream_id);
            let transfer = Transfer { from, to, amount, description, transfer_id };
            let key = transfer.key().map_err(|error| unreadable(error.to_string()))?;
            Ok(key.map(|key| (key, Receipt { position: event.position, ..receipt })))
        }
        AccountEvent::AccountCreated(_) | AccountEvent::AccountClosed(_) => Ok(None),
    }
}
