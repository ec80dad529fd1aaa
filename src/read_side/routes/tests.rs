//! The routes, asked without a socket, over a log in memory.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::es::fixtures::{Log, LogFeed, TempPath};
use crate::http::{Method, Request, Response, Route, Router};
use crate::read_side::models::accounts::Filter;
use crate::read_side::{ReadSide, cursor, projections, routes};

mod operating;

const PATIENCE: Duration = Duration::from_secs(20);
const ADA: u128 = 1;
const BOB: u128 = 2;

/// A read side with a log and a database. The database is removed on drop.
struct Bank {
    router: Router<ReadSide>,
    feed: LogFeed,
    path: TempPath,
}

fn id(account: u128) -> Uuid {
    Uuid::from_u128(account)
}

fn opened(owner: &str) -> String {
    json!({ "owner": owner, "currency": "EUR" }).to_string()
}

fn moved(amount: u64) -> String {
    json!({ "amount": amount, "currency": "EUR" }).to_string()
}

fn transferred(amount: u64) -> String {
    json!({ "amount": amount, "currency": "EUR", "transfer_id": id(99) }).to_string()
}

impl Bank {
    fn over(feed: LogFeed) -> Self {
        let path = TempPath::new();
        let side = ReadSide::over(&path, feed.clone()).unwrap();
        Self { router: Router::new(side, routes()), feed, path }
    }

    fn empty() -> Self {
        Self::over(LogFeed::new(Log::new(1)))
    }

    /// Ada deposits 1000, withdraws 300 and sends Bob 200; Bob's account is number 5.
    fn with_ada_and_bob() -> Self {
        let bank = Self::empty();
        bank.add(ADA, "AccountCreated", &opened("Ada"));
        bank.add(ADA, "MoneyDeposited", &moved(1000));
        bank.add(ADA, "MoneyWithdrawn", &moved(300));
        bank.add(BOB, "AccountCreated", &opened("Bob"));
        bank.add(ADA, "MoneyWithdrawn", &transferred(200));
        bank.add(BOB, "MoneyDeposited", &transferred(200));
        bank
    }

    /// Appends an event and waits until every read model contains the event.
    fn add(&self, account: u128, event_type: &str, data: &str) -> u64 {
        let position = self.feed.append(account, event_type, data);
        self.wait_for(position);
        position
    }

    fn wait_for(&self, position: u64) {
        for definition in projections() {
            let watch = self.router.state().projector.watch(definition.name).unwrap();
            assert!(watch.wait_for(position, PATIENCE) >= position, "{}", definition.name);
        }
    }

    fn get(&self, target: &str) -> Response {
        self.router.handle(&Request::get(target))
    }

    fn json(&self, target: &str) -> Value {
        let response = self.get(target);
        assert_eq!(response.status, 200, "{target}: {}", String::from_utf8_lossy(&response.body));
        serde_json::from_slice(&response.body).unwrap()
    }

    fn account(&self, account: u128) -> Value {
        self.json(&format!("/accounts/{}", id(account)))
    }

    /// Returns the status, the slug and the `parameter` of a problem.
    fn problem(&self, target: &str) -> (u16, String, Value) {
        let response = self.get(target);
        let body: Value = serde_json::from_slice(&response.body).unwrap();
        let slug = body["type"].as_str().unwrap().trim_start_matches("/problems/").to_owned();
        (response.status, slug, body["parameter"].clone())
    }

    fn until(&self, what: &str, condition: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(&self.json("/projections")["projections"]) {
            assert!(Instant::now() < deadline, "{what}: {}", self.json("/projections"));
            std::thread::yield_now();
        }
    }

    /// All items of a list, page by page.
    fn all(&self, target: &str, list: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), None);
        loop {
            let separator = if target.contains('?') { '&' } else { '?' };
            let next = cursor.map_or(String::new(), |cursor| format!("{separator}cursor={cursor}"));
            let page = self.json(&format!("{target}{next}"));
            items.extend(page[list].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                None => return items,
                Some(next) => cursor = Some(next.to_owned()),
            }
        }
    }
}

