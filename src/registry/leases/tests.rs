//! Tests of the lease table, with the time as argument.

use super::*;
use crate::registry::changes::{Departure, MAX_DEPARTED};
use std::collections::BTreeMap;

const TTL: Duration = Duration::from_secs(6);
const NOON: Timestamp = Timestamp::MIN;

const LIMITS: Limits = Limits { instances: 1_000, bytes: 1 << 20, bytes_of_one_name: 1 << 20 };
/// The index of the registry at the start.
const FIRST: u64 = 1_000_000;

fn leases(limits: Limits) -> Leases {
    Leases::new(TTL, limits, FIRST)
}

struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn at(&self, milliseconds: u64) -> Instant {
        self.0 + Duration::from_millis(milliseconds)
    }
}

fn registration(name: &str, id: u128) -> Registration {
    Registration {
        instance_id: Uuid::from_u128(id),
        name: name.to_owned(),
        host: "127.0.0.1".to_owned(),
        port: 7001,
        metadata: BTreeMap::new(),
    }
}

fn with_one(clock: &Clock) -> (Leases, Uuid) {
    let mut leases = leases(LIMITS);
    leases.register(registration("write", 1), clock.at(0), NOON).unwrap();
    (leases, Uuid::from_u128(1))
}

#[test]
fn an_instance_that_misses_its_ttl_is_gone_at_that_very_moment() {
    let clock = Clock::start();
    let (mut leases, id) = with_one(&clock);
    assert_eq!(leases.instances("write", clock.at(5_999)).len(), 1);
    assert!(leases.instances("write", clock.at(6_000)).is_empty());
    assert!(leases.services(clock.at(6_000)).is_empty());
    assert_eq!(leases.heartbeat("write", id, clock.at(6_000), NOON), Err(NotRegistered));
}

// Pitfall 11: Eureka's renew adds the duration twice.
#[test]
fn a_lease_never_lives_twice() {
    let clock = Clock::start();
    let (mut leases, id) = with_one(&clock);
    for beat in [10, 20, 1_000] {
        leases.heartbeat("write", id, clock.at(beat), NOON).unwrap();
    }
    assert_eq!(leases.next_expiry(clock.at(1_000)), Some(clock.at(7_000)));
    assert_eq!(leases.count(clock.at(6_999)), 1);
    assert_eq!(leases.count(clock.at(7_000)), 0);
}

#[test]
fn the_index_rises_with_registration_removal_and_expiry_and_not_with_heartbeats() {
    let clock = Clock::start();
    let (mut leases, id) = with_one(&clock);
    assert_eq!(leases.index(clock.at(0)), FIRST + 1);
    leases.heartbeat("write", id, clock.at(1), NOON).unwrap();
    assert_eq!(leases.index(clock.at(1)), FIRST + 1);
    leases.register(registration("write", 2), clock.at(1), NOON).unwrap();
    leases.deregister("write", Uuid::from_u128(2), clock.at(2), NOON).unwrap();
    assert_eq!(leases.index(clock.at(2)), FIRST + 3);
    assert_eq!(leases.index(clock.at(6_001)), FIRST + 4);
    assert_eq!(leases.index(clock.at(60_000)), FIRST + 4);
}

#[test]
fn registering_again_with_the_same_id_replaces() {
    let clock = Clock::start();
    let (mut leases, id) = with_one(&clock);
    let moved = Registration { port: 7009, ..registration("write", 1) };
    leases.register(moved, clock.at(3_000), NOON).unwrap();
    let instances = leases.instances("write", clock.at(8_999));
    assert_eq!((instances.len(), instances[0].port), (1, 7009));
    assert!(leases.instance("write", id, clock.at(9_000)).is_none());
}

#[test]
fn the_same_id_may_serve_two_names() {
    let clock = Clock::start();
    let (mut leases, id) = with_one(&clock);
    leases.register(registration("read", 1), clock.at(0), NOON).unwrap();
    leases.deregister("write", id, clock.at(1), NOON).unwrap();
    assert_eq!(leases.counts(clock.at(1)).collect::<Vec<_>>(), [("read", 1)]);
}

#[test]
fn a_full_table_refuses_newcomers_and_no_one_else_until_a_lease_runs_out() {
    let clock = Clock::start();
    let mut leases = leases(Limits { instances: 2, ..LIMITS });
    leases.register(registration("write", 1), clock.at(0), NOON).unwrap();
    leases.register(registration("read", 2), clock.at(1), NOON).unwrap();
    assert_eq!(leases.register(registration("read", 3), clock.at(2), NOON), Err(Full::Table));
    assert_eq!(leases.count(clock.at(2)), 2);
    leases.register(registration("read", 2), clock.at(3), NOON).unwrap();
    leases.register(registration("read", 3), clock.at(6_000), NOON).unwrap();
}

fn fat(name: &str, id: u128, bytes: usize) -> Registration {
    let metadata = BTreeMap::from([("x".to_owned(), "x".repeat(bytes))]);
    Registration { metadata, ..registration(name, id) }
}

#[test]
fn a_name_that_is_full_of_bytes_is_closed_to_newcomers_and_other_names_are_not() {
    let clock = Clock::start();
    let mut leases = leases(Limits { bytes_of_one_name: 3_000, ..LIMITS });
    leases.register(fat("write", 1, 2_000), clock.at(0), NOON).unwrap();
    assert_eq!(leases.register(fat("write", 2, 2_000), clock.at(0), NOON), Err(Full::Name));
    leases.register(fat("read", 2, 2_000), clock.at(0), NOON).unwrap();
    leases.register(fat("write", 1, 2_500), clock.at(0), NOON).unwrap();
    assert_eq!(leases.register(fat("write", 1, 3_000), clock.at(1), NOON), Err(Full::Name));
    assert_eq!(leases.instance("write", Uuid::from_u128(1), clock.at(1)).unwrap().metadata["x"].len(), 2_500);
}

