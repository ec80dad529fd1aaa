//! The tests of lesson 8: a lease ends at one moment, and every answer agrees.
//!
//! Read next: `docs/course/08-discovery-and-leases.md`, the chapter.

use std::time::{Duration, Instant};

use course::lesson_08::{Leases, NotRegistered};

const TTL: Duration = Duration::from_secs(6);

/// A clock that stands where a test puts it.
struct Clock(Instant);

impl Clock {
    fn at(&self, milliseconds: u64) -> Instant {
        self.0 + Duration::from_millis(milliseconds)
    }
}

/// A table in which `greeter` has registered at 0.
fn with_greeter() -> (Leases, Clock) {
    let (mut leases, clock) = (Leases::new(TTL), Clock(Instant::now()));
    leases.register("greeter", clock.at(0));
    (leases, clock)
}

#[test]
fn a_silent_instance_is_gone_at_the_moment_at_which_its_lease_ends() {
    let (mut leases, clock) = with_greeter();
    assert_eq!(leases.alive(clock.at(5_999)), ["greeter"], "the lease has one millisecond left");
    let alive = leases.alive(clock.at(6_000));
    assert!(
        alive.is_empty(),
        "the lease ended at 6000 ms, and at 6000 ms the table still answers {alive:?}: the sweeper has not come by \
         yet, and clients are sent to a dead instance. Judge each lease when the question is asked"
    );
}

#[test]
fn however_many_heartbeats_came_a_lease_ends_one_ttl_after_the_last() {
    let (mut leases, clock) = with_greeter();
    for beat in (2_000..=20_000).step_by(2_000) {
        leases.heartbeat("greeter", clock.at(beat)).expect("a lease that is renewed in time lives");
    }
    assert_eq!(leases.alive(clock.at(25_999)), ["greeter"], "the last heartbeat came at 20 s");
    leases.sweep(clock.at(26_000));
    let alive = leases.alive(clock.at(26_000));
    assert!(
        alive.is_empty(),
        "the last heartbeat came at 20 s, the TTL is 6 s, and at 26 s the table, just swept, answers {alive:?}: the \
         heartbeats have added up. Renew for one TTL from now"
    );
}

#[test]
fn a_heartbeat_that_comes_too_late_is_told_so() {
    let (mut leases, clock) = with_greeter();
    assert_eq!(
        leases.heartbeat("greeter", clock.at(6_001)),
        Err(NotRegistered),
        "a heartbeat revived a lease that had ended. Clients were told that the instance is gone: refuse the heartbeat, \
         so that the instance registers again"
    );
}

#[test]
fn the_index_tells_a_waiting_client_of_the_end_of_a_lease() {
    let (mut leases, clock) = with_greeter();
    let seen = leases.index(clock.at(5_999));
    assert_eq!(
        leases.index(clock.at(6_000)),
        seen + 1,
        "a client that waits for a change after index {seen} sleeps through the end of the lease"
    );
}

#[test]
fn a_sweep_changes_no_answer() {
    let (mut leases, clock) = with_greeter();
    let before = (leases.alive(clock.at(7_000)), leases.index(clock.at(7_000)));
    leases.sweep(clock.at(7_000));
    let after = (leases.alive(clock.at(7_000)), leases.index(clock.at(7_000)));
    assert_eq!(before, after, "a sweep between two equal questions at one moment has changed the answer");
}
