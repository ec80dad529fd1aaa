//! What a write side says of its log: which one it is, and how long.
//!
//! Instances register themselves, and say of themselves what they like, when they like. Before one of
//! several is chosen, each is asked. Its event feed is asked and not its health, because the feed is
//! what followers need: it goes on when commands cannot be recorded.

use std::thread;
use std::time::Duration;

use serde::Deserialize;
use ureq::Agent;
use uuid::Uuid;

use super::BaseUrl;
use super::client::agent;

/// How long an answer may take in all. It has one event, some hundred bytes.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes: twice the longest request body, of which an event is
/// made.
const MAX_ANSWER_BYTES: u64 = 128 * 1024;

/// A log, as its write side shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct LogTip {
    /// Names the history. A copy of a log has the id of its original.
    pub log_id: Uuid,
    /// The position of the last event.
    pub head: u64,
}

/// Asks the write sides at `addresses`, all at once, and returns what each answered: nothing where
/// none did, within 2 s.
pub fn log_tips(addresses: &[BaseUrl]) -> Vec<Option<LogTip>> {
    let agent = agent();
    thread::scope(|scope| {
        let calls: Vec<_> =
            addresses.iter().map(|address| scope.spawn(|| log_tip(&agent, address))).collect();
        // A call that panicked gave no answer.
        calls.into_iter().map(|call| call.join().ok().flatten()).collect()
    })
}

fn log_tip(agent: &Agent, address: &BaseUrl) -> Option<LogTip> {
    let url = format!("{address}/events?after=0&limit=1");
    let request = agent.get(&url).config().timeout_global(Some(TIMEOUT)).build();
    let response = request.call().ok().filter(|response| response.status() == 200)?;
    let body = response.into_body().into_with_config().limit(MAX_ANSWER_BYTES).read_to_vec().ok()?;
    serde_json::from_slice(&body).ok()
}