#[test]
fn an_account_is_answered_as_it_is_with_its_version_and_how_fresh_it_is() {
    let bank = Bank::with_ada_and_bob();
    let response = bank.get(&format!("/accounts/{}", id(ADA)));
    assert_eq!((response.header("ETag"), response.header("Event-Position")), (Some("\"4\""), Some("6")));
    assert_eq!(
        String::from_utf8(response.body).unwrap(),
        format!(
            "{{\"account_id\":\"{}\",\"owner\":\"Ada\",\"currency\":\"EUR\",\"balance\":500,\"status\":\"open\",\
             \"version\":4,\"opened_at\":\"2026-01-01T00:00:00.001000Z\",\
             \"updated_at\":\"2026-01-01T00:00:00.005000Z\"}}\n",
            id(ADA)
        )
    );
}

#[test]
fn an_account_that_is_not_there_is_404_and_says_how_fresh_that_is() {
    let bank = Bank::with_ada_and_bob();
    for query in ["", "?at_version=1", "?as_of=2030-01-01T00:00:00Z"] {
        let response = bank.get(&format!("/accounts/{}{query}", id(77)));
        assert_eq!((response.status, response.header("Event-Position")), (404, Some("6")), "{query}");
    }
    assert_eq!(bank.problem(&format!("/accounts/{}/transactions", id(77))).1, "account-not-found");
    for (query, is_of_the_past) in [("", false), ("?at_version=9", true)] {
        let body = String::from_utf8(bank.get(&format!("/accounts/{}{query}", id(77))).body).unwrap();
        assert_eq!(body.contains("not open at that time"), is_of_the_past, "{body}");
    }
    assert_eq!(bank.problem("/accounts/77").1, "invalid-id");
}

#[test]
fn a_query_that_is_refused_says_how_fresh_the_read_model_is_all_the_same() {
    let bank = Bank::with_ada_and_bob();
    for target in [
        "/accounts/77",
        "/accounts/77/transactions",
        "/accounts?limit=0",
        "/summary?wait=31",
        "/position?min_position=x",
        "/projections?x=1",
    ] {
        let response = bank.get(target);
        assert_eq!((response.status, response.header("Event-Position")), (400, Some("6")), "{target}");
    }
}

#[test]
fn what_the_client_has_already_is_not_sent_again() {
    let bank = Bank::with_ada_and_bob();
    let ask = |tags| {
        let target = format!("/accounts/{}", id(ADA));
        bank.router.handle(&Request::get(&target).with_header("If-None-Match", tags))
    };
    for tags in ["\"4\"", "W/\"4\"", "\"1\", \"4\"", "*"] {
        let response = ask(tags);
        assert_eq!((response.status, response.body.len()), (304, 0), "{tags}");
        assert_eq!((response.header("ETag"), response.header("Event-Position")), (Some("\"4\""), Some("6")));
    }
    assert_eq!(ask("\"3\"").status, 200);
    assert_eq!(ask("4").status, 400);
}

#[test]
fn a_closed_account_is_closed_and_listed_as_such() {
    let bank = Bank::with_ada_and_bob();
    bank.add(BOB, "MoneyWithdrawn", &moved(200));
    bank.add(BOB, "AccountClosed", "{}");
    assert_eq!(bank.account(BOB)["status"], "closed");
    for (filter, owners) in [
        ("", vec!["Ada", "Bob"]),
        ("?status=open", vec!["Ada"]),
        ("?status=closed", vec!["Bob"]),
        ("?owner=Ada", vec!["Ada"]),
        ("?owner=Ada&status=closed", vec![]),
        ("?owner=ada", vec![]),
    ] {
        let found = bank.all(&format!("/accounts{filter}"), "accounts");
        let found: Vec<_> = found.iter().map(|account| account["owner"].as_str().unwrap()).collect();
        assert_eq!(found, owners, "{filter}");
    }
}

