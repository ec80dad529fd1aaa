//! Searching the log: filters, newest first, and single events.

use std::time::Duration;

use serde_json::Value;
use tally::account::{Account, AccountCommand, Movement};
use tally::es::{Context, EventFilter, EventLog, Executor, MemoryDatabase, Metadata, SearchFrom};
use uuid::Uuid;

use super::assert_refused;
use crate::bank::{Bank, fill};
use crate::support::{Directory, wait_until};

fn positions(page: &Value) -> Vec<u64> {
    page["events"].as_array().unwrap().iter().map(|event| event["position"].as_u64().unwrap()).collect()
}

impl Bank {
    /// The positions on a page, and where the search goes on.
    fn search(&self, query: &str) -> (Vec<u64>, u64) {
        let page = self.client.get(&format!("/events?{query}")).expect(200).json();
        (positions(&page), page["scanned_to"].as_u64().expect("a searched page has scanned_to"))
    }

    fn deposit_as(&self, id: &str, correlation_id: &str) {
        let path = format!("/accounts/{id}/deposit");
        let headers = [("X-Correlation-Id", correlation_id), ("Content-Type", "application/json")];
        self.client.try_send("POST", &path, &headers, Some(b"{\"amount\":1}")).unwrap().expect(200);
    }
}

#[test]
fn filters_apply_together_forwards_and_newest_first() {
    let bank = Bank::start();
    let (ada, bob) = (bank.open_holding(5), bank.open_holding(5));
    bank.deposit_as(&ada, "order-7");
    bank.deposit_as(&bob, "order-77");
    bank.transfer(&ada, &bob, 1).expect(200);
    for (query, expected) in [
        ("type=MoneyDeposited", &[2, 4, 5, 6, 8][..]),
        ("type=MoneyDeposited&after=4&limit=2", &[5, 6]),
        ("type=MoneyDeposited&before=9&limit=2", &[8, 6]),
        ("before=9007199254740991&limit=3", &[8, 7, 6]),
        ("before=1", &[]),
        ("correlation_id=order-7", &[5]),
        ("correlation_id=order-7&type=MoneyWithdrawn", &[]),
        ("stream_type=account&type=AccountCreated", &[1, 3]),
        ("stream_type=parcel", &[]),
        ("type=NeverHeardOf&before=100", &[]),
        ("since=2000-01-01T00:00:00Z&before=4", &[3, 2, 1]),
        ("since=2999-01-01T00:00:00Z", &[]),
        ("since=2999-01-01T00:00:00Z&before=100", &[]),
    ] {
        assert_eq!(bank.search(query).0, expected, "{query}");
    }
    let third = bank.client.get("/events/3").expect(200).json()["recorded_at"].as_str().unwrap().to_owned();
    assert_eq!(bank.search(&format!("since={third}&limit=2")).0, [3, 4], "a time includes its own event");
    assert_eq!(bank.search(&format!("since={third}&before=5")), (vec![4, 3], 1), "nothing older can match");
    // The unfiltered feed is as it was.
    assert!(bank.client.get("/events").json().get("scanned_to").is_none());
}

#[test]
fn a_search_scans_a_bounded_part_and_goes_on_where_it_stopped() {
    let directory = Directory::fresh();
    fill(&directory, 25_000);
    let bank = Bank::on(directory);
    assert_eq!(bank.search("type=AccountCreated&after=1"), (vec![], 10_001));
    assert_eq!(bank.search("type=AccountCreated&after=10001"), (vec![], 20_001));
    assert_eq!(bank.search("type=AccountCreated&after=20001"), (vec![], 25_000));
    assert_eq!(bank.search("type=AccountCreated&before=9007199254740991"), (vec![], 15_001));
    assert_eq!(bank.search("type=AccountCreated&before=15001"), (vec![], 5_001));
    assert_eq!(bank.search("type=AccountCreated&before=5001"), (vec![1], 1));
    // A page that is full says where its last event is, not how far it could have looked.
    assert_eq!(bank.search("type=MoneyDeposited&after=5&limit=2"), (vec![6, 7], 7));
}

#[test]
fn a_filtered_reader_that_waits_gets_the_event_that_matches_and_no_other() {
    let bank = Bank::start();
    let ada = bank.open();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| bank.search("correlation_id=mine&after=0&wait=30"));
        (0..20).for_each(|_| bank.deposit_as(&ada, "others"));
        bank.deposit_as(&ada, "mine");
        assert_eq!(waiting.join().unwrap().0, [22]);
    });
    // Without a match, the time ends the wait, and the page says how far it has looked.
    assert_eq!(bank.search("correlation_id=nobody&wait=0.05"), (vec![], 22));
    assert_eq!(bank.search("type=NeverHeardOf&after=400&wait=0.05"), (vec![], 400), "beyond the head");
}

