//! Cursors and parameters that nobody was given, on a bank with accounts and transactions.
//!
//! A cursor carries a sum against mistakes. So some are forged here with a sum that is right: they reach
//! the rows.
//!
//! **Invariant:** whatever position a client invents, it sees a piece of the list, as the list is.

use serde_json::{Value, json};
use tally::http::Route;
use tally::read_side::{ReadSide, routes};

use super::mutation::{Random, corpus, mutated};
use super::{CASES, Limit, fuzz_from};
use crate::support::{Client, Reply, System, Wire, wait_until};

const ACCOUNTS: u64 = 8;
/// What each of them has had, at least.
const TRANSACTIONS: u64 = 10;
/// Positions at the edges of what a program may think a position is.
const EDGES: [u64; 7] = [0, 1, u32::MAX as u64, i64::MAX as u64, 1 << 63, u64::MAX - 1, u64::MAX];

/// A bank with some history that the read side has caught up with.
fn bank() -> (System, Vec<String>, u64) {
    let system = System::start();
    let commands = system.commands();
    let mut head = 0;
    let mut record = |path: &str, body: Value, status| {
        let receipt = commands.post(path, &body).expect(status).json();
        head = receipt["position"].as_u64().unwrap();
        receipt["stream_id"].as_str().unwrap().to_owned()
    };
    let owner = |number| if number % 2 == 0 { "Ada" } else { "Bob" };
    let open = |number| record("/accounts", json!({"owner": owner(number)}), 201);
    let ids: Vec<String> = (0..ACCOUNTS).map(open).collect();
    for round in 1..TRANSACTIONS {
        for (from, to) in ids.iter().zip(ids.iter().cycle().skip(1)) {
            record(&format!("/accounts/{from}/deposit"), json!({"amount": 10 * round}), 200);
            record("/transfers", json!({"from": from, "to": to, "amount": round}), 200);
        }
    }
    let all = format!("/position?min_position={head}&wait=30");
    wait_until("the read side has caught up", || system.queries().get(&all).status == 200);
    (system, ids, head)
}

/// A list as it is, read one by one.
struct Whole {
    /// Up to its parameters.
    target: String,
    name: &'static str,
    /// As its cursors name it.
    scope: Vec<String>,
    items: Vec<Value>,
    /// The one at `n` goes on at item `n + 1`.
    cursors: Vec<String>,
}

impl Whole {
    fn read(queries: &Client, target: String, name: &'static str, scope: &[&str]) -> Self {
        let (mut items, mut cursors) = (Vec::new(), Vec::new());
        let mut next = Some(format!("{target}limit=1"));
        while let Some(page) = next {
            let page = queries.get(&page).expect(200).json();
            items.extend(page[name].as_array().unwrap().iter().cloned());
            cursors.extend(page["next_cursor"].as_str().map(str::to_owned));
            next = page["next_cursor"].as_str().map(|cursor| format!("{target}limit=1&cursor={cursor}"));
        }
        assert_eq!(items.len(), cursors.len() + 1);
        let scope = scope.iter().map(|&part| part.to_owned()).collect();
        Self { target, name, scope, items, cursors }
    }

    fn ask(&self, wire: &mut Wire, limit: usize, cursor: &[u8]) -> Reply {
        wire.send("GET", &format!("{}limit={limit}&cursor={}", self.target, encoded(cursor)), &[], b"")
    }

    /// The answer to something that is no cursor unless it was given out for this list.
    fn refuses_all_but_its_own(&self, wire: &mut Wire, limit: usize, cursor: &[u8]) {
        let reply = self.ask(wire, limit, cursor);
        match self.cursors.iter().position(|own| own.as_bytes() == cursor) {
            Some(at) => self.shows_from(&reply.expect(200), limit, at + 1),
            None => assert_eq!(reply.expect(400).json()["parameter"], "cursor"),
        }
    }

    /// The answer to a cursor whose sum is right, wherever it leads.
    fn shows_only_itself(&self, wire: &mut Wire, limit: usize, position: u64) {
        let cursor = forged(&self.scope, position);
        let reply = self.ask(wire, limit, cursor.as_bytes());
        if reply.status == 400 {
            assert!(!self.cursors.contains(&cursor), "its own cursor is refused");
            assert_eq!(reply.json()["parameter"], "cursor");
            return;
        }
        let page = reply.json();
        let first = page[self.name].as_array().unwrap().first();
        let at = first.map_or(self.items.len(), |first| {
            self.items.iter().position(|item| item == first).expect("it is shown what is not in the list")
        });
        self.shows_from(&reply.expect(200), limit, at);
    }

    fn shows_from(&self, reply: &Reply, limit: usize, at: usize) {
        let (page, end) = (reply.json(), self.items.len().min(at + limit));
        assert_eq!(page[self.name].as_array().unwrap()[..], self.items[at..end], "{page}");
        let next = self.cursors.get(end.wrapping_sub(1)).filter(|_| at < end);
        assert_eq!(page["next_cursor"].as_str(), next.map(String::as_str), "{page}");
    }
}

fn encoded(bytes: &[u8]) -> String {
    bytes.iter().take(2_000).map(|byte| format!("%{byte:02X}")).collect()
}

