//! What must be true of any history, checked from outside by rules written a second time.
//!
//! The feed is replayed by a model that shares no code with the services; then it is compared with
//! the receipts that clients hold, and with every answer of the read side.
//!
//! **Invariant:** nothing here trusts a service. What it says twice must agree, and what it says
//! once must follow from the rules of the contract.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::support::{Client, wait_for};

const MAX_BALANCE: u64 = 9_007_199_254_740_991;

/// The whole feed, and what it adds up to.
#[derive(Debug, Default)]
pub(crate) struct History {
    events: Vec<Value>,
    /// The hash of the last event.
    hash: [u8; 32],
    accounts: BTreeMap<String, Account>,
    /// Positions of the events of each command, by its idempotency key.
    commands: BTreeMap<String, Vec<u64>>,
}

/// A page of the feed with each event as the text that it is.
#[derive(Deserialize)]
struct Page<'p> {
    #[serde(borrow)]
    events: Vec<&'p RawValue>,
    head: u64,
}

/// The parts of an event that are hashed as the text that they are.
#[derive(Deserialize)]
struct Texts<'e> {
    #[serde(borrow)]
    data: &'e RawValue,
    #[serde(borrow)]
    metadata: &'e RawValue,
}

/// An account as the model knows it.
#[derive(Debug)]
struct Account {
    version: u64,
    balance: u64,
    /// What `GET /accounts/{id}` must answer.
    view: Value,
    /// What its statement must list, oldest first.
    statement: Vec<Value>,
}

/// A success that a client was told of.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    pub(crate) stream_id: String,
    pub(crate) version: u64,
    pub(crate) position: u64,
}

impl Receipt {
    pub(crate) fn of(json: &Value) -> Self {
        Self {
            stream_id: json["stream_id"].as_str().unwrap().to_owned(),
            version: json["version"].as_u64().unwrap(),
            position: json["position"].as_u64().unwrap(),
        }
    }
}

impl History {
    /// Reads the feed to its end and checks each event against all before it.
    pub(crate) fn read(write_side: &Client) -> Self {
        let mut history = Self::default();
        loop {
            let query = format!("/events?after={}&limit=10000", history.head());
            let reply = write_side.get(&query).expect(200);
            let page: Page<'_> = serde_json::from_str(reply.text()).unwrap();
            page.events.iter().for_each(|event| history.append(event.get()));
            if page.events.is_empty() {
                assert_eq!(page.head, history.head(), "the head is the last event's position");
                return history.checked_to_its_end();
            }
        }
    }

    /// Position of the last event.
    pub(crate) fn head(&self) -> u64 {
        self.events.len() as u64
    }

    fn append(&mut self, text: &str) {
        let position = self.head() + 1;
        let event: Value = serde_json::from_str(text).unwrap();
        assert_eq!(event["position"], position, "positions are dense: {event}");
        self.hash = chained(self.hash, &event, text);
        assert_eq!(event["hash"], hexadecimal(&self.hash), "the hash covers all that was before: {event}");
        let event = &event;
        if let Some(before) = self.events.last() {
            let time = |event: &Value| event["recorded_at"].as_str().unwrap().to_owned();
            assert!(time(before) <= time(event), "time goes back at {event}");
        }
        if let Some(key) = event["metadata"]["causation_id"].as_str() {
            self.commands.entry(key.to_owned()).or_default().push(position);
        }
        let id = event["stream_id"].as_str().unwrap().to_owned();
        match (event["type"].as_str().unwrap(), self.accounts.get_mut(&id)) {
            ("AccountCreated", None) => {
                self.accounts.insert(id, Account::opened(event));
            }
            ("AccountCreated", Some(_)) => panic!("opened twice: {event}"),
            (_, None) => panic!("not opened: {event}"),
            (_, Some(account)) => account.apply(event),
        }
        self.events.push(event.clone());
    }

