//! The feed's `wait`: answered as soon as there is an event, or when the time is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tally::es::{EventLog, Executor, SqliteDatabase};
use tally::http::{LongPolls, Request, Response, Router};
use tally::write_side::{ROUTES, WriteSide};

use super::assert_refused;
use crate::bank::Bank;
use crate::support::{Directory, wait_until};

type Service = Arc<Router<WriteSide>>;

/// The service without a socket, with room for so many readers that wait.
fn service(directory: &Directory, max_waiting: usize) -> Service {
    let log = EventLog::open(SqliteDatabase::open(directory.join("write_db.sqlite3")).unwrap()).unwrap();
    let bank = Executor::start(Arc::clone(&log), |_| ()).unwrap();
    Arc::new(Router::new(WriteSide::new(bank, log, LongPolls::new(max_waiting)), ROUTES))
}

fn json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

/// A reader that waits for the first event, begun for sure: the service has room for one, and
/// refuses the probe when this one has it. (When the probe was first, this one tries again.)
fn waiting_reader(service: &Service) -> std::thread::JoinHandle<Response> {
    let reader = std::thread::spawn({
        let service = Arc::clone(service);
        move || loop {
            let begun = Instant::now();
            let response = service.handle(&Request::get("/events?wait=30"));
            if response.status != 503 {
                assert!(begun.elapsed() < Duration::from_secs(25), "ended by its own time only");
                return response;
            }
        }
    });
    let probe = Request::get("/events?wait=0.001");
    wait_until("the reader waits", || {
        assert!(!reader.is_finished(), "it does not wait");
        service.handle(&probe).status == 503
    });
    reader
}

#[test]
fn a_new_event_wakes_the_waiting_reader() {
    let directory = Directory::fresh();
    let service = service(&directory, 1);
    let reader = waiting_reader(&service);
    let opened = service.handle(&Request::post("/accounts", &json!({"owner": "Ada"}).to_string()));
    assert_eq!(opened.status, 201);
    let page = json(&reader.join().unwrap());
    assert_eq!((&page["events"][0]["stream_id"], &page["head"]), (&json(&opened)["stream_id"], &json!(1)));
}

#[test]
fn a_wait_without_an_event_ends_in_time_with_an_empty_page() {
    let bank = Bank::start();
    bank.open();
    let page = bank.client.get("/events?after=1&wait=0.05").expect(200).json();
    assert_eq!((&page["events"], &page["head"]), (&json!([]), &json!(1)));
}

#[test]
fn events_that_are_there_already_are_not_waited_for() {
    let directory = Directory::fresh();
    // With no room for anybody who waits.
    let service = service(&directory, 0);
    service.handle(&Request::post("/accounts", &json!({"owner": "Ada"}).to_string()));
    assert_eq!(service.handle(&Request::get("/events?after=0&wait=30")).status, 200);
    let refused = service.handle(&Request::get("/events?after=1&wait=30"));
    assert_eq!((refused.status, &json(&refused)["type"]), (503, &json!("/problems/overloaded")));
    assert!(refused.header("Retry-After").is_some());
}

#[test]
fn readers_who_wait_are_answered_when_the_service_stops() {
    let directory = Directory::fresh();
    let service = service(&directory, 1);
    let reader = waiting_reader(&service);
    service.state().close();
    let answer = reader.join().unwrap();
    assert_eq!((answer.status, &json(&answer)["events"]), (200, &json!([])));
    let refused = service.handle(&Request::post("/accounts", &json!({"owner": "Ada"}).to_string()));
    assert_eq!(refused.status, 503, "no more commands are taken");
}

#[test]
fn a_process_that_is_stopped_answers_its_waiting_readers_and_exits_with_0() {
    let Bank { process, client, .. } = Bank::start();
    std::thread::scope(|scope| {
        // It may come before the stop, or during it and be turned away; it never hangs.
        let reader = scope.spawn(move || client.try_get("/events?wait=30"));
        assert_eq!(process.stop().status.code(), Some(0));
        if let Ok(reply) = reader.join().unwrap() {
            assert!(matches!(reply.status, 200 | 503), "{}", reply.text());
        }
    });
}

#[test]
fn a_wait_of_more_than_30_seconds_is_refused_and_not_cut_short() {
    let bank = Bank::start();
    for wait in ["30.1", "31", "-1", "x", "", "1e9", "nan"] {
        let refused = bank.client.get(&format!("/events?wait={wait}"));
        assert_refused(&refused, 400, "invalid-query");
        assert_eq!(refused.json()["parameter"], "wait", "{wait}");
    }
}
