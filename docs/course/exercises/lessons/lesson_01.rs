//! The tests of lesson 1: the events are kept, and every answer is a fold over the events.

use course::lesson_01::Ledger;
use tally::account::{AccountCreated, AccountEvent, Currency, MoneyMoved};

fn opened() -> AccountEvent {
    AccountEvent::AccountCreated(AccountCreated { owner: "Ada".into(), currency: Currency::default() })
}

fn money(amount: u64) -> MoneyMoved {
    MoneyMoved { amount, currency: Currency::default(), description: None, transfer_id: None }
}

/// An account with a history of deposits and withdrawals: a negative number is a withdrawal.
fn ledger(movements: &[i64]) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.record(opened());
    for movement in movements {
        let moved = money(movement.unsigned_abs());
        ledger.record(match movement {
            0.. => AccountEvent::MoneyDeposited(moved),
            _ => AccountEvent::MoneyWithdrawn(moved),
        });
    }
    ledger
}

#[test]
fn the_balance_at_an_earlier_version_is_still_known() {
    let ada = ledger(&[5000, -1250]);
    assert_eq!(ada.balance(), 3750, "5000 came in and 1250 went out");
    let then = [1, 2, 3].map(|version| ada.balance_at(version));
    assert_eq!(
        then,
        [0, 5000, 3750],
        "these are the balances after one, two and three events. A stored balance is overwritten by each event: \
         the earlier ones are lost."
    );
}

#[test]
fn a_question_that_comes_later_is_answered_from_the_beginning() {
    let ada = ledger(&[5000, -1250, -50, 300]);
    assert_eq!(
        ada.withdrawn(),
        1300,
        "how much was ever withdrawn? No column was made for this question when the account was opened, and the \
         events know the answer all the same."
    );
}

#[test]
fn two_histories_with_the_same_balance_stay_apart() {
    let (ada, bob) = (ledger(&[5000, -1250]), ledger(&[3750]));
    assert_eq!(ada.balance(), bob.balance());
    assert_ne!(
        ada, bob,
        "Ada has bought books and Bob has not. Two equal numbers cannot show the difference."
    );
}
