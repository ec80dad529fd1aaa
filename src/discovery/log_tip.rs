//! The log id and the head of a write side, as the write side reports them.
//!
//! Registered metadata may be wrong or stale. So before the locator chooses between several instances, each
//! one is asked. The question goes to the event feed and not to the health route: followers need the feed,
//! and the feed works also while commands cannot be recorded.
//!
//! **Invariant:** one call takes 2 s at most, however many write sides are asked.
//!
//! Read next: `discovery/ranking.rs`.

use std::thread;
use std::time::Duration;

use serde::Deserialize;
use ureq::Agent;
use uuid::Uuid;

use super::agent::http_agent;
use super::base_url::BaseUrl;

/// Time limit of a call, in seconds. The answer carries one event of some hundred bytes.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest accepted answer, in bytes: twice the longest request body, and a request makes one event.
const MAX_ANSWER_BYTES: u64 = 128 * 1024;

/// The identity and the length of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct LogTip {
    /// Identifies the history. A copy of a log has the id of the original.
    pub log_id: Uuid,
    /// The position of the last event.
    pub head: u64,
}

/// Asks the write sides at `addresses`, all at once, and returns their answers within 2 s: `None` for each
/// write side that did not answer.
pub fn log_tips(addresses: &[BaseUrl]) -> Vec<Option<LogTip>> {
    let agent = http_agent(Some(TIMEOUT));
    // In parallel: an unreachable write side must not delay the answers of the others.
    thread::scope(|scope| {
        let calls: Vec<_> =
            addresses.iter().map(|address| scope.spawn(|| log_tip(&agent, address))).collect();
        // A call that panicked counts as unanswered.
        calls.into_iter().map(|call| call.join().ok().flatten()).collect()
    })
}

fn log_tip(agent: &Agent, address: &BaseUrl) -> Option<LogTip> {
    // The shortest page that carries the log id and the head.
    let request = agent.get(format!("{address}/events?after=0&limit=1"));
    let response = request.call().ok().filter(|response| response.status() == 200)?;
    let body = response.into_body().into_with_config().limit(MAX_ANSWER_BYTES).read_to_vec().ok()?;
    serde_json::from_slice(&body).ok()
}
