//! The bank's promises for an account, and the stored form of the events.
//!
//! Read next: `tests/spec/write_side/commands.rs`, the same promises over HTTP.

use std::collections::BTreeSet;

use serde::Deserialize;
use uuid::Uuid;

use super::audit::check_possible;
use super::*;
use crate::es::testing::Given;
use crate::es::{Aggregate, Event, Hash, RecordedEvent, decode, schema_version};

fn money(amount: u64) -> Movement {
    Movement { amount, description: None, transfer_id: None }
}

fn euros() -> Currency {
    Currency::default()
}

fn open(currency: &str) -> AccountCommand {
    AccountCommand::Open { owner: "Ada".into(), currency: currency.try_into().unwrap() }
}

fn opened(currency: &str) -> AccountEvent {
    let currency = currency.try_into().unwrap();
    AccountEvent::AccountCreated(AccountCreated { owner: "Ada".into(), currency })
}

fn moved(amount: u64) -> MoneyMoved {
    MoneyMoved::of(amount, euros())
}

fn deposited(amount: u64) -> AccountEvent {
    AccountEvent::MoneyDeposited(moved(amount))
}

fn withdrawn(amount: u64) -> AccountEvent {
    AccountEvent::MoneyWithdrawn(moved(amount))
}

fn closed() -> AccountEvent {
    AccountEvent::AccountClosed(AccountClosed {})
}

/// Replays a history.
fn account(history: &[AccountEvent]) -> Account {
    history.iter().fold(Account::default(), Account::evolve)
}

fn holding(amount: u64) -> Account {
    account(&[opened("EUR"), deposited(amount)])
}

#[test]
fn opening_an_account_records_owner_and_currency() {
    Given::<Account>(vec![]).when(open("CHF")).then(vec![opened("CHF")]);
}

#[test]
fn an_account_is_opened_once() {
    for history in [vec![opened("EUR")], vec![opened("EUR"), closed()]] {
        Given::<Account>(history).when(open("EUR")).then_rejected(Rejection::AccountExists);
    }
}

#[test]
fn withdrawing_the_balance_empties_the_account() {
    let history = vec![opened("EUR"), deposited(100)];
    Given::<Account>(history).when(AccountCommand::Withdraw(money(100))).then(vec![withdrawn(100)]);
    assert_eq!(account(&[opened("EUR"), deposited(100), withdrawn(100)]).balance, 0);
}

#[test]
fn withdrawing_more_than_the_balance_is_rejected() {
    Given::<Account>(vec![opened("EUR"), deposited(100)])
        .when(AccountCommand::Withdraw(money(101)))
        .then_rejected(Rejection::InsufficientFunds);
}

#[test]
fn a_balance_never_exceeds_its_limit_nor_wraps() {
    for amount in [1, MAX_AMOUNT, u64::MAX] {
        Given::<Account>(vec![opened("EUR"), deposited(MAX_AMOUNT)])
            .when(AccountCommand::Deposit(money(amount)))
            .then_rejected(Rejection::BalanceLimit);
    }
}

#[test]
fn only_an_empty_account_can_be_closed() {
    Given::<Account>(vec![opened("EUR"), deposited(1)])
        .when(AccountCommand::Close)
        .then_rejected(Rejection::BalanceNotZero);
    Given::<Account>(vec![opened("EUR")]).when(AccountCommand::Close).then(vec![closed()]);
}

#[test]
fn an_event_is_possible_when_a_command_would_decide_it_now() {
    let account = holding(100);
    assert_eq!(check_possible(&account, &withdrawn(100)), Ok(()));
    let francs = MoneyMoved { currency: "CHF".try_into().unwrap(), ..moved(1) };
    for impossible in [withdrawn(101), withdrawn(0), AccountEvent::MoneyWithdrawn(francs), closed()] {
        assert!(check_possible(&account, &impossible).is_err(), "{impossible:?}");
    }
}

#[test]
fn an_account_that_is_not_there_or_closed_rejects_everything_but_opening() {
    for (history, rejection) in
        [(vec![], Rejection::AccountNotFound), (vec![opened("EUR"), closed()], Rejection::AccountClosed)]
    {
        for command in
            [AccountCommand::Deposit(money(1)), AccountCommand::Withdraw(money(1)), AccountCommand::Close]
        {
            Given::<Account>(history.clone()).when(command).then_rejected(rejection);
        }
    }
}

