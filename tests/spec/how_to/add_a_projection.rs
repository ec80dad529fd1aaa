//! `docs/how-to/add-a-projection.md`: the accounts with the largest balances.

use serde_json::{Value, json};

use super::guide::Guide;
use crate::support::{Binary, Client, Directory, wait_until};

const IDS: [&str; 3] = [
    "01936d5e-8f2a-7000-8000-000000000001",
    "01936d5e-8f2a-7000-8000-000000000002",
    "01936d5e-8f2a-7000-8000-000000000003",
];

/// The state of the projection.
fn state(read: &Client) -> Value {
    let projections = read.get("/projections").expect(200).json();
    let projections = projections["projections"].as_array().unwrap();
    projections.iter().find(|projection| projection["name"] == "top_balances").unwrap()["state"].clone()
}

#[test]
#[ignore = "builds a copy of the tree: some minutes"]
fn the_largest_balances_are_listed_before_and_after_a_rebuild() {
    let copy = Guide::read("docs/how-to/add-a-projection.md").carried_out();
    let directory = Directory::fresh();
    let tally = copy.start(&directory);
    let (write, read) = (tally.client_of(Binary::Write), tally.client_of(Binary::Read));
    for (id, currency, amount) in [(IDS[0], "EUR", 100), (IDS[1], "EUR", 300), (IDS[2], "USD", 900)] {
        let open = json!({"owner": "Ada", "account_id": id, "currency": currency});
        write.post("/accounts", &open).expect(201);
        write.post(&format!("/accounts/{id}/deposit"), &json!({"amount": amount})).expect(200);
    }
    write.post(&format!("/accounts/{}/withdraw", IDS[1]), &json!({"amount": 50})).expect(200);
    // All read models, the new one too.
    read.get("/position?min_position=7&wait=30").expect(200);

    let first = json!({"account_id": IDS[1], "balance": 250});
    let both = json!({"currency": "EUR", "accounts": [first, {"account_id": IDS[0], "balance": 100}]});
    let ask = |query: &str| read.get(&format!("/top-balances?{query}")).expect(200).json();
    assert_eq!(ask("currency=EUR&limit=10"), both);
    assert_eq!(ask("limit=1"), json!({"currency": "EUR", "accounts": [first]}));
    assert_eq!(read.get("/top-balances?limit=0").problem(), "invalid-query");
    assert_eq!(state(&read), "live");

    // Only a replay can make this good.
    let rows = rusqlite::Connection::open(directory.join("read_db.sqlite3")).unwrap();
    rows.execute_batch("UPDATE top_balances SET balance = 7").unwrap();
    drop(rows);
    read.post("/projections/top_balances/rebuild", &json!({})).expect(202);
    wait_until("the projection is rebuilt", || state(&read) == "live" && ask("") == both);
}
