//! Transfers: one command, two accounts, both or neither.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{assert_receipt, assert_refused, facts};
use crate::bank::{Bank, MAX_AMOUNT};

#[test]
fn a_transfer_is_a_withdrawal_and_a_deposit_with_one_transfer_id() {
    let bank = Bank::start();
    let (from, to) = (bank.open_holding(100), bank.open());
    let transfer_id = Uuid::now_v7().to_string();
    let body =
        json!({"from": from, "to": to, "amount": 60, "description": "rent", "transfer_id": transfer_id});
    let reply = bank.client.post("/transfers", &body).expect(200);
    assert_receipt(&reply, &from, 3, 5);
    let events = bank.events();
    let moved = json!({"amount": 60, "currency": "EUR", "description": "rent", "transfer_id": transfer_id});
    assert_eq!(facts(&events[3..]), [("MoneyWithdrawn", &moved), ("MoneyDeposited", &moved)]);
    let places: Vec<_> = events[3..].iter().map(|event| (&event["stream_id"], &event["version"])).collect();
    assert_eq!(places, [(&json!(from), &json!(3)), (&json!(to), &json!(2))]);
}

#[test]
fn a_transfer_without_an_id_is_given_one() {
    let bank = Bank::start();
    let (from, to) = (bank.open_holding(100), bank.open());
    bank.transfer(&from, &to, 1).expect(200);
    let events = bank.events();
    let ids: Vec<_> = events[3..].iter().map(|event| event["data"]["transfer_id"].clone()).collect();
    let id: Uuid = serde_json::from_value(ids[0].clone()).unwrap();
    assert_eq!((id.get_version_num(), &ids[0]), (7, &ids[1]));
}

#[test]
fn a_transfer_that_one_account_cannot_take_part_in_changes_neither() {
    let bank = Bank::start();
    let nobody = Uuid::now_v7().to_string();
    let (holding, empty, closed) = (bank.open_holding(100), bank.open(), bank.open_and_close());
    let (full, francs) = (bank.open_holding(MAX_AMOUNT), bank.open_in("CHF"));
    let head = bank.head();
    for (from, to, status, slug) in [
        (&nobody, &holding, 404, "account-not-found"),
        (&holding, &nobody, 404, "account-not-found"),
        (&nobody, &nobody, 422, "same-account"),
        (&holding, &holding, 422, "same-account"),
        (&empty, &holding, 422, "insufficient-funds"),
        (&closed, &holding, 422, "account-closed"),
        (&holding, &closed, 422, "account-closed"),
        (&holding, &full, 422, "balance-limit"),
        (&holding, &francs, 422, "currency-mismatch"),
    ] {
        assert_refused(&bank.transfer(from, to, 1), status, slug);
    }
    assert_eq!(bank.head(), head);
    // What was staged for a refused transfer is forgotten in memory, too.
    assert_receipt(&bank.withdraw(&holding, 100).expect(200), &holding, 3, head + 1);
}

#[test]
fn money_is_conserved_by_transfers_from_many_clients_at_once() {
    let bank = Bank::start();
    let accounts: Vec<_> = (0..3).map(|_| bank.open_holding(50)).collect();
    std::thread::scope(|scope| {
        for client in 0..8_u64 {
            let (bank, accounts) = (&bank, &accounts);
            scope.spawn(move || {
                for round in 0..20 {
                    let from = (client + round) as usize % 3;
                    let reply = bank.transfer(&accounts[from], &accounts[(from + 1) % 3], 1 + 7 * client);
                    assert!(matches!(reply.status, 200 | 422), "{}", reply.text());
                }
            });
        }
    });
    let events = bank.events();
    let balances: Vec<_> = accounts.iter().map(|id| balance(&events, id)).collect();
    assert!(events.len() > 6 && balances.iter().all(|balance| *balance >= 0), "{balances:?}");
    assert_eq!(balances.iter().sum::<i64>(), 150);
}

/// What the account's events add up to. Never below 0 on the way.
fn balance(events: &[Value], id: &str) -> i64 {
    events.iter().filter(|event| event["stream_id"] == id).fold(0, |balance, event| {
        let amount = event["data"]["amount"].as_i64().unwrap_or(0);
        let balance = if event["type"] == "MoneyWithdrawn" { balance - amount } else { balance + amount };
        assert!(balance >= 0, "{event}");
        balance
    })
}

