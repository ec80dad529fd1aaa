//! The tests of lesson 4: neither a late commit nor a lost page hides an event.

// Every failure here is to stop the test with its reason.
#![allow(clippy::unwrap_used)]

use course::lesson_04::{Follower, Gap, Log};
use tally::account::{Account, AccountCommand, Currency, Movement};
use tally::es::{Context, EventLog, Executor, MemoryDatabase};

#[test]
fn an_event_that_commits_late_is_not_skipped() {
    let (mut log, mut follower) = (Log::default(), Follower::default());
    let slow = log.begin("Ada's rent");
    let fast = log.begin("Bob's coffee");
    log.commit(fast);
    // A follower that refuses this page is right as well: only a later look must bring both events.
    drop(follower.take(&log.after(follower.checkpoint)));
    log.commit(slow);
    drop(follower.take(&log.after(follower.checkpoint)));
    assert!(
        follower.seen.iter().any(|event| event == "Ada's rent"),
        "the follower saw only {:?}.\nThe slow transaction had drawn its position before the fast one committed. \
         When the slow one committed,\nthe follower had already remembered a later position ({}), and never looked \
         back.",
        follower.seen,
        follower.checkpoint
    );
}

#[test]
fn a_transaction_that_is_rolled_back_leaves_no_gap() {
    let mut log = Log::default();
    drop(log.begin("refused: the balance is too small"));
    let kept = log.begin("Bob's coffee");
    log.commit(kept);
    let positions: Vec<u64> = log.after(0).iter().map(|(position, _)| *position).collect();
    assert_eq!(
        positions,
        [1],
        "the rolled back transaction has used up a position. A follower that waits for that position waits for ever."
    );
}

#[test]
fn a_page_of_the_real_feed_that_lacks_an_event_is_refused() {
    let log = EventLog::open(MemoryDatabase::default()).unwrap();
    let executor = Executor::start(log.clone(), |_commit| ()).unwrap();
    let deposit = || AccountCommand::Deposit(Movement { amount: 100, description: None, transfer_id: None });
    let open = AccountCommand::Open { owner: "Ada".into(), currency: Currency::default() };
    for command in [open, deposit(), deposit()] {
        executor.execute::<Account>(uuid::Uuid::from_u128(1), command, Context::default()).unwrap();
    }
    let page = log.page(0, 10, std::time::Duration::ZERO).unwrap();
    let mut page: Vec<(u64, String)> = page
        .content()
        .unwrap()
        .events
        .iter()
        .map(|event| (event.position, event.event_type.to_owned()))
        .collect();
    page.remove(1);

    let mut follower = Follower::default();
    let taken = follower.take(&page);
    assert_eq!(
        taken,
        Err(Gap { expected: 2, found: 3 }),
        "the page has the events 1 and 3. Compare each position with checkpoint + 1, and stop at the first that \
         differs."
    );
    assert_eq!(
        (follower.checkpoint, follower.seen.len()),
        (1, 1),
        "the event before the gap is taken, and no other"
    );
}
