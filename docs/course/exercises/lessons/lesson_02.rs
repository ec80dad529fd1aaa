//! The tests of lesson 2: rules are asked before an event is recorded, and never afterwards.

// Every failure here is to stop the test with its reason.
#![allow(clippy::unwrap_used)]

use course::lesson_02::{Amount, Card, CardCommand, CardEvent, MAX_PAYMENT, Refusal};
use tally::es::{Aggregate, Context, EventLog, ExecuteError, Executor, MemoryDatabase};

#[test]
fn a_payment_beyond_the_rest_is_refused_and_records_nothing() {
    let log = EventLog::open(MemoryDatabase::default()).unwrap();
    let cards = Executor::start(log.clone(), |_commit| ()).unwrap();
    let card = uuid::Uuid::from_u128(1);
    cards.execute::<Card>(card, CardCommand::Sell(500), Context::default()).unwrap();

    let answer = cards.execute::<Card>(card, CardCommand::Pay(501), Context::default());
    assert_eq!(
        answer,
        Err(ExecuteError::Rejected(Refusal::TooLittleLeft)),
        "the card has 500 cents on it and pays 501. If the answer is a receipt, the shop hands out the goods."
    );
    assert_eq!(log.head().value(), 1, "a refused command leaves no event behind");
}

#[test]
fn the_new_limit_refuses_a_payment_of_today() {
    let card = Card { left: 10_000 };
    assert_eq!(
        card.decide(&CardCommand::Pay(MAX_PAYMENT + 1)),
        Err(Refusal::TooLarge),
        "`decide` is the place that may say no. Move the limit there."
    );
    assert!(card.decide(&CardCommand::Pay(MAX_PAYMENT)).is_ok(), "the limit itself may be paid");
}

#[test]
fn a_payment_from_before_the_limit_has_happened_all_the_same() {
    let last_year = [CardEvent::Sold(Amount { cents: 5000 }), CardEvent::Paid(Amount { cents: 4000 })];
    let card = last_year.iter().fold(Card::default(), Card::evolve);
    assert_eq!(
        card.left, 1000,
        "4000 cents were paid last year, when this was allowed. A fold that skips the event gives the money back."
    );
}
