//! Retries in step: a thousand clients lose their server in one moment, and come back in one moment, again and
//! again.
//!
//! The server answers 100 requests in a tenth of a second and refuses the rest. The clients wait twice as long
//! after each failure, all of them equally long: 1000 come at once, then 900, then 800, and the server is idle
//! in between. Doubling the pauses makes the herd rarer, and no smaller.
//!
//! Seen in the swarm plugin of Jenkins (jenkinsci/swarm-plugin, pull request 163: most of 450 agents could not
//! reconnect to a restarted master) and in Teleport (gravitational/teleport 6889: all clients reconnect in
//! the same second).
//!
//! Here: the same pauses, each shortened at random by up to a half (`src/discovery/backoff.rs`,
//! `src/jitter.rs`). Heartbeats are shortened as well.

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
            let Outcome { requests, peak, seconds } = outcome;
            format!(
                "1000 clients send {requests} requests, up to {peak} in a tenth of a second, and are served \
                 after {seconds} s"
            )
        };
        Ok(Story { mistake: tell(wrong), right_way: tell(right) })
    },
};

/// How many requests are sent until all clients are served, how many in the busiest tenth of a second, and how
/// long this takes.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) requests: usize,
    pub(crate) peak: usize,
    pub(crate) seconds: u128,
}

const CLIENTS: usize = 1000;
/// Requests that the server answers in a tenth of a second.
const CAPACITY: usize = 100;

pub(crate) fn mistake() -> Outcome {
    simulate(pause)
}

/// Not the same figures twice: the pauses are random.
pub(crate) fn right_way() -> Outcome {
    simulate(|attempt| shortened(pause(attempt), 0.5))
}

/// Returns the time before an attempt, the first of which is 0: one second, doubled up to half a minute.
fn pause(attempt: u32) -> Duration {
    Duration::from_secs(1 << attempt.min(5)).min(Duration::from_secs(30))
}

/// Lets all clients lose the server at once, and counts in tenths of a second until all are served.
fn simulate(pause: impl Fn(u32) -> Duration) -> Outcome {
    let mut arrivals: BTreeMap<u128, Vec<u32>> = BTreeMap::new();
    let arrive = |arrivals: &mut BTreeMap<_, Vec<_>>, now: u128, attempt| {
        arrivals.entry(now + pause(attempt).as_millis() / 100).or_default().push(attempt);
    };
    (0..CLIENTS).for_each(|_| arrive(&mut arrivals, 0, 0));
    let mut outcome = Outcome { requests: 0, peak: 0, seconds: 0 };
    while let Some((now, attempts)) = arrivals.pop_first() {
        outcome.requests += attempts.len();
        outcome.peak = outcome.peak.max(attempts.len());
        outcome.seconds = now / 10;
        for attempt in attempts.into_iter().skip(CAPACITY) {
            arrive(&mut arrivals, now, attempt + 1);
        }
    }
    outcome
}
