//! `If-Match`: only when the account is at a version that the client has seen.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{assert_receipt, assert_refused};
use crate::bank::Bank;
use crate::support::Reply;

impl Bank {
    fn if_match(&self, tag: &str, path: &str, body: &Value) -> Reply {
        self.client.post_with(path, &[("If-Match", tag)], body)
    }
}

#[test]
fn a_command_is_carried_out_only_at_the_version_that_it_asks_for() {
    let bank = Bank::start();
    let id = bank.open_holding(100);
    let withdraw = format!("/accounts/{id}/withdraw");
    for other in ["\"1\"", "\"3\"", "\"0\"", "\"1\", \"3\""] {
        let refused = bank.if_match(other, &withdraw, &json!({"amount": 1}));
        assert_refused(&refused, 412, "version-mismatch");
    }
    assert_eq!(bank.head(), 2);
    for (version, tag) in [(3, "\"2\""), (4, "\"2\", \"3\""), (5, "*")] {
        assert_receipt(
            &bank.if_match(tag, &withdraw, &json!({"amount": 1})).expect(200),
            &id,
            version,
            version,
        );
    }
}

#[test]
fn the_etag_of_a_receipt_is_what_the_next_command_asks_for() {
    let bank = Bank::start();
    let opened = bank.client.post("/accounts", &json!({"owner": "Ada"})).expect(201);
    let path = opened.header("Location").unwrap();
    let next =
        bank.if_match(opened.header("ETag").unwrap(), &format!("{path}/deposit"), &json!({"amount": 1}));
    bank.if_match(
        next.expect(200).header("ETag").unwrap(),
        &format!("{path}/withdraw"),
        &json!({"amount": 1}),
    )
    .expect(200);
}

#[test]
fn of_many_clients_that_saw_one_version_one_is_first() {
    let bank = Bank::start();
    let path = format!("/accounts/{}/deposit", bank.open());
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let send = || bank.if_match("\"1\"", &path, &json!({"amount": 5})).status;
        let clients: Vec<_> = (0..16).map(|_| scope.spawn(send)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..], bank.head()), (200, &[412; 15][..], 2));
}

#[test]
fn a_transfer_asks_for_the_version_of_the_account_that_pays() {
    let bank = Bank::start();
    let (from, to) = (bank.open_holding(100), bank.open());
    let body = json!({"from": from, "to": to, "amount": 1});
    assert_refused(&bank.if_match("\"1\"", "/transfers", &body), 412, "version-mismatch");
    assert_receipt(&bank.if_match("\"2\"", "/transfers", &body).expect(200), &from, 3, 5);
}

#[test]
fn an_account_that_is_not_there_is_not_found_at_any_version() {
    let bank = Bank::start();
    let path = format!("/accounts/{}/deposit", Uuid::now_v7());
    for tag in ["\"0\"", "\"1\"", "*"] {
        assert_refused(&bank.if_match(tag, &path, &json!({"amount": 1})), 404, "account-not-found");
    }
}