fn transfer_as(bank: &Bank, body: &Value, headers: &[(&str, &str)]) -> crate::support::Reply {
    bank.client.post_with("/transfers", headers, body)
}

#[test]
fn a_transfer_id_names_one_transfer_for_ever() {
    let mut bank = Bank::start();
    let (from, to) = (bank.open_holding(100), bank.open());
    let id = Uuid::now_v7().to_string();
    let body = |amount: u64| json!({"from": from, "to": to, "amount": amount, "transfer_id": id});
    let first = transfer_as(&bank, &body(60), &[]).expect(200);
    assert_eq!(first.header("Idempotency-Replayed"), None);
    for restarted in [false, true] {
        if restarted {
            bank = bank.after_a_crash();
        }
        for headers in [&[][..], &[("Idempotency-Key", "k")]] {
            let again = transfer_as(&bank, &body(60), headers).expect(200);
            assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
            assert_eq!(again.json(), first.json());
            let another = transfer_as(&bank, &body(61), headers);
            assert_refused(&another, 409, "transfer-exists");
        }
        let upper = json!({"from": from, "to": to, "amount": 60, "transfer_id": id.to_uppercase()});
        assert_eq!(transfer_as(&bank, &upper, &[]).expect(200).json(), first.json());
        let described = json!({"from": from, "to": to, "amount": 60, "transfer_id": id, "description": "x"});
        assert_refused(&transfer_as(&bank, &described, &[]), 409, "transfer-exists");
        let back = json!({"from": to, "to": from, "amount": 60, "transfer_id": id});
        assert_refused(&transfer_as(&bank, &back, &[]), 409, "transfer-exists");
    }
    assert_eq!(bank.head(), 5);
}

#[test]
fn a_refused_transfer_leaves_its_id_free() {
    let bank = Bank::start();
    let (from, to) = (bank.open_holding(100), bank.open());
    let id = Uuid::now_v7().to_string();
    let body = |amount: u64| json!({"from": from, "to": to, "amount": amount, "transfer_id": id});
    assert_refused(&transfer_as(&bank, &body(101), &[]), 422, "insufficient-funds");
    assert_eq!(transfer_as(&bank, &body(100), &[]).expect(200).header("Idempotency-Replayed"), None);
}

#[test]
fn the_id_that_a_transfer_was_given_names_it_too() {
    let bank = Bank::start();
    let (from, to) = (bank.open_holding(100), bank.open());
    let first = bank.transfer(&from, &to, 7).expect(200);
    let id = bank.events()[3]["data"]["transfer_id"].clone();
    let again = json!({"from": from, "to": to, "amount": 7, "transfer_id": id});
    assert_eq!(transfer_as(&bank, &again, &[]).expect(200).json(), first.json());
    let other = json!({"from": from, "to": to, "amount": 8, "transfer_id": id});
    assert_refused(&transfer_as(&bank, &other, &[]), 409, "transfer-exists");
}

#[test]
fn of_many_clients_that_send_one_transfer_id_one_moves_the_money() {
    let bank = Bank::start();
    let (from, to) = (bank.open_holding(1_000), bank.open());
    let body = json!({"from": from, "to": to, "amount": 1, "transfer_id": Uuid::now_v7()});
    let receipts: Vec<Value> = std::thread::scope(|scope| {
        let client = || transfer_as(&bank, &body, &[]).expect(200).json();
        let clients: Vec<_> = (0..16).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(receipts.iter().all(|receipt| *receipt == receipts[0]));
    assert_eq!(bank.head(), 5);
}

#[test]
fn a_key_goes_before_a_transfer_id() {
    let bank = Bank::start();
    let (from, to) = (bank.open_holding(100), bank.open());
    let key = [("Idempotency-Key", "k")];
    let body = |amount: u64, id: Uuid| json!({"from": from, "to": to, "amount": amount, "transfer_id": id});
    let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
    transfer_as(&bank, &body(1, one), &key).expect(200);
    assert_refused(&transfer_as(&bank, &body(1, two), &key), 422, "idempotency-key-reused");
}
