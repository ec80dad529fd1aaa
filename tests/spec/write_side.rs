//! The write service: what each command answers and records, and what the feed shows of it.

mod clock;
mod commands;
mod transfers;

mod idempotency;
mod metadata;
mod preconditions;

mod event_types;
mod feed;
mod searching;
mod waiting;

use serde_json::{Value, json};

use crate::support::Reply;

/// Checks a receipt: that the headers say what the body says, and that it has nothing but where the
/// fact was recorded.
#[track_caller]
fn assert_receipt(reply: &Reply, stream_id: &str, version: u64, position: u64) {
    let expected = json!({"stream_id": stream_id, "version": version, "position": position});
    assert_eq!(reply.json(), expected);
    assert_eq!(reply.header("Content-Type"), Some("application/json"));
    assert_eq!(reply.header("ETag"), Some(&*format!("\"{version}\"")));
    assert_eq!(reply.header("Event-Position"), Some(&*position.to_string()));
}

#[track_caller]
fn assert_refused(reply: &Reply, status: u16, slug: &str) {
    let json = reply.json();
    assert_eq!((reply.status, &json["type"]), (status, &json!(format!("/problems/{slug}"))), "{json}");
    assert_eq!(json["status"], status);
    assert!(json["title"].is_string() && json["detail"].is_string(), "{json}");
    assert_eq!(reply.header("Content-Type"), Some("application/problem+json"));
}

/// Type and data of each event.
fn facts(events: &[Value]) -> Vec<(&str, &Value)> {
    events.iter().map(|event| (event["type"].as_str().unwrap(), &event["data"])).collect()
}
