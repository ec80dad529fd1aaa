//! Retries in step: a thousand clients lose their server in one moment, and come back in one moment, again and
//! again.
//!
//! The server answers 100 requests in a tenth of a second. All clients wait one second, so that all come in
//! the same tenth: 100 are served, 900 come back together a second later, and the server is idle in between.
//!
//! Seen in the swarm plugin of Jenkins (jenkinsci/swarm-plugin, pull request 163: most of 450 agents could not
//! reconnect to a restarted master) and in Teleport (gravitational/teleport 6889: all clients reconnect in
//! the same second).
//!
//! Here: pauses double up to a cap and are shortened at random (`src/discovery/backoff.rs`, `src/jitter.rs`);
//! heartbeats, too.

use std::collections::BTreeMap;
use std::time::Duration;

use tally::jitter::shortened;

use super::{Pitfall, Story};

pub(crate) const PITFALL: Pitfall = Pitfall {
    name: "thundering-herd",
    summary: "a thousand clients retry in step, and arrive together each time",
    tell: || {
        let (wrong, right) = (mistake(), right_way());
        let tell = |outcome: Outcome| {
            let Outcome { requests, peak } = outcome;
            format!("1000 clients send {requests} requests, up to {peak} of them in a tenth of a second")
        };
        Ok(Story { mistake: tell(wrong), right_way: tell(right) })
    },
};

/// How many requests are sent until all clients are served, and how many in the busiest tenth of a second.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) requests: usize,
    pub(crate) peak: usize,
}

const CLIENTS: usize = 1000;
/// Requests that the server answers in a tenth of a second. It refuses the rest.
const CAPACITY: usize = 100;
const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn mistake() -> Outcome {
    simulate(|_attempt| SECOND)
}

/// Not the same figures twice: the pauses are random.
pub(crate) fn right_way() -> Outcome {
    simulate(|attempt| shortened((SECOND * 2_u32.pow(attempt)).min(SECOND * 30), 0.5))
}

/// Lets all clients lose the server at once. `pause` is the time before an attempt, the first of which is 0.
fn simulate(pause: impl Fn(u32) -> Duration) -> Outcome {
    // By tenth of a second: the attempts of the clients that arrive.
    let mut arrivals: BTreeMap<u128, Vec<u32>> = BTreeMap::new();
    let arrive = |arrivals: &mut BTreeMap<_, Vec<_>>, now: u128, attempt| {
        arrivals.entry(now + pause(attempt).as_millis() / 100).or_default().push(attempt);
    };
    (0..CLIENTS).for_each(|_| arrive(&mut arrivals, 0, 0));
    let (mut requests, mut peak) = (0, 0);
    while let Some((now, clients)) = arrivals.pop_first() {
        requests += clients.len();
        peak = peak.max(clients.len());
        for attempt in clients.into_iter().skip(CAPACITY) {
            arrive(&mut arrivals, now, attempt + 1);
        }
    }
    Outcome { requests, peak }
}
