//! Clients of a bank: mixed commands, each with its idempotency key, sent again until answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tally::watch::Watch;
use uuid::Uuid;

use super::random::Random;
use crate::history::{History, Receipt};
use crate::support::{Client, DEADLINE, Reply};

/// Between two attempts at the same command.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// Accounts that are opened at first, so that clients meet on them.
const FIRST_ACCOUNTS: u64 = 12;

/// What all clients share: where the services are now, and which accounts there are.
#[derive(Debug)]
pub(super) struct Bank {
    /// Services move to other ports when they are started again.
    pub(super) commands: RwLock<Client>,
    pub(super) queries: RwLock<Client>,
    accounts: Mutex<Vec<String>>,
    /// How many commands were answered.
    answered: Watch,
    count: AtomicU64,
    pub(super) closing_time: AtomicBool,
}

/// What a client was told of one of its commands in the end.
#[derive(Debug)]
pub(super) struct Told {
    key: String,
    command: Command,
    answer: Result<Receipt, String>,
}

#[derive(Clone, Debug)]
struct Command {
    path: String,
    body: Value,
    event_types: &'static [&'static str],
}

impl Bank {
    pub(super) fn of(commands: Client, queries: Client) -> Self {
        Self {
            commands: RwLock::new(commands),
            queries: RwLock::new(queries),
            accounts: Mutex::new(Vec::new()),
            answered: Watch::at(0),
            count: AtomicU64::new(0),
            closing_time: AtomicBool::new(false),
        }
    }

    /// One client: command after command until closing time, the last one answered, too.
    pub(super) fn visit(&self, client: u64, mut random: Random) -> Vec<Told> {
        let mut told = Vec::new();
        while !self.closing_time.load(Ordering::Relaxed) {
            let key = format!("client-{client}-{}", told.len());
            let command = self.choose(&mut random);
            let answer = self.send_until_answered(&key, &command);
            if let Ok(receipt) = &answer {
                self.note_account(&command, receipt);
                if random.below(8) == 0 {
                    self.read_own_write(receipt);
                }
            }
            told.push(Told { key, command, answer });
            self.answered.raise(self.count.fetch_add(1, Ordering::Relaxed) + 1);
        }
        told
    }

    /// Waits until so many more commands were answered.
    pub(super) fn wait_for(&self, commands: u64) {
        let goal = self.answered.value() + commands;
        assert!(self.answered.wait_for(goal, DEADLINE) >= goal, "the bank stands still");
    }

    fn choose(&self, random: &mut Random) -> Command {
        let accounts = self.accounts.lock().unwrap().clone();
        if (accounts.len() as u64) < FIRST_ACCOUNTS || random.below(40) == 0 {
            return open(random);
        }
        let id = random.one_of(&accounts);
        let amount = 1 + random.below(1000);
        let on_account = |action: &str, body, event_types| Command {
            path: format!("/accounts/{id}/{action}"),
            body,
            event_types,
        };
        match random.below(100) {
            0..40 => on_account("deposit", json!({"amount": amount}), &["MoneyDeposited"]),
            40..65 => {
                let body = json!({"amount": amount, "description": format!("rent {amount}")});
                on_account("withdraw", body, &["MoneyWithdrawn"])
            }
            65..70 => on_account("close", json!({}), &["AccountClosed"]),
            // Somebody whom nobody knows.
            70..72 => Command {
                path: format!("/accounts/{}/deposit", Uuid::from_u128(random.below(1000).into())),
                body: json!({"amount": amount}),
                event_types: &["MoneyDeposited"],
            },
            _ => Command {
                path: "/transfers".into(),
                body: json!({"from": id, "to": random.one_of(&accounts), "amount": amount}),
                event_types: &["MoneyWithdrawn", "MoneyDeposited"],
            },
        }
    }

    fn send_until_answered(&self, key: &str, command: &Command) -> Result<Receipt, String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let client = self.commands.read().unwrap().clone();
            let reply = client.try_post(&command.path, &[("Idempotency-Key", key)], &command.body);
            match reply {
                Ok(reply) if matches!(reply.status, 200 | 201) => return Ok(Receipt::of(&reply.json())),
                Ok(reply) if matches!(reply.status, 404 | 409 | 422) => return Err(reply.problem()),
                Ok(Reply { status: 503, .. }) | Err(_) => {}
                Ok(other) => panic!("{key} {command:?}: {other:?}"),
            }
            assert!(Instant::now() < deadline, "{key} {command:?} is not answered");
            std::thread::park_timeout(RETRY_PAUSE);
        }
    }

    fn note_account(&self, command: &Command, receipt: &Receipt) {
        if command.path == "/accounts" {
            self.accounts.lock().unwrap().push(receipt.stream_id.clone());
        }
    }

    /// Who has a receipt finds what it says, or is told that the read side is not there yet.
    fn read_own_write(&self, receipt: &Receipt) {
        let client = self.queries.read().unwrap().clone();
        let query = format!("/accounts/{}?min_position={}&wait=1", receipt.stream_id, receipt.position);
        // The read side may be down just now; that is no lie.
        let Ok(reply) = client.try_get(&query) else { return };
        match reply.status {
            200 => {
                assert!(reply.json()["version"].as_u64() >= Some(receipt.version), "{query}: {reply:?}");
                let reached: u64 = reply.header("Event-Position").unwrap().parse().unwrap();
                assert!(reached >= receipt.position, "{query}: {reply:?}");
            }
            503 => {}
            _ => panic!("{query}: {reply:?}"),
        }
    }
}

fn open(random: &mut Random) -> Command {
    let mut body = json!({"owner": format!("Owner {}", random.below(100))});
    if random.below(4) == 0 {
        body["currency"] = "CHF".into();
    }
    Command { path: "/accounts".into(), body, event_types: &["AccountCreated"] }
}

/// Reads the feed while it grows, through every crash. Returns the events as they were shown.
pub(super) fn follow(bank: &Bank) -> Vec<Value> {
    let mut shown: Vec<Value> = Vec::new();
    while !bank.closing_time.load(Ordering::Relaxed) {
        let client = bank.commands.read().unwrap().clone();
        match client.try_get(&format!("/events?after={}&wait=0.2", shown.len())) {
            Ok(page) if page.status == 200 => {
                shown.extend_from_slice(page.json()["events"].as_array().unwrap())
            }
            Ok(Reply { status: 503, .. }) | Err(_) => std::thread::park_timeout(RETRY_PAUSE),
            Ok(other) => panic!("the feed answers {other:?}"),
        }
        assert!(shown.last().is_none_or(|last| last["position"] == shown.len()), "a gap in the feed");
    }
    shown
}

/// Checks every promise that was made to a client, and that nothing else has happened.
pub(super) fn check(told: &[Told], history: &History) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for Told { key, command, answer } in told {
        match answer {
            Ok(receipt) => {
                history.holds(key, receipt, command.event_types, command.body["amount"].as_u64());
            }
            Err(_) => history.holds_nothing_of(key),
        }
        let what = answer.as_ref().map_or_else(Clone::clone, |_| "acknowledged".to_owned());
        *counts.entry(what).or_default() += 1;
    }
    history.has_only(told.iter().filter(|told| told.answer.is_ok()).count());
    counts
}
