//! `Idempotency-Key`: a command is carried out once, however often it is sent.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::assert_refused;
use crate::bank::Bank;
use crate::support::Reply;

impl Bank {
    fn with_key(&self, key: &str, path: &str, body: &Value) -> Reply {
        self.client.post_with(path, &[("Idempotency-Key", key)], body)
    }
}

/// Checks that `again` is the answer `first` once more, and says so.
#[track_caller]
fn assert_replayed(first: &Reply, again: &Reply) {
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"), "{}", again.text());
    assert_eq!((first.status, first.text()), (again.status, again.text()));
    for header in ["ETag", "Event-Position", "Location", "Content-Type"] {
        assert_eq!(first.header(header), again.header(header), "{header}");
    }
}

#[test]
fn every_command_sent_again_with_its_key_gives_the_first_receipt_and_records_nothing() {
    let bank = Bank::start();
    let (holding, other, empty) = (bank.open_holding(100), bank.open(), bank.open());
    let path = |id: &str, action: &str| format!("/accounts/{id}/{action}");
    let commands = [
        // No id: the account of the first time is meant, not another new one.
        ("/accounts".to_owned(), json!({"owner": "Ada"})),
        (path(&holding, "deposit"), json!({"amount": 10})),
        (path(&holding, "withdraw"), json!({"amount": 10, "description": "x"})),
        ("/transfers".to_owned(), json!({"from": holding, "to": other, "amount": 5})),
        (path(&empty, "close"), json!({})),
    ];
    for (number, (path, body)) in commands.iter().enumerate() {
        let first = bank.with_key(&format!("key-{number}"), path, body);
        assert_eq!((first.status / 100, first.header("Idempotency-Replayed")), (2, None), "{first:?}");
        let head = bank.head();
        assert_replayed(&first, &bank.with_key(&format!("key-{number}"), path, body));
        assert_eq!(bank.head(), head, "{path}");
    }
}

#[test]
fn a_command_is_the_same_however_its_json_is_written() {
    let bank = Bank::start();
    let path = format!("/accounts/{}/deposit", bank.open());
    let send = |body: &str| {
        let headers = [("Idempotency-Key", "k"), ("Content-Type", "application/json; charset=utf-8")];
        bank.client.try_send("POST", &path, &headers, Some(body.as_bytes())).unwrap()
    };
    let first = send(r#"{"amount":5,"description":"tea"}"#).expect(200);
    assert_replayed(&first, &send(" {\"description\": \"t\\u0065a\",\n\"amount\": 5}"));
}

#[test]
fn a_key_that_comes_with_another_command_is_refused() {
    let bank = Bank::start();
    let (id, other) = (bank.open_holding(100), bank.open_holding(100));
    let path = |id: &str, action: &str| format!("/accounts/{id}/{action}");
    bank.with_key("k", &path(&id, "deposit"), &json!({"amount": 5})).expect(200);
    let head = bank.head();
    for (path, body) in [
        (path(&id, "deposit"), json!({"amount": 6})),
        (path(&id, "deposit"), json!({"amount": 5, "description": ""})),
        (path(&id, "withdraw"), json!({"amount": 5})),
        (path(&other, "deposit"), json!({"amount": 5})),
        ("/accounts".to_owned(), json!({"owner": "Ada"})),
        ("/transfers".to_owned(), json!({"from": id, "to": other, "amount": 5})),
    ] {
        assert_refused(&bank.with_key("k", &path, &body), 422, "idempotency-key-reused");
    }
    assert_eq!(bank.head(), head);
    // Keys are told apart to the letter.
    assert_eq!(bank.with_key("K", &path(&id, "deposit"), &json!({"amount": 6})).status, 200);
}

#[test]
fn a_refused_command_leaves_its_key_free() {
    let bank = Bank::start();
    let id = bank.open();
    let withdraw = format!("/accounts/{id}/withdraw");
    assert_refused(&bank.with_key("k", &withdraw, &json!({"amount": 5})), 422, "insufficient-funds");
    assert_eq!(bank.with_key("k", &withdraw, &json!({"amount": true})).problem(), "invalid-field");
    bank.with_key("k", &format!("/accounts/{id}/deposit"), &json!({"amount": 5})).expect(200);
}

#[test]
fn many_clients_with_one_key_get_one_receipt() {
    let bank = Bank::start();
    let path = format!("/accounts/{}/deposit", bank.open());
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let send = || bank.with_key("k", &path, &json!({"amount": 5})).expect(200);
        let clients: Vec<_> = (0..16).map(|_| scope.spawn(send)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let receipts: BTreeSet<_> = replies.iter().map(Reply::text).collect();
    let first_times = replies.iter().filter(|reply| reply.header("Idempotency-Replayed").is_none()).count();
    assert_eq!((receipts.len(), first_times, bank.head()), (1, 1, 2));
}

#[test]
fn a_key_is_known_after_a_crash_and_after_a_restart() {
    let bank = Bank::start();
    let body = json!({"owner": "Ada"});
    let first = bank.with_key("k", "/accounts", &body).expect(201);
    let bank = bank.after_a_crash();
    assert_replayed(&first, &bank.with_key("k", "/accounts", &body));
    let bank = bank.after_a_restart();
    assert_replayed(&first, &bank.with_key("k", "/accounts", &body));
    assert_refused(&bank.with_key("k", "/accounts", &json!({"owner": "Eve"})), 422, "idempotency-key-reused");
    assert_eq!(bank.head(), 1);
}

#[test]
fn a_replay_asks_no_more_what_the_account_is_like_now() {
    let bank = Bank::start();
    let id = bank.open_holding(5);
    let withdraw = format!("/accounts/{id}/withdraw");
    let headers = [("Idempotency-Key", "k"), ("If-Match", "\"2\"")];
    let first = bank.client.post_with(&withdraw, &headers, &json!({"amount": 5})).expect(200);
    bank.close(&id).expect(200);
    assert_replayed(&first, &bank.client.post_with(&withdraw, &headers, &json!({"amount": 5})));
}

#[test]
fn keys_have_1_to_255_visible_characters() {
    let bank = Bank::start();
    for key in ["!", "~", &"k".repeat(255)] {
        let first = bank.with_key(key, "/accounts", &json!({"owner": "Ada"})).expect(201);
        assert_replayed(&first, &bank.with_key(key, "/accounts", &json!({"owner": "Ada"})));
    }
}
