//! `docs/how-to/add-an-event.md`: the bank pays interest.

use serde_json::json;

use super::guide::Guide;
use crate::support::{Binary, Directory};

const ADA: &str = "01936d5e-8f2a-7000-8000-000000000001";

#[test]
#[ignore = "builds a copy of the tree: some minutes"]
fn the_bank_pays_interest_and_the_statement_shows_it() {
    let copy = Guide::read("docs/how-to/add-an-event.md").carried_out();
    let directory = Directory::fresh();
    let tally = copy.start(&directory);
    let (write, read) = (tally.client_of(Binary::Write), tally.client_of(Binary::Read));
    write.post("/accounts", &json!({"owner": "Ada", "account_id": ADA})).expect(201);
    let interest = format!("/accounts/{ADA}/interest");
    assert_eq!(write.post(&interest, &json!({})).problem(), "invalid-field");
    write.post(&format!("/accounts/{ADA}/deposit"), &json!({"amount": 100})).expect(200);
    let receipt = write.post(&interest, &json!({"amount": 12})).expect(200).json();
    assert_eq!((&receipt["version"], &receipt["position"]), (&json!(3), &json!(3)));

    let fresh = "min_position=3&wait=30";
    let account = read.get(&format!("/accounts/{ADA}?{fresh}")).expect(200).json();
    assert_eq!(account["balance"], 112);
    let statement = read.get(&format!("/accounts/{ADA}/transactions?limit=1&{fresh}")).expect(200).json();
    let line = &statement["transactions"][0];
    assert_eq!(
        (&line["kind"], &line["amount"], &line["balance"]),
        (&json!("interest"), &json!(12), &json!(112))
    );
    let summary = read.get(&format!("/summary?{fresh}")).expect(200).json();
    assert_eq!(summary["currencies"][0]["held"], "112");
    let event = write.get("/events/3").expect(200).json();
    assert_eq!(
        (&event["type"], &event["data"]),
        (&json!("InterestPaid"), &json!({"amount": 12, "currency": "EUR"}))
    );
}