#[test]
fn a_statement_is_newest_first_with_the_balance_after_each() {
    let bank = Bank::with_ada_and_bob();
    let page = bank.json(&format!("/accounts/{}/transactions", id(ADA)));
    assert_eq!(page["account_id"], json!(id(ADA)));
    let lines: Vec<_> = page["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| json!([line["position"], line["version"], line["kind"], line["amount"], line["balance"]]))
        .collect();
    assert_eq!(
        json!(lines),
        json!([
            [5, 4, "transfer-out", 200, 500],
            [3, 3, "withdrawal", 300, 700],
            [2, 2, "deposit", 1000, 1000],
            [1, 1, "opened", 0, 0]
        ])
    );
    assert_eq!(page["transactions"][0]["transfer_id"], json!(id(99)));
    assert_eq!(page["next_cursor"], Value::Null);
    let bobs = bank.json(&format!("/accounts/{}/transactions?limit=1", id(BOB)));
    assert_eq!(bobs["transactions"][0]["kind"], "transfer-in");
}

#[test]
fn pages_of_a_statement_stay_correct_while_events_arrive() {
    let bank = Bank::with_ada_and_bob();
    let target = format!("/accounts/{}/transactions?limit=2", id(ADA));
    let first = bank.json(&target);
    bank.add(ADA, "MoneyDeposited", &moved(1));
    let second = bank.json(&format!("{target}&cursor={}", first["next_cursor"].as_str().unwrap()));
    let versions = |page: &Value| -> Vec<u64> {
        page["transactions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["version"].as_u64().unwrap())
            .collect()
    };
    assert_eq!((versions(&first), versions(&second)), (vec![4, 3], vec![2, 1]));
    assert_eq!(second["next_cursor"], Value::Null);
}

#[test]
fn pages_of_accounts_stay_correct_while_accounts_are_opened() {
    let bank = Bank::empty();
    for account in 1..=5 {
        bank.add(account, "AccountCreated", &opened(&format!("Owner {account}")));
    }
    let first = bank.json("/accounts?limit=4");
    bank.add(6, "AccountCreated", &opened("Owner 6"));
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = bank.json(&format!("/accounts?limit=4&cursor={cursor}"));
    assert_eq!(second["accounts"][0]["owner"], "Owner 5");
    assert_eq!(second["accounts"][1]["owner"], "Owner 6");
    assert_eq!(second["next_cursor"], Value::Null);
    assert_eq!(bank.all("/accounts?limit=1&status=open", "accounts").len(), 6);
}

#[test]
fn cursors_of_another_list_or_of_nobody_are_refused() {
    let bank = Bank::with_ada_and_bob();
    let cursor_of = |target: &str| bank.json(target)["next_cursor"].as_str().unwrap().to_owned();
    let accounts = cursor_of("/accounts?limit=1");
    let adas = cursor_of(&format!("/accounts/{}/transactions?limit=1", id(ADA)));
    let bobs = format!("/accounts/{}/transactions", id(BOB));
    for target in [
        format!("{bobs}?cursor={adas}"),
        format!("{bobs}?cursor={accounts}"),
        format!("/accounts?cursor={adas}"),
        format!("/accounts?status=open&cursor={accounts}"),
        format!("/accounts?cursor={}", &accounts[1..]),
        "/accounts?cursor=".to_owned(),
        // Well formed, but no transaction has this position.
        format!("{bobs}?cursor={}", cursor::encode(&["transactions", &id(BOB).to_string()], 5)),
    ] {
        assert_eq!(bank.problem(&target), (400, "invalid-query".into(), json!("cursor")), "{target}");
    }
}

#[test]
fn every_version_and_every_moment_of_a_long_history_is_answered_exactly() {
    let bank = Bank::empty();
    let mut balances = vec![0];
    bank.feed.append(ADA, "AccountCreated", &opened("Ada"));
    for number in 1..=150 {
        bank.feed.append(BOB + number % 2, if number <= 2 { "AccountCreated" } else { "MoneyDeposited" }, &{
            if number <= 2 { opened("Another") } else { moved(1) }
        });
        bank.feed.append(ADA, "MoneyDeposited", &moved(number as u64));
        balances.push(balances.last().unwrap() + number as u64);
    }
    bank.wait_for(301);
    for (index, balance) in balances.iter().enumerate() {
        let (version, position) = (index + 1, 2 * index + 1);
        let then = bank.json(&format!("/accounts/{}?at_version={version}", id(ADA)));
        assert_eq!((&then["version"], &then["balance"]), (&json!(version), &json!(balance)));
        // Exactly at the event's time, and just before the next event of the account.
        for offset in ["000", "999"] {
            let time = format!("2026-01-01T00:00:00.{position:03}{offset}Z");
            assert_eq!(bank.json(&format!("/accounts/{}?as_of={time}", id(ADA))), then, "{time}");
        }
    }
    let last = bank.account(ADA);
    assert_eq!(bank.json(&format!("/accounts/{}?as_of=2030-01-01T00:00:00Z", id(ADA))), last);
    assert_eq!(bank.problem(&format!("/accounts/{}?at_version=152", id(ADA))).0, 404);
    assert_eq!(bank.problem(&format!("/accounts/{}?as_of=2026-01-01T00:00:00.000999Z", id(ADA))).0, 404);
}

#[test]
fn time_travel_takes_any_offset_and_any_number_of_decimals() {
    let bank = Bank::with_ada_and_bob();
    let at = |time: &str| bank.json(&format!("/accounts/{}?as_of={time}", id(ADA)))["version"].clone();
    assert_eq!(at("2026-01-01T02:00:00.003%2B02:00"), 3);
    assert_eq!(at("2025-12-31T19:00:00.003-05:00"), 3);
    assert_eq!(at("2026-01-01T00:00:00.0029999999Z"), 2, "finer than a microsecond is cut off");
    let target = format!("/accounts/{}", id(ADA));
    for (query, parameter) in [
        ("as_of=yesterday", "as_of"),
        ("as_of=2026-01-01", "as_of"),
        ("at_version=0", "at_version"),
        ("at_version=-1", "at_version"),
        ("at_version=1&as_of=2026-01-01T00:00:00Z", "as_of"),
        ("at_verison=1", "at_verison"),
    ] {
        let expected = (400, "invalid-query".to_owned(), json!(parameter));
        assert_eq!(bank.problem(&format!("{target}?{query}")), expected, "{query}");
    }
}

#[test]
fn a_closed_account_was_open_before() {
    let bank = Bank::empty();
    bank.add(ADA, "AccountCreated", &opened("Ada"));
    bank.add(ADA, "AccountClosed", "{}");
    for (version, status) in [(1, "open"), (2, "closed")] {
        let then = bank.json(&format!("/accounts/{}?at_version={version}", id(ADA)));
        assert_eq!(then["status"], status);
    }
}

#[test]
fn the_summary_counts_accounts_and_every_deposit_and_withdrawal_by_currency_transfers_too() {
    let bank = Bank::with_ada_and_bob();
    bank.add(3, "AccountCreated", r#"{"owner":"Cid","currency":"CHF"}"#);
    bank.add(3, "AccountClosed", "{}");
    assert_eq!(
        bank.json("/summary"),
        json!({"currencies": [
            {"currency": "CHF", "accounts": 1, "open_accounts": 0, "deposited": "0", "withdrawn": "0", "held": "0"},
            {"currency": "EUR", "accounts": 2, "open_accounts": 2, "deposited": "1200", "withdrawn": "500", "held": "700"},
        ]})
    );
}

#[test]
fn sums_over_many_full_accounts_do_not_wrap() {
    let bank = Bank::empty();
    const FULL: u64 = crate::account::MAX_AMOUNT;
    for account in 1..=1100 {
        bank.feed.append(account, "AccountCreated", &opened("Croesus"));
        bank.feed.append(account, "MoneyDeposited", &moved(FULL));
    }
    bank.wait_for(2200);
    let body = String::from_utf8(bank.get("/summary").body).unwrap();
    assert!(body.contains(&format!("\"held\":\"{}\"", 1100 * u128::from(FULL))), "{body}");
}

#[test]
fn a_query_waits_for_the_position_that_its_client_has_written() {
    let bank = Bank::with_ada_and_bob();
    let target = format!("/accounts/{}?min_position=7&wait=20", id(ADA));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| bank.json(&target));
        while bank.router.state().waiting() == 0 {
            std::thread::yield_now();
        }
        // The test service has a single permit for waits.
        assert_eq!(bank.problem("/position?min_position=7").1, "overloaded");
        bank.feed.append(ADA, "MoneyDeposited", &moved(1));
        assert_eq!(waiting.join().unwrap()["balance"], 501);
    });
}