/// A cursor to `position` of the list `scope`, written a second time: FNV-1a over the form, the parts
/// of the scope, each behind with a 0xff, and the position.
fn forged(scope: &[String], position: u64) -> String {
    let parts = std::iter::once("1").chain(scope.iter().map(String::as_str));
    let text = parts.flat_map(|part| part.bytes().chain([0xff]));
    let sum = fnv(text.chain(position.to_be_bytes()));
    format!("{position:016x}{sum:016x}")
}

fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn lists(queries: &Client, ids: &[String]) -> Vec<Whole> {
    let of = |target: &str, scope: &[&str]| Whole::read(queries, target.to_owned(), "accounts", scope);
    let mut lists = vec![
        of("/accounts?", &["accounts", "", "", "", ""]),
        of("/accounts?owner=Ada&", &["accounts", "=", "Ada", "", ""]),
        of("/accounts?status=open&owner=Bob&", &["accounts", "=", "Bob", "=", "open"]),
    ];
    for id in &ids[..2] {
        let target = format!("/accounts/{id}/transactions?");
        lists.push(Whole::read(queries, target, "transactions", &["transactions", id]));
    }
    lists
}

fn cursors(limit: Limit) {
    let (system, ids, head) = bank();
    let lists = lists(&system.queries(), &ids);
    let mut wire = Wire::to(system.read.address());
    let own = lists.iter().flat_map(|list| list.cursors.iter().map(|cursor| cursor.clone().into_bytes()));
    let seeds: Vec<_> = own.chain(corpus("cursors")).collect();
    fuzz_from("cursors", &seeds, limit, |bytes| {
        let mut random = Random::of(fnv(bytes.iter().copied()));
        let list = &lists[random.below(lists.len())];
        let page = 1 + random.below(12);
        list.refuses_all_but_its_own(&mut wire, page, bytes);
        let near = random.below(head as usize + 3) as u64;
        let position = if random.below(4) == 0 { EDGES[random.below(EDGES.len())] } else { near };
        list.shows_only_itself(&mut wire, page, position);
    });
}

#[test]
fn no_cursor_but_a_genuine_one_is_taken_and_none_shows_what_is_not_in_its_list() {
    cursors(Limit::Cases(2 * CASES));
}

#[test]
#[ignore = "slow suite: just fuzz"]
fn no_cursor_but_a_genuine_one_is_taken_and_none_shows_what_is_not_in_its_list_however_many_come() {
    cursors(Limit::of_environment());
}

/// Parameters, some of which each route has. `wait` comes with `min_position`, so that nothing waits.
const PARAMETERS: [&str; 8] =
    ["limit", "cursor", "min_position", "at_version", "as_of", "owner", "status", "other"];
/// Values that mean something to one of them.
const VALUES: [&str; 8] =
    ["Ada", "open", "3", "1000", "2026-01-31T12:00:00Z", "9999-12-31T23:59:59.9Z", "", "1e3"];

fn parameter(seeds: &[Vec<u8>], random: &mut Random) -> String {
    let name = PARAMETERS[random.below(PARAMETERS.len())];
    let value = match random.below(3) {
        0 => EDGES[random.below(EDGES.len())].to_string().into_bytes(),
        1 => seeds[random.below(seeds.len())].clone(),
        _ => mutated(seeds, random),
    };
    let wait = if name == "min_position" { "&wait=0" } else { "" };
    format!("{name}={}{wait}", encoded(&value))
}

/// An answer, or a refusal that names what is wrong; the service itself never fails.
fn is_answered(target: &str, reply: &Reply) {
    let asked_for_more = target.contains("min_position=");
    match reply.status {
        200 => assert!(reply.header("Event-Position").is_some(), "{target}: {reply:?}"),
        400 => assert_eq!(reply.problem(), "invalid-query", "{target}: {reply:?}"),
        404 => assert_eq!(reply.problem(), "account-not-found", "{target}: {reply:?}"),
        503 if asked_for_more => assert_eq!(reply.problem(), "read-model-behind", "{target}: {reply:?}"),
        _ => panic!("{target}: {reply:?}"),
    }
}

fn queries(limit: Limit) {
    let (system, ids, _) = bank();
    let mut wire = Wire::to(system.read.address());
    let seeds: Vec<_> =
        VALUES.iter().map(|value| value.as_bytes().to_vec()).chain(corpus("cursors")).collect();
    fuzz_from("queries", &seeds, limit, |bytes| {
        let mut random = Random::of(fnv(bytes.iter().copied()));
        let id = &ids[random.below(ids.len())];
        let path = |route: &Route<ReadSide>| route.pattern.replace("{id}", id);
        let queries = routes().iter().filter(|route| route.query.contains(&"min_position"));
        let paths: Vec<_> = queries.map(path).collect();
        let first = format!("{}={}", PARAMETERS[random.below(2)], encoded(bytes));
        let mut parameters: Vec<String> =
            (0..1 + random.below(2)).map(|_| parameter(&seeds, &mut random)).collect();
        if random.below(4) == 0 {
            parameters.push(first);
        }
        let target = format!("{}?{}", paths[random.below(paths.len())], parameters.join("&"));
        is_answered(&target, &wire.send("GET", &target, &[], b""));
    });
}

#[test]
fn no_parameter_makes_a_query_fail() {
    queries(Limit::Cases(5 * CASES));
}

#[test]
#[ignore = "slow suite: just fuzz"]
fn no_parameter_makes_a_query_fail_however_many_come() {
    queries(Limit::of_environment());
}