    /// The rules about two events: each transfer has two halves, one behind the other.
    fn checked_to_its_end(self) -> Self {
        let mut halves = self.events.iter().filter(|event| event["data"].get("transfer_id").is_some());
        while let Some(out) = halves.next() {
            let into = halves.next().unwrap_or_else(|| panic!("half a transfer: {out}"));
            let kinds = (out["type"].as_str().unwrap(), into["type"].as_str().unwrap());
            assert_eq!(kinds, ("MoneyWithdrawn", "MoneyDeposited"), "{out} {into}");
            assert_eq!(out["position"].as_u64().unwrap() + 1, into["position"].as_u64().unwrap());
            // Amount, currency, description and transfer id.
            assert_eq!((&out["data"], &out["metadata"]), (&into["data"], &into["metadata"]));
            assert_ne!(out["stream_id"], into["stream_id"]);
        }
        self
    }

    /// Checks that the feed had shown these events before, in this form, at these positions.
    pub(crate) fn begins_with(&self, shown: &[Value]) {
        for (before, now) in shown.iter().zip(&self.events) {
            assert_eq!(before, now, "what the feed has shown never changes");
        }
        assert!(shown.len() <= self.events.len(), "events that were shown are gone");
    }

    /// Checks that a success is recorded, exactly once and as its receipt says.
    pub(crate) fn holds(&self, key: &str, receipt: &Receipt, event_types: &[&str], amount: Option<u64>) {
        let positions = self.commands.get(key).map_or(&[][..], Vec::as_slice);
        let events: Vec<_> = positions.iter().map(|position| &self.events[*position as usize - 1]).collect();
        let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(types, event_types, "{key} was promised to be recorded once: {receipt:?}");
        assert_eq!(positions.last(), Some(&receipt.position), "{key}: {receipt:?}");
        let named = events[0];
        let (stream_id, version) = (named["stream_id"].as_str().unwrap(), named["version"].as_u64().unwrap());
        assert_eq!((stream_id, version), (receipt.stream_id.as_str(), receipt.version), "{key}: {named}");
        for event in events {
            assert_eq!(event["data"]["amount"].as_u64(), amount, "{key}: {event}");
        }
    }

    /// Checks that nothing was recorded for a refused command.
    pub(crate) fn holds_nothing_of(&self, key: &str) {
        assert_eq!(self.commands.get(key), None, "{key} was refused");
    }

    /// Checks that there are no events but those of so many commands with keys.
    pub(crate) fn has_only(&self, commands: usize) {
        assert_eq!(self.commands.len(), commands, "commands that nobody was told of were recorded");
        assert_eq!(self.commands.values().map(Vec::len).sum::<usize>(), self.events.len());
    }

    /// Checks every answer of the read side, once it has come to the end.
    pub(crate) fn is_answered_by(&self, read_side: &Client) {
        wait_for("the read side has come to the end", || {
            let position =
                read_side.try_get(&format!("/position?min_position={}&wait=30", self.head())).ok()?;
            (position.status == 200 && position.json()["position"] == self.head()).then_some(())
        });
        for (id, account) in &self.accounts {
            assert_eq!(read_side.get(&format!("/accounts/{id}")).expect(200).json(), account.view);
            let statement = all(read_side, &format!("/accounts/{id}/transactions"), "transactions");
            assert!(statement.iter().eq(account.statement.iter().rev()), "the statement of {id}");
        }
        let listed = all(read_side, "/accounts", "accounts");
        let listed: BTreeMap<_, _> =
            listed.iter().map(|view| (view["account_id"].as_str().unwrap(), view)).collect();
        let views = self.accounts.iter().map(|(id, account)| (id.as_str(), &account.view));
        assert!(listed.into_iter().eq(views), "the list of accounts");
        assert_eq!(read_side.get("/summary").expect(200).json(), self.summary());
    }

    fn summary(&self) -> Value {
        let mut currencies: BTreeMap<&str, [u64; 5]> = BTreeMap::new();
        for account in self.accounts.values() {
            let [accounts, open, _, _, held] =
                currencies.entry(account.view["currency"].as_str().unwrap()).or_default();
            *accounts += 1;
            *open += u64::from(account.view["status"] == "open");
            *held += account.balance;
        }
        for event in &self.events {
            let Some(amount) = event["data"]["amount"].as_u64() else { continue };
            let [_, _, deposited, withdrawn, _] =
                currencies.get_mut(event["data"]["currency"].as_str().unwrap()).unwrap();
            *(if event["type"] == "MoneyDeposited" { deposited } else { withdrawn }) += amount;
        }
        let currency = |(currency, [accounts, open, deposited, withdrawn, held]): (&str, [u64; 5])| {
            assert_eq!(deposited - withdrawn, held, "money is conserved");
            json!({"currency": currency, "accounts": accounts, "open_accounts": open,
                   "deposited": deposited.to_string(), "withdrawn": withdrawn.to_string(), "held": held.to_string()})
        };
        json!({"currencies": currencies.into_iter().map(currency).collect::<Vec<_>>()})
    }
}