/// The paths of all queries, with Ada's account.
fn queries() -> impl Iterator<Item = String> {
    let is_query = |route: &&Route<ReadSide>| {
        route.method == Method::GET && !["/ready", "/health"].contains(&route.pattern)
    };
    routes().iter().filter(is_query).map(|route| route.pattern.replace("{id}", &id(ADA).to_string()))
}

#[test]
fn a_query_for_a_position_that_does_not_come_says_how_far_the_rows_are() {
    let bank = Bank::with_ada_and_bob();
    for target in queries() {
        let response = bank.get(&format!("{target}?min_position=7&wait=0.001"));
        assert_eq!(response.status, 503, "{target}");
        assert_eq!(response.header("Event-Position"), Some("6"), "{target}");
        assert!(response.header("Retry-After").is_some(), "{target}");
        assert_eq!(bank.get(&format!("{target}?min_position=6&wait=0")).status, 200, "{target}");
        assert_eq!(bank.get(&format!("{target}?wait=1")).status, 200, "there is nothing to wait for");
        let malformed = format!("{target}?wait=31");
        assert_eq!(bank.problem(&malformed), (400, "invalid-query".into(), json!("wait")), "{target}");
        assert_eq!(bank.get(&malformed).header("Event-Position"), Some("6"), "{target}");
    }
}

