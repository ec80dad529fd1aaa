//! Where an event comes from: correlation and trace context.

use serde_json::{Value, json};

use crate::bank::Bank;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn metadata_of_an_account_opened_with(bank: &Bank, headers: &[(&str, &str)]) -> Value {
    let receipt = bank.client.post_with("/accounts", headers, &json!({"owner": "Ada"})).expect(201).json();
    let position = receipt["position"].as_u64().unwrap();
    let page = bank.client.get(&format!("/events?after={}", position - 1)).expect(200).json();
    page["events"][0]["metadata"].clone()
}

#[test]
fn the_correlation_id_is_kept_with_the_event() {
    let bank = Bank::start();
    let metadata = metadata_of_an_account_opened_with(&bank, &[("X-Correlation-Id", "order-7")]);
    assert_eq!(metadata["correlation_id"], "order-7");
    assert_eq!(metadata_of_an_account_opened_with(&bank, &[]), json!({}));
}

#[test]
fn the_trace_is_kept_with_the_event_and_correlates_where_nothing_else_does() {
    let bank = Bank::start();
    let traced = metadata_of_an_account_opened_with(&bank, &[("traceparent", TRACEPARENT)]);
    assert_eq!(traced["traceparent"], TRACEPARENT);
    assert_eq!(traced["correlation_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let both = [("traceparent", TRACEPARENT), ("x-correlation-id", "order-7")];
    let both = metadata_of_an_account_opened_with(&bank, &both);
    assert_eq!((&both["traceparent"], &both["correlation_id"]), (&json!(TRACEPARENT), &json!("order-7")));
}

#[test]
fn both_events_of_a_transfer_tell_where_they_come_from() {
    let bank = Bank::start();
    let (from, to) = (bank.open_holding(1), bank.open());
    let body = json!({"from": from, "to": to, "amount": 1});
    let headers = [("X-Correlation-Id", "order-7"), ("Idempotency-Key", "command-9")];
    bank.client.post_with("/transfers", &headers, &body).expect(200);
    for event in &bank.events()[3..] {
        let expected = json!({"correlation_id": "order-7", "causation_id": "command-9"});
        assert_eq!(event["metadata"], expected);
    }
}