#[test]
fn a_table_that_is_full_of_bytes_takes_no_more_until_a_lease_ends() {
    let clock = Clock::start();
    let mut leases = leases(Limits { bytes: 5_000, ..LIMITS });
    leases.register(fat("a", 1, 2_000), clock.at(0), NOON).unwrap();
    leases.register(fat("b", 1, 2_000), clock.at(0), NOON).unwrap();
    assert_eq!(leases.register(fat("c", 1, 2_000), clock.at(0), NOON), Err(Full::Table));
    leases.deregister("a", Uuid::from_u128(1), clock.at(1), NOON).unwrap();
    leases.register(fat("c", 1, 2_000), clock.at(1), NOON).unwrap();
    let written = serde_json::to_vec(&*leases.instances("c", clock.at(1))[0]).unwrap().len();
    assert_eq!(leases.bytes(clock.at(1)), 2 * written, "the bytes are those of the answer");
}

#[test]
fn an_answer_that_is_being_written_delays_no_heartbeat_and_does_not_change() {
    let clock = Clock::start();
    let (mut leases, id) = with_one(&clock);
    let answer = leases.instances("write", clock.at(0));
    let later = Timestamp::from_micros(NOON.as_micros() + 1).unwrap();
    leases.heartbeat("write", id, clock.at(1), later).unwrap();
    assert_eq!(answer[0].last_heartbeat_at, NOON.to_string());
    assert_eq!(leases.instances("write", clock.at(1))[0].last_heartbeat_at, later.to_string());
}

#[test]
fn the_next_expiry_is_that_of_the_lease_renewed_longest_ago() {
    let clock = Clock::start();
    let (mut leases, id) = with_one(&clock);
    leases.register(registration("write", 2), clock.at(1_000), NOON).unwrap();
    assert_eq!(leases.next_expiry(clock.at(1_000)), Some(clock.at(6_000)));
    leases.heartbeat("write", id, clock.at(2_000), NOON).unwrap();
    assert_eq!(leases.next_expiry(clock.at(2_000)), Some(clock.at(7_000)));
    assert_eq!(leases.next_expiry(clock.at(8_000)), None);
}

#[test]
fn what_ended_leaves_nothing_behind() {
    let clock = Clock::start();
    let mut leases = leases(LIMITS);
    for id in 0..1_000 {
        leases.register(registration(&format!("service-{id}"), id), clock.at(0), NOON).unwrap();
    }
    assert_eq!(leases.index(clock.at(6_000)), FIRST + 2_000);
    assert!(leases.services.is_empty() && leases.ends.is_empty() && leases.bytes == 0);
}

#[test]
fn times_have_microseconds() {
    let clock = Clock::start();
    let (mut leases, id) = with_one(&clock);
    let later = Timestamp::from_micros(NOON.as_micros() + 1_500_000).unwrap();
    leases.heartbeat("write", id, clock.at(1), later).unwrap();
    let instance = leases.instance("write", id, clock.at(1)).unwrap();
    assert_eq!(instance.registered_at, "0000-01-01T00:00:00.000000Z");
    assert_eq!(instance.last_heartbeat_at, "0000-01-01T00:00:01.500000Z");
}

#[test]
fn what_came_and_went_is_kept_within_bounds() {
    let clock = Clock::start();
    let mut leases = leases(LIMITS);
    for id in 0..30 {
        leases.register(registration("write", id), clock.at(0), NOON).unwrap();
    }
    leases.register(registration("write", 3), clock.at(1), NOON).unwrap();
    let unlogged = leases.changes(clock.at(1)).take_unlogged();
    assert_eq!((unlogged.changes.len(), unlogged.left_out), (20, 11));
    leases.deregister("write", Uuid::from_u128(0), clock.at(1), NOON).unwrap();
    let changes = leases.changes(clock.at(6_001));
    assert_eq!((changes.expired(), changes.departed().len()), (29, MAX_DEPARTED));
    let unlogged = changes.take_unlogged();
    assert_eq!((unlogged.changes[0].kind.clone(), unlogged.left_out), (ChangeKind::Deregistered, 10));
    assert_eq!(unlogged.changes[1].at, NOON.plus(TTL));
    assert_eq!(changes.departed().last().unwrap().departure(), Some(Departure::Expired));
}

#[test]
fn a_registration_under_the_same_id_is_recorded_with_what_it_replaced() {
    let clock = Clock::start();
    let (mut leases, _) = with_one(&clock);
    leases.register(Registration { port: 7009, ..registration("write", 1) }, clock.at(1), NOON).unwrap();
    let changes = leases.changes(clock.at(1)).take_unlogged().changes;
    assert_eq!(changes[0].kind, ChangeKind::Registered);
    let ChangeKind::Replaced(before) = &changes[1].kind else { panic!("{changes:?}") };
    assert_eq!((before.port, changes[1].instance.port), (7001, 7009));
    assert_eq!(
        changes[1].instance.to_string(),
        "write 00000000-0000-0000-0000-000000000001 at 127.0.0.1:7009"
    );
}
