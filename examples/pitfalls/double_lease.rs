//! A lease that lives twice: the renewal adds the duration, and the check adds it again.
//!
//! The field is called the time of the last renewal, and holds the end of the lease. The check trusts the name
//! and adds the duration to it. An instance that died without a goodbye is handed to clients for twice the time.
//!
//! Seen in Netflix Eureka (issues 531 and 1277: a comment at `Lease.isExpired` admits the mistake, which
//! stays because of its effect on existing users), and taken over from there by hippo4j (issue 841).
//!
//! Here: a lease holds its end and nothing else. Each look-up first ends the leases whose end has come, on the
//! monotonic clock (`src/registry/leases.rs`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tally::registry::{Leases, Limits, Registration};
use tally::time::Timestamp;
use uuid::Uuid;

use super::{Pitfall, Result, Story};

pub(crate) const PITFALL: Pitfall = Pitfall {
    name: "double-lease",
    summary: "a lease's duration is added twice, and a dead instance is found for twice the time",
    tell: || {
        let (wrong, right) = (mistake(), right_way()?);
        Ok(Story {
            mistake: format!("a lease of 30 s is found for {wrong} s after the last heartbeat"),
            right_way: format!("a lease of 30 s is found for {right} s after the last heartbeat"),
        })
    },
};

const TTL: Duration = Duration::from_secs(30);

/// The lease with the mistake.
struct Lease {
    last_renewed_at: Instant,
}

impl Lease {
    fn renew(&mut self, now: Instant) {
        self.last_renewed_at = now + TTL;
    }

    fn is_live(&self, now: Instant) -> bool {
        now < self.last_renewed_at + TTL
    }
}

/// Returns the number of seconds after the last heartbeat during which an instance is found.
pub(crate) fn mistake() -> u64 {
    let now = Instant::now();
    let mut lease = Lease { last_renewed_at: now };
    lease.renew(now);
    seconds_while(now, |now| lease.is_live(now))
}

/// As [`mistake`].
pub(crate) fn right_way() -> Result<u64> {
    let (now, wall_clock, instance_id) = (Instant::now(), Timestamp::now(), Uuid::now_v7());
    let limits = Limits { instances: 1, bytes: 10_000, bytes_of_one_name: 10_000 };
    let mut leases = Leases::new(TTL, limits, 0);
    let (name, host, metadata) = ("write".to_owned(), "localhost".to_owned(), BTreeMap::new());
    let registration = Registration { instance_id, name, host, port: 7001, metadata };
    leases.register(registration, now, wall_clock).map_err(|full| format!("{full:?}"))?;
    leases.heartbeat("write", instance_id, now, wall_clock).map_err(|error| format!("{error:?}"))?;
    Ok(seconds_while(now, |now| !leases.instances("write", now).is_empty()))
}

fn seconds_while(begin: Instant, mut is_found: impl FnMut(Instant) -> bool) -> u64 {
    let mut seconds = 0;
    while is_found(begin + Duration::from_secs(seconds)) {
        seconds += 1;
    }
    seconds
}
