//! Gives keys to the transfers of version 0.1.0, which kept a transfer's id in the events alone.
//!
//! A `transfer_id` names the same transfer for ever, across versions. Today the id is looked up as an
//! idempotency key, in constant time. So the first start on a log of version 0.1.0 reads the whole log and
//! records the keys of all transfers.
//!
//! **Invariant:** the key `DONE` is recorded after the last key of a transfer. A process that ended in the
//! middle resumes at the next start.
//!
//! Read next: `commands.rs`, which records the keys of new transfers.

use std::ops::ControlFlow;
use std::sync::Arc;

use uuid::Uuid;

use super::commands::Transfer;
use crate::account::{AccountEvent, MoneyMoved};
use crate::es::{
    Context, Error, EventLog, ExecuteError, Executor, IdempotencyKey, MAX_PAGE_EVENTS, Receipt,
    RecordedEvent, Work, decode,
};

/// The key of the receipt that marks the work as done. Clients' keys have no spaces.
const DONE: &str = "past transfers named";

/// The first half of a transfer. The deposit is the next event.
struct Withdrawn {
    receipt: Receipt,
    moved: MoneyMoved,
}

/// Records the key of each transfer in the log, once in the life of the log.
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
        // A page at a time bounds the memory, and a run after a crash skips no page.
        log.read(|reader| {
            reader.read(after, MAX_PAGE_EVENTS, &mut |event| {
                after = event.position;
                named.extend(transfer(&mut withdrawn, event)?);
                Ok(ControlFlow::Continue(()))
            })
        })?;
        run(bank, move |work| name_all(named, work))?;
    }
    // No command has this fingerprint, so no command can replay this receipt.
    let done = IdempotencyKey { key: DONE.to_owned(), command: [0; 32] };
    let receipt = Receipt { stream_id: Uuid::nil(), version: 0, position: head };
    run(bank, move |work| {
        work.keep_receipt(done, receipt);
        Ok(Uuid::nil())
    })
}

fn is_done(bank: &Executor) -> Result<bool, Error> {
    let asked = bank.transact(Context::default(), |work| {
        if work.has_receipt(DONE)? { Ok(Uuid::nil()) } else { Err(ExecuteError::Rejected(())) }
    });
    match asked {
        Ok(_) => Ok(true),
        Err(ExecuteError::Failed(error)) => Err(error),
        Err(_not_known) => Ok(false),
    }
}

fn name_all(named: Vec<(IdempotencyKey, Receipt)>, work: &mut Work<'_>) -> Result<Uuid, ExecuteError<()>> {
    for (key, receipt) in named {
        // An interrupted run has recorded some keys before; and 0.1.0 accepted the same id twice.
        if !work.has_receipt(&key.key)? {
            work.keep_receipt(key, receipt);
        }
    }
    Ok(Uuid::nil())
}

fn run(
    bank: &Executor,
    run: impl FnOnce(&mut Work<'_>) -> Result<Uuid, ExecuteError<()>> + Send + 'static,
) -> Result<(), Error> {
    match bank.transact(Context::default(), run) {
        Err(ExecuteError::Failed(error)) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Returns the key and the receipt of a transfer when `event` is the deposit of the transfer.
fn transfer(
    withdrawn: &mut Option<Withdrawn>,
    event: &RecordedEvent<'_>,
) -> Result<Option<(IdempotencyKey, Receipt)>, Error> {
    // A search in the text is cheaper than decoding, and most events belong to no transfer.
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
            // Halves of a transfer are neighbours in the log: one transaction recorded both.
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