#[test]
fn a_reader_that_waits_for_events_since_now_gets_the_next_one_of_a_long_log() {
    let directory = Directory::fresh();
    let id = fill(&directory, 12_000).to_string();
    let bank = Bank::on(directory);
    // Later than the whole log, and no later than the next event.
    let since = tally::time::Timestamp::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| bank.search(&format!("since={since}&after=0&wait=30")));
        wait_until("the search waits", || {
            bank.client.get("/metrics").text().contains("tally_http_waiting_requests 1\n")
        });
        bank.deposit(&id, 1).expect(200);
        assert_eq!(waiting.join().unwrap(), (vec![12_001], 12_001));
    });
}

#[test]
fn a_search_that_waits_ends_with_the_service() {
    let bank = Bank::start();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| bank.client.try_send("GET", "/events?type=None&wait=30", &[], None));
        wait_until("the search waits", || {
            bank.client.get("/metrics").text().contains("tally_http_waiting_requests 1\n")
        });
        bank.process.signal("TERM");
        let reply = waiting.join().unwrap().unwrap();
        assert_eq!((reply.status, positions(&reply.json()).len()), (200, 0));
    });
}

#[test]
fn one_event_is_found_by_its_position() {
    let bank = Bank::start();
    bank.open_holding(5);
    let event = bank.client.get("/events/2").expect(200);
    assert_eq!(event.json(), bank.events()[1]);
    assert_eq!(event.header("Event-Position"), Some("2"));
    assert_refused(&bank.client.get("/events/3"), 404, "event-not-found");
    for bad in ["0", "-1", "+1", "x", "1.0", "9007199254740992"] {
        assert_refused(&bank.client.get(&format!("/events/{bad}")), 400, "invalid-id");
    }
}

#[test]
fn malformed_filters_are_refused_by_name() {
    let bank = Bank::start();
    for (query, parameter) in [
        ("type=", "type"),
        ("stream_type=a%20b", "stream_type"),
        ("correlation_id=%C3%BC", "correlation_id"),
        ("since=yesterday", "since"),
        ("since=2026-01-31", "since"),
        ("before=0", "before"),
        ("before=9007199254740992", "before"),
        ("before=3&after=1", "after"),
        ("before=3&wait=1", "wait"),
    ] {
        let reply = bank.client.get(&format!("/events?{query}"));
        assert_refused(&reply, 400, "invalid-query");
        assert_eq!(reply.json()["parameter"], parameter, "{query}");
    }
}

#[test]
fn a_receipt_says_how_long_each_step_took() {
    let bank = Bank::start();
    let id = bank.open();
    let reply = bank.deposit(&id, 5).expect(200);
    let timing = reply.header("Server-Timing").expect("a receipt has Server-Timing");
    let steps: Vec<_> = timing.split(", ").map(|step| step.split_once(";dur=").unwrap()).collect();
    assert_eq!(steps.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["queue", "decide", "sync"]);
    assert!(steps.iter().all(|(_, dur)| dur.parse::<f64>().is_ok_and(|dur| (0.0..10_000.0).contains(&dur))));
    assert!(steps[2].1.parse::<f64>().unwrap() > 0.0, "a sync takes time: {timing}");
}

#[test]
fn a_log_in_memory_is_searched_by_the_same_rules() {
    let log = EventLog::open(MemoryDatabase::default()).unwrap();
    let bank = Executor::start(log.clone(), |_| ()).unwrap();
    let id = Uuid::now_v7();
    let open = AccountCommand::Open { owner: "Ada".into(), currency: "EUR".try_into().unwrap() };
    bank.execute::<Account>(id, open, Context::default()).unwrap();
    for name in ["a\"b", "c", "a\"b"] {
        let deposit = AccountCommand::Deposit(Movement { amount: 1, description: None, transfer_id: None });
        let metadata = Metadata { correlation_id: Some(name.into()), ..Metadata::default() };
        bank.execute::<Account>(id, deposit, Context { metadata, ..Context::default() }).unwrap();
    }
    let quoted = EventFilter { correlation_id: Some("a\"b".into()), ..EventFilter::default() };
    let found = log.search(SearchFrom::Before(u64::MAX), &quoted, 10).unwrap();
    assert_eq!((found.events, found.scanned_to), (2, 1));
    let content = found.page.content().unwrap();
    assert_eq!(content.events.iter().map(|event| event.position).collect::<Vec<_>>(), [4, 2]);
    assert_eq!(log.search(SearchFrom::After(9), &quoted, 10).unwrap().scanned_to, 9);
    assert!(log.event(0).unwrap().is_none() && log.event(5).unwrap().is_none());
    assert_eq!(log.event(4).unwrap().unwrap().as_recorded().version, 4);
    assert!(log.page(0, 10, Duration::ZERO).unwrap().content().unwrap().events.len() == 4);
}
