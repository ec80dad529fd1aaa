//! The event feed: pages of what has happened, in order, for ever.

use std::time::Instant;

use serde_json::{Value, json};
use uuid::Uuid;

use super::assert_refused;
use crate::bank::{Bank, fill};
use crate::support::{DEADLINE, Directory};

impl Bank {
    fn page(&self, query: &str) -> Value {
        self.client.get(&format!("/events?{query}")).expect(200).json()
    }
}

fn positions(page: &Value) -> Vec<u64> {
    page["events"].as_array().unwrap().iter().map(|event| event["position"].as_u64().unwrap()).collect()
}

/// RFC 3339, UTC, with microseconds.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000000Z"
}

#[test]
fn an_event_has_all_that_the_contract_lists() {
    let bank = Bank::start();
    let id = bank.open_holding(5);
    let page = bank.page("");
    let (event, event_id) =
        (&page["events"][1], Uuid::try_parse(page["events"][1]["event_id"].as_str().unwrap()));
    assert_eq!(event_id.unwrap().get_version_num(), 7);
    assert!(is_time(event["recorded_at"].as_str().unwrap()), "{event}");
    for (field, expected) in [
        ("position", json!(2)),
        ("stream_id", json!(id)),
        ("stream_type", json!("account")),
        ("version", json!(2)),
        ("type", json!("MoneyDeposited")),
        ("data", json!({"amount": 5, "currency": "EUR"})),
        ("metadata", json!({})),
        ("schema_version", json!(1)),
    ] {
        assert_eq!(event[field], expected, "{field}");
    }
    assert_eq!(event["hash"].as_str().unwrap().len(), 64);
    assert!(Uuid::try_parse(page["log_id"].as_str().unwrap()).is_ok());
    assert_eq!(page["head"], 2);
}

#[test]
fn a_page_has_the_events_after_a_position_in_order_and_no_more_than_its_limit() {
    let bank = Bank::start();
    (0..5).for_each(|_| drop(bank.open()));
    for (query, expected) in [
        ("", &[1, 2, 3, 4, 5][..]),
        ("after=0&limit=2", &[1, 2]),
        ("after=2&limit=2", &[3, 4]),
        ("limit=2&after=4", &[5]),
        ("after=5", &[]),
        ("after=9007199254740991", &[]),
        ("limit=10000", &[1, 2, 3, 4, 5]),
    ] {
        let page = bank.page(query);
        assert_eq!((positions(&page).as_slice(), &page["head"]), (expected, &json!(5)), "{query}");
    }
    let empty = Bank::start().page("");
    assert_eq!((&empty["events"], &empty["head"]), (&json!([]), &json!(0)));
}

#[test]
fn a_page_has_1000_events_unless_asked_otherwise() {
    let directory = Directory::fresh();
    fill(&directory, 10_001);
    let bank = Bank::on(directory);
    assert_eq!(positions(&bank.page("")), (1..=1000).collect::<Vec<_>>());
    // A page ends at its limit of bytes, too.
    let page = positions(&bank.page("limit=10000"));
    assert!((1001..10_000).contains(&page.len()), "{} events", page.len());
    assert_eq!(page, (1..=page.len() as u64).collect::<Vec<_>>());
    assert_eq!(bank.page("limit=1")["head"], 10_001);
}

#[test]
fn a_stream_has_the_events_of_one_account_by_version() {
    let bank = Bank::start();
    let (one, other) = (bank.open_holding(5), bank.open_holding(6));
    bank.withdraw(&one, 5).expect(200);
    let page = |query: &str| bank.client.get(&format!("/streams/{one}/events{query}")).expect(200).json();
    assert_eq!(positions(&page("")), [1, 2, 5]);
    assert_eq!(positions(&page("?after=1")), [2, 5]);
    assert_eq!(positions(&page("?after=1&limit=1")), [2]);
    assert_eq!(positions(&page("?after=3")), [0; 0]);
    assert_eq!(page("")["events"][2], bank.events()[4], "the same event as in the feed");
    assert_eq!(page("")["log_id"], bank.page("")["log_id"]);
    let nobody = bank.client.get(&format!("/streams/{}/events", Uuid::now_v7()));
    assert_refused(&nobody, 404, "not-found");
    assert_eq!(bank.client.get(&format!("/streams/{}/events", other.to_uppercase())).status, 200);
}

#[test]
fn what_the_feed_has_shown_never_changes() {
    let bank = Bank::start();
    let id = bank.open_holding(5);
    let shown = bank.client.get("/events?limit=2").expect(200).body;
    let bank = bank.after_a_crash();
    assert_eq!(bank.client.get("/events?limit=2").expect(200).body, shown);
    bank.withdraw(&id, 5).expect(200);
    let bank = bank.after_a_restart();
    let later = bank.client.get("/events?limit=2").expect(200).body;
    let events = |page: &[u8]| String::from_utf8_lossy(page).split("],\"head\"").next().unwrap().to_owned();
    assert_eq!(events(&later), events(&shown));
}

#[test]
fn another_database_is_another_history() {
    let (one, other) = (Bank::start(), Bank::start());
    assert_ne!(one.page("")["log_id"], other.page("")["log_id"]);
}

#[test]
fn a_reader_that_follows_while_many_write_sees_each_event_once_and_in_order() {
    const EVENTS: u64 = 8 * 30;
    let bank = Bank::start();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..30).for_each(|_| drop(bank.open())));
        }
        let (mut reached, deadline) = (0, Instant::now() + DEADLINE);
        while reached < EVENTS {
            assert!(Instant::now() < deadline, "no event after {reached}");
            for position in positions(&bank.page(&format!("after={reached}&wait=1"))) {
                assert_eq!(position, reached + 1, "without a gap");
                reached = position;
            }
        }
    });
    assert_eq!(bank.head(), EVENTS);
}

#[test]
fn a_reader_never_sees_time_go_back() {
    let bank = Bank::start();
    (0..20).for_each(|_| drop(bank.open()));
    let events = bank.events();
    assert!(events.is_sorted_by_key(|event| event["recorded_at"].as_str().unwrap().to_owned()));
}
