//! Opening, depositing, withdrawing, closing.

use serde_json::json;
use uuid::Uuid;

use super::{assert_receipt, assert_refused, facts};
use crate::bank::{Bank, MAX_AMOUNT};

#[test]
fn opening_an_account_answers_its_receipt_and_its_location() {
    let bank = Bank::start();
    let reply = bank.client.post("/accounts", &json!({"owner": "Ada"})).expect(201);
    let id = reply.json()["stream_id"].as_str().unwrap().to_owned();
    assert_receipt(&reply, &id, 1, 1);
    assert_eq!(reply.header("Location"), Some(&*format!("/accounts/{id}")));
    assert_eq!(id.parse::<Uuid>().unwrap().get_version_num(), 7);
    assert_eq!(id, id.to_lowercase());
}

#[test]
fn an_account_can_bring_its_own_id_and_is_addressed_in_either_case() {
    let bank = Bank::start();
    let id = Uuid::now_v7().to_string();
    let body = json!({"owner": "Ada", "account_id": id.to_uppercase()});
    let reply = bank.client.post("/accounts", &body).expect(201);
    assert_receipt(&reply, &id, 1, 1);
    assert_receipt(&bank.deposit(&id.to_uppercase(), 1).expect(200), &id, 2, 2);
    assert_refused(&bank.client.post("/accounts", &body), 409, "account-exists");
}

#[test]
fn each_command_answers_where_it_was_recorded_and_nothing_else() {
    let bank = Bank::start();
    let (first, second) = (bank.open(), bank.open());
    assert_receipt(&bank.deposit(&first, 100).expect(200), &first, 2, 3);
    assert_receipt(&bank.deposit(&second, 5).expect(200), &second, 2, 4);
    assert_receipt(&bank.withdraw(&first, 100).expect(200), &first, 3, 5);
    assert_receipt(&bank.close(&first).expect(200), &first, 4, 6);
}

#[test]
fn each_command_records_an_event_that_can_be_understood_alone() {
    let bank = Bank::start();
    let opened = bank.client.post("/accounts", &json!({"owner": "Ada Löv", "currency": "CHF"}));
    let id = opened.expect(201).json()["stream_id"].as_str().unwrap().to_owned();
    for action in ["deposit", "withdraw"] {
        let body = json!({"amount": 7, "description": "for \"tea\"\n"});
        bank.client.post(&format!("/accounts/{id}/{action}"), &body).expect(200);
    }
    bank.close(&id).expect(200);
    let moved = json!({"amount": 7, "currency": "CHF", "description": "for \"tea\"\n"});
    let expected = [
        ("AccountCreated", &json!({"owner": "Ada Löv", "currency": "CHF"})),
        ("MoneyDeposited", &moved),
        ("MoneyWithdrawn", &moved),
        ("AccountClosed", &json!({})),
    ];
    assert_eq!(facts(&bank.events()), expected);
}

#[test]
fn the_currency_is_euro_where_none_is_given_and_null_counts_as_absent() {
    let bank = Bank::start();
    bank.client.post("/accounts", &json!({"owner": "Ada"})).expect(201);
    let absent = json!({"owner": "Ada", "currency": null, "account_id": null});
    bank.client.post("/accounts", &absent).expect(201);
    for event in bank.events() {
        assert_eq!(event["data"]["currency"], "EUR");
    }
}

#[test]
fn an_account_is_closed_with_an_empty_object_or_without_a_body() {
    let bank = Bank::start();
    let path = |id: &str| format!("/accounts/{id}/close");
    bank.client.post(&path(&bank.open()), &json!({})).expect(200);
    bank.client.try_send("POST", &path(&bank.open()), &[], None).unwrap().expect(200);
    bank.client.try_send("POST", &path(&bank.open()), &[], Some(b"")).unwrap().expect(200);
}

#[test]
fn what_is_just_within_its_limits_is_accepted() {
    let bank = Bank::start();
    let owner = "ä".repeat(200);
    let opened = bank.client.post("/accounts", &json!({"owner": owner})).expect(201).json();
    let path = format!("/accounts/{}", opened["stream_id"].as_str().unwrap());
    let long = json!({"amount": MAX_AMOUNT, "description": "ö".repeat(500)});
    bank.client.post(&format!("{path}/deposit"), &long).expect(200);
    bank.client.post(&format!("{path}/withdraw"), &long).expect(200);
    bank.client.post(&format!("{path}/deposit"), &json!({"amount": 1, "description": ""})).expect(200);
    assert_eq!(bank.events()[0]["data"]["owner"], owner.as_str());
}

#[test]
fn what_the_bank_refuses_has_its_code_and_is_not_recorded() {
    let bank = Bank::start();
    let nobody = Uuid::now_v7().to_string();
    let (holding, closed) = (bank.open_holding(100), bank.open_and_close());
    let full = bank.open_holding(MAX_AMOUNT);
    let head = bank.head();
    for (reply, status, slug) in [
        (bank.deposit(&nobody, 1), 404, "account-not-found"),
        (bank.deposit(&closed, 1), 422, "account-closed"),
        (bank.deposit(&full, 1), 422, "balance-limit"),
        (bank.deposit(&holding, MAX_AMOUNT), 422, "balance-limit"),
        (bank.withdraw(&nobody, 1), 404, "account-not-found"),
        (bank.withdraw(&closed, 1), 422, "account-closed"),
        (bank.withdraw(&holding, 101), 422, "insufficient-funds"),
        (bank.close(&nobody), 404, "account-not-found"),
        (bank.close(&closed), 422, "account-closed"),
        (bank.close(&holding), 422, "balance-not-zero"),
        (bank.client.post("/accounts", &json!({"owner": "A", "account_id": closed})), 409, "account-exists"),
    ] {
        assert_refused(&reply, status, slug);
    }
    assert_eq!(bank.head(), head);
}

#[test]
fn commands_find_their_accounts_again_after_a_restart_and_after_a_crash() {
    let bank = Bank::start();
    let id = bank.open_holding(100);
    let bank = bank.after_a_restart();
    assert_receipt(&bank.withdraw(&id, 60).expect(200), &id, 3, 3);
    let bank = bank.after_a_crash();
    assert_refused(&bank.withdraw(&id, 41), 422, "insufficient-funds");
    assert_receipt(&bank.withdraw(&id, 40).expect(200), &id, 4, 4);
}

#[test]
fn a_query_is_told_which_service_answers_queries() {
    let bank = Bank::start();
    let id = bank.open();
    for (path, status, slug) in
        [("/accounts".to_owned(), 405, "method-not-allowed"), (format!("/accounts/{id}"), 404, "not-found")]
    {
        let reply = bank.client.get(&path);
        assert_refused(&reply, status, slug);
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("GET /services/read of the registry"), "{detail}");
    }
}
