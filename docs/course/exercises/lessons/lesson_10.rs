//! The tests of lesson 10: stored events of every form mean what they meant.
//!
//! Read next: `docs/course/10-changing-events.md`, the chapter.

use course::lesson_10::{CardEvent, CardPaid};
use tally::es::{DecodeError, Event, Hash, RecordedEvent, decode, schema_version};
use uuid::Uuid;

/// The golden events: one of every form that was ever stored, and what it says. Lines are added, and never changed.
const GOLDEN: [(u32, &str, u64, &str, Option<&str>); 4] = [
    (1, r#"{"euros":12}"#, 1200, "EUR", None),
    (2, r#"{"cents":1250}"#, 1250, "EUR", None),
    (3, r#"{"amount":1250,"currency":"CHF"}"#, 1250, "CHF", None),
    (3, r#"{"amount":300,"currency":"EUR","shop":"Bakery"}"#, 300, "EUR", Some("Bakery")),
];

/// Reads the data as the log does.
fn read(schema_version: u32, data: &str) -> Result<CardPaid, DecodeError> {
    let CardEvent::CardPaid(paid) = decode(&RecordedEvent {
        position: 1,
        event_id: Uuid::nil(),
        stream_id: Uuid::nil(),
        stream_type: "card",
        version: 1,
        event_type: "CardPaid",
        schema_version,
        data,
        metadata: "{}",
        recorded_at: "2026-01-31T12:00:00.000000Z",
        hash: Hash::ZERO,
    })?;
    Ok(paid)
}

#[test]
fn an_event_of_every_form_says_what_it_said_when_it_was_stored() {
    for (form, data, amount, currency, shop) in GOLDEN {
        let paid =
            read(form, data).unwrap_or_else(|error| panic!("form {form}, {data}, cannot be read: {error}"));
        let said = CardPaid { amount, currency: currency.to_owned(), shop: shop.map(str::to_owned) };
        assert_eq!(paid, said, "form {form}, {data}, is read as another event, and without an error");
    }
}

#[test]
fn the_old_payments_of_a_card_add_up_to_what_was_paid() {
    let old = GOLDEN.iter().filter(|(form, ..)| *form < 3);
    let paid: u64 =
        old.map(|(form, data, ..)| read(*form, data).expect("it was readable for years").amount).sum();
    assert_eq!(paid, 2450, "the card paid 24.50 euros before the change");
}

#[test]
fn what_is_written_today_is_of_form_3() {
    let event = CardEvent::CardPaid(CardPaid { amount: 5, currency: "CHF".into(), shop: None });
    assert_eq!(event.to_json().expect("it is an object"), r#"{"amount":5,"currency":"CHF"}"#);
    assert_eq!(
        schema_version::<CardEvent>("CardPaid"),
        3,
        "the data have another form than last year's and are stored under the same number: no reader can tell them \
         apart. The current form is one more than the highest `from` of the upcasters"
    );
}

#[test]
fn data_that_are_not_understood_are_an_error_and_not_a_zero() {
    for (form, data) in [(1, r#"{"euro":12}"#), (2, r#"{"cent":1250}"#), (2, r#"{"cents":5,"tip":1}"#)] {
        let read = read(form, data);
        assert!(
            read.is_err(),
            "form {form}, {data}, was never stored, and is read as {read:?}, without an error"
        );
    }
}