#[test]
fn a_transfer_moves_the_same_amount_out_and_in_or_nothing() {
    let (from, to) = (holding(100), holding(MAX_AMOUNT - 50));
    let (out, into) = decide_transfer(&from, &to, money(50)).unwrap();
    assert_eq!(out.iter().fold(from.clone(), Account::evolve).balance, 50);
    assert_eq!(into.iter().fold(to.clone(), Account::evolve).balance, MAX_AMOUNT);
    assert_eq!(decide_transfer(&from, &to, money(51)), Err(Rejection::BalanceLimit));
    assert_eq!(decide_transfer(&from, &to, money(101)), Err(Rejection::InsufficientFunds));
    let francs = account(&[opened("CHF")]);
    assert_eq!(decide_transfer(&from, &francs, money(1)), Err(Rejection::CurrencyMismatch));
    assert_eq!(decide_transfer(&from, &Account::default(), money(1)), Err(Rejection::AccountNotFound));
}

/// The file of [`golden`].
const GOLDEN: &str = "tests/golden/account_events.jsonl";

/// A stored form of an event.
#[derive(Deserialize)]
struct Golden {
    #[serde(rename = "type")]
    event_type: &'static str,
    schema_version: u32,
    #[serde(borrow)]
    data: &'static serde_json::value::RawValue,
}

/// The stored form of every event type. These lines are never changed: when a form changes, an upcaster is
/// added, and a line with the new form.
fn golden() -> Vec<Golden> {
    let lines = include_str!("../../tests/golden/account_events.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl Golden {
    fn event(&self) -> AccountEvent {
        decode(&recorded(self.event_type, self.schema_version, self.data.get())).unwrap()
    }
}

#[test]
fn every_stored_form_of_every_event_is_read_for_ever() {
    for stored in golden() {
        let event = stored.event();
        assert_eq!(event.event_type(), stored.event_type);
        if stored.schema_version == schema_version::<AccountEvent>(stored.event_type) {
            assert_eq!(event.to_json().unwrap(), stored.data.get(), "what is written today");
        }
    }
}

#[test]
fn every_event_type_has_a_golden_line_for_each_schema_version() {
    let golden = golden();
    for event_type in AccountEvent::EVENT_TYPES {
        for version in 1..=schema_version::<AccountEvent>(event_type) {
            let has_line =
                golden.iter().any(|line| line.event_type == *event_type && line.schema_version == version);
            assert!(has_line, "{GOLDEN} has no line of {event_type} in schema version {version}");
        }
    }
}

#[test]
fn the_kinds_of_a_statement_are_those_of_the_events() {
    let of_events: BTreeSet<_> = golden().iter().map(|line| line.event().into_entry().kind).collect();
    assert_eq!(
        STATEMENT_KINDS.iter().copied().collect::<BTreeSet<_>>(),
        of_events,
        "STATEMENT_KINDS, and the kinds of {GOLDEN}"
    );
}

#[test]
fn readers_see_what_an_event_does_to_the_account() {
    for event in golden().iter().map(Golden::event) {
        let before = holding(1000);
        let after = before.clone().evolve(&event);
        let effect = event.clone().into_entry().effect;
        let balance = match &effect {
            Effect::Opened(_) | Effect::Closed => before.balance,
            Effect::In(moved) => before.balance + moved.amount,
            Effect::Out(moved) => before.balance - moved.amount,
        };
        assert_eq!(after.balance, balance, "{event:?}");
        let is_closed = after.decide(&AccountCommand::Deposit(money(1))) == Err(Rejection::AccountClosed);
        assert_eq!(is_closed, effect == Effect::Closed, "{event:?}");
    }
}

#[test]
fn every_event_is_possible_after_a_history_that_allows_it() {
    for event in golden().iter().map(Golden::event) {
        let open = |moved: &MoneyMoved| account(&[opened(moved.currency.as_str())]);
        let before = match event.clone().into_entry().effect {
            Effect::Opened(_) => Account::default(),
            Effect::In(moved) => open(&moved),
            Effect::Out(moved) => open(&moved).evolve(&deposited(moved.amount)),
            Effect::Closed => account(&[opened("EUR")]),
        };
        assert_eq!(check_possible(&before, &event), Ok(()), "{event:?}");
    }
}

fn recorded<'a>(event_type: &'a str, schema_version: u32, data: &'a str) -> RecordedEvent<'a> {
    RecordedEvent {
        position: 1,
        event_id: Uuid::nil(),
        stream_id: Uuid::nil(),
        stream_type: Account::STREAM_TYPE,
        version: 1,
        event_type,
        schema_version,
        data,
        metadata: "{}",
        recorded_at: "2026-01-31T12:00:00.000000Z",
        hash: Hash::ZERO,
    }
}

#[test]
fn currencies_are_three_capital_letters() {
    for bad in ["", "EU", "EURO", "eur", "E1R", "ÄÖ"] {
        assert!(Currency::try_from(bad).is_err(), "{bad}");
    }
}
