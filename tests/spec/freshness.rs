//! How fresh an answer is: exactly as fresh as a client asks for, and not always without asking.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::json;

use crate::support::{Client, DEADLINE, System};

const CLIENTS: usize = 50;
/// Writes of each client that are read back with the position of their receipt.
const ROUNDS: u64 = 10;

#[test]
fn fifty_clients_that_ask_for_their_own_writes_never_get_a_stale_answer_and_others_sometimes_do() {
    let system = System::start();
    let stale = AtomicU64::new(0);
    let everybody_asked = AtomicU64::new(0);
    let deadline = Instant::now() + DEADLINE;
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let customer = Customer::of(&system);
                (0..ROUNDS).for_each(|_| customer.writes_and_reads_with_the_position());
                everybody_asked.fetch_add(1, Ordering::Relaxed);
                // Until somebody has seen the past; it takes a moment, not a minute.
                while stale.load(Ordering::Relaxed) == 0 && Instant::now() < deadline {
                    stale.fetch_add(customer.writes_and_reads_without(), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(everybody_asked.load(Ordering::Relaxed), CLIENTS as u64);
    assert!(
        stale.load(Ordering::Relaxed) > 0,
        "the read side was never behind: what does the wait wait for?"
    );
}

/// A client with an account of its own.
struct Customer {
    commands: Client,
    queries: Client,
    id: String,
}

impl Customer {
    fn of(system: &System) -> Self {
        let commands = system.commands();
        let receipt = commands.post("/accounts", &json!({"owner": "Ada"})).expect(201).json();
        let id = receipt["stream_id"].as_str().unwrap().to_owned();
        Self { commands, queries: system.queries(), id }
    }

    /// Version and position of a new deposit.
    fn deposits(&self) -> (u64, u64) {
        let path = format!("/accounts/{}/deposit", self.id);
        let receipt = self.commands.post(&path, &json!({"amount": 1})).expect(200).json();
        (receipt["version"].as_u64().unwrap(), receipt["position"].as_u64().unwrap())
    }

    fn writes_and_reads_with_the_position(&self) {
        let (version, position) = self.deposits();
        let path = format!("/accounts/{}?min_position={position}&wait=30", self.id);
        let reply = self.queries.get(&path).expect(200);
        let reached: u64 = reply.header("Event-Position").unwrap().parse().unwrap();
        assert!(reached >= position, "asked for {position}, answered at {reached}");
        let account = reply.json();
        assert_eq!((&account["version"], &account["balance"]), (&json!(version), &json!(version - 1)));
    }

    /// 1 when the answer was older than the receipt.
    fn writes_and_reads_without(&self) -> u64 {
        let (version, _) = self.deposits();
        let account = self.queries.get(&format!("/accounts/{}", self.id)).expect(200).json();
        u64::from(account["version"].as_u64().unwrap() < version)
    }
}