impl Account {
    fn opened(event: &Value) -> Self {
        assert_eq!(event["version"], 1, "versions are dense: {event}");
        let view = json!({
            "account_id": event["stream_id"], "owner": event["data"]["owner"],
            "currency": event["data"]["currency"], "balance": 0, "status": "open", "version": 1,
            "opened_at": event["recorded_at"], "updated_at": event["recorded_at"],
        });
        let mut account = Self { version: 1, balance: 0, view, statement: Vec::new() };
        account.note(event, "opened");
        account
    }

    fn apply(&mut self, event: &Value) {
        self.version += 1;
        assert_eq!(event["version"], self.version, "versions are dense: {event}");
        assert_eq!(self.view["status"], "open", "nothing happens to a closed account: {event}");
        let transfer = event["data"].get("transfer_id").is_some();
        let amount = event["data"]["amount"].as_u64();
        let kind = match (event["type"].as_str().unwrap(), amount) {
            ("MoneyDeposited", Some(amount)) => {
                self.balance += amount;
                if transfer { "transfer-in" } else { "deposit" }
            }
            ("MoneyWithdrawn", Some(amount)) => {
                let left = self.balance.checked_sub(amount);
                self.balance = left.unwrap_or_else(|| panic!("a negative balance: {event}"));
                if transfer { "transfer-out" } else { "withdrawal" }
            }
            ("AccountClosed", None) => {
                assert_eq!(self.balance, 0, "closed with money in it: {event}");
                self.view["status"] = "closed".into();
                "closed"
            }
            _ => panic!("an unknown event: {event}"),
        };
        assert!(self.balance <= MAX_BALANCE && amount != Some(0), "{event}");
        assert!(amount.is_none() || event["data"]["currency"] == self.view["currency"], "{event}");
        self.note(event, kind);
    }

    fn note(&mut self, event: &Value, kind: &str) {
        for (field, value) in [
            ("balance", json!(self.balance)),
            ("version", json!(self.version)),
            ("updated_at", event["recorded_at"].clone()),
        ] {
            self.view[field] = value;
        }
        self.statement.push(json!({
            "position": event["position"], "version": self.version, "kind": kind,
            "amount": event["data"]["amount"].as_u64().unwrap_or(0), "balance": self.balance,
            "description": event["data"]["description"], "transfer_id": event["data"]["transfer_id"],
            "recorded_at": event["recorded_at"],
        }));
    }
}

/// SHA-256 over the hash before and every field, numbers as eight bytes big-endian, texts behind their
/// length.
fn chained(before: [u8; 32], event: &Value, text: &str) -> [u8; 32] {
    let Texts { data, metadata } = serde_json::from_str(text).unwrap();
    let named = |name: &str| event[name].as_str().unwrap();
    let number = |name: &str| event[name].as_u64().unwrap().to_be_bytes().to_vec();
    let id = |name: &str| Uuid::parse_str(named(name)).unwrap().as_bytes().to_vec();
    let text = |text: &str| [&(text.len() as u64).to_be_bytes(), text.as_bytes()].concat();
    let parts = [
        before.to_vec(),
        number("position"),
        id("event_id"),
        id("stream_id"),
        number("version"),
        number("schema_version"),
        text(named("stream_type")),
        text(named("type")),
        text(data.get()),
        text(metadata.get()),
        text(named("recorded_at")),
    ];
    Sha256::digest(parts.concat()).into()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All items of a list, page by page.
fn all(read_side: &Client, path: &str, list: &str) -> Vec<Value> {
    let (mut items, mut next) = (Vec::new(), Some(format!("{path}?limit=1000")));
    while let Some(target) = next {
        let page = read_side.get(&target).expect(200).json();
        items.extend(page[list].as_array().unwrap().iter().cloned());
        next = page["next_cursor"].as_str().map(|cursor| format!("{path}?limit=1000&cursor={cursor}"));
    }
    items
}