#[test]
fn a_rebuild_is_begun_once_and_ends_with_the_same_rows() {
    let bank = Bank::with_ada_and_bob();
    let before = bank.account(ADA);
    // Only a replay can make this good.
    let db = rusqlite::Connection::open(&*bank.path).unwrap();
    db.execute_batch("UPDATE accounts SET balance = 7").unwrap();
    drop(db);
    let rebuild =
        |name: &str| bank.router.handle(&Request::post(&format!("/projections/{name}/rebuild"), "{}"));
    let begun = rebuild("accounts");
    assert_eq!(begun.status, 202);
    let body: Value = serde_json::from_slice(&begun.body).unwrap();
    assert_eq!(body, json!({"name": "accounts", "state": "rebuilding"}));
    assert_eq!(rebuild("nothing").status, 404);
    bank.until("it is rebuilt", |projections| projections[0]["state"] == "live");
    assert_eq!(bank.account(ADA), before);
    assert_eq!(rebuild("summary").status, 202);
}

#[test]
fn every_list_is_a_range_of_an_index() {
    let bank = Bank::with_ada_and_bob();
    for (owner, status, index) in [
        (None, None, "INTEGER PRIMARY KEY"),
        (Some("Ada"), None, "accounts_by_owner_1 "),
        (None, Some("open"), "accounts_by_status_"),
        (Some("Ada"), Some("open"), "accounts_by_owner_and_status_"),
    ] {
        let plan = bank.router.state().database.read(|db| {
            let sql = format!("EXPLAIN QUERY PLAN {}", Filter { owner, status }.sql());
            let mut query = db.prepare(&sql)?;
            let steps = query.query_map(rusqlite::params![0, 10, owner, status], |row| row.get(3))?;
            steps.collect::<rusqlite::Result<Vec<String>>>()
        });
        let plan = plan.unwrap().join("; ") + " ";
        assert!(plan.contains(index) && plan.contains("rowid>?") && !plan.contains("TEMP"), "{plan}");
    }
}
