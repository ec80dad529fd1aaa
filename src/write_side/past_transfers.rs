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
use crate::account::{AccountEvent, Effect, MoneyMoved};
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
    let decoded: AccountEvent = decode(event).map_err(|error| unreadable(error.to_string()))?;
    match decoded.into_entry().effect {
        Effect::Out(moved) => {
            let RecordedEvent { stream_id, version, position, .. } = *event;
            *withdrawn = Some(Withdrawn { receipt: Receipt { stream_id, version, position }, moved });
            Ok(None)
        }
        Effect::In(deposited) => {
            // Halves of a transfer are neighbours in the log: one transaction recorded both.
            let half = withdrawn.take().filter(|half| half.moved.transfer_id == deposited.transfer_id);
            let Some(Withdrawn { receipt, moved }) = half else { return Ok(None) };
            let MoneyMoved { amount, description, transfer_id, .. } = moved;
            let (from, to) = (receipt.stream_id, event.stream_id);
            let transfer = Transfer { from, to, amount, description, transfer_id };
            let key = transfer.key().map_err(|error| unreadable(error.to_string()))?;
            Ok(key.map(|key| (key, Receipt { position: event.position, ..receipt })))
        }
        Effect::Opened(_) | Effect::Closed => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{Account, AccountCommand, Currency, Movement, decide_transfer};
    use crate::es::{Execution, MemoryDatabase};

    fn open_account(bank: &Executor, amount: Option<u64>) -> Uuid {
        let id = Uuid::now_v7();
        let open = AccountCommand::Open { owner: "Ada".into(), currency: Currency::default() };
        bank.execute::<Account>(id, open, Context::default()).unwrap();
        let deposit =
            |amount| AccountCommand::Deposit(Movement { amount, description: None, transfer_id: None });
        if let Some(amount) = amount {
            bank.execute::<Account>(id, deposit(amount), Context::default()).unwrap();
        }
        id
    }

    /// Records a transfer as 0.1.0 did: with the id in the events, and without a key.
    fn transfer_without_key(bank: &Executor, transfer: &Transfer) -> Execution {
        let Transfer { from, to, amount, description, transfer_id } = transfer.clone();
        let movement = Movement { amount, description, transfer_id };
        bank.transact(Context::default(), move |work| {
            let source = work.load::<Account>(from)?.0.clone();
            let target = work.load::<Account>(to)?.0;
            let (withdrawn, deposited) =
                decide_transfer(&source, target, movement).map_err(ExecuteError::Rejected)?;
            work.stage::<Account>(from, withdrawn)?;
            work.stage::<Account>(to, deposited)?;
            Ok(from)
        })
        .unwrap()
    }

    #[test]
    fn of_two_transfers_with_one_id_the_first_keeps_it() {
        let log = EventLog::open(MemoryDatabase::default()).unwrap();
        let bank = Executor::start(Arc::clone(&log), |_| {}).unwrap();
        let (from, to) = (open_account(&bank, Some(100)), open_account(&bank, None));
        let (description, transfer_id) = (None, Some(Uuid::now_v7()));
        let first = Transfer { from, to, amount: 10, description, transfer_id };
        let second = Transfer { amount: 20, ..first.clone() };
        let recorded = transfer_without_key(&bank, &first);
        transfer_without_key(&bank, &second);
        // The second run finds the work done.
        for _ in 0..2 {
            name_past_transfers(&bank, &log).unwrap();
        }
        let again = |transfer: &Transfer| {
            let keys = vec![transfer.key().unwrap().unwrap()];
            let context = Context { keys, ..Context::default() };
            bank.transact::<()>(context, |_| panic!("a known transfer does not run again"))
        };
        assert_eq!(again(&first).unwrap().receipt(), recorded.receipt());
        assert!(matches!(again(&second), Err(ExecuteError::KeyReused { .. })));
    }
}
