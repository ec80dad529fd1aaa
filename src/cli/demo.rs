//! `tally demo`: a narrated walk through the running services. Each step says why, shows the request as a curl
//! line that works, sends the same request, and shows the answer.
//!
//! **Invariant:** the curl line and the request have one source, [`Step`], so the walk cannot show one request
//! and send another.
//!
//! Read next: `write_side/routes.rs`, which answers.

use std::thread;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::failure::CommandFailure;
use super::services::{READ, SentHeader, WRITE, field};
use super::session::Session;
use super::terminal::harmless;
use crate::discovery::BaseUrl;

/// Reading speed: milliseconds for each character of a step, about 200 words a minute.
const MILLIS_PER_CHARACTER: u64 = 45;
/// Longest pause after a step.
const LONGEST_PAUSE: Duration = Duration::from_secs(12);
/// The longest answer that is shown, in characters.
const MAX_ANSWER: usize = 600;

/// One request of the walk.
struct Step<'s> {
    title: &'s str,
    why: &'s str,
    method: &'s str,
    url: &'s BaseUrl,
    path: String,
    headers: &'s [SentHeader<'s>],
    body: Option<String>,
}

/// Walks through the services.
pub(super) fn demo(session: &Session) -> Result<(), CommandFailure> {
    let (write, read) =
        (session.services.instances(WRITE)?.swap_remove(0), session.services.instances(READ)?.swap_remove(0));
    let guide = Guide { session, write, read, ada: Uuid::now_v7(), bob: Uuid::now_v7() };
    // The order of a day: write, be refused, read, look back.
    guide.commands()?;
    guide.refusals()?;
    guide.queries()?;
    guide.past()?;
    session
        .terminal
        .print("That was all of it. `tally events` shows the log, `tally --help` the other commands.\n")
}

struct Guide<'c> {
    session: &'c Session,
    write: BaseUrl,
    read: BaseUrl,
    ada: Uuid,
    bob: Uuid,
}

impl Guide<'_> {
    fn commands(&self) -> Result<(), CommandFailure> {
        let Self { ada, bob, .. } = self;
        self.post(
            "Open an account",
            "A command goes to the write side. It answers with a receipt and never with data: \
             where the fact was recorded, after it is on disk.",
            "/accounts",
            &[],
            &format!(r#"{{"account_id":"{ada}","owner":"Ada"}}"#),
        )?;
        self.post(
            "Open another one",
            "The client may choose the id, so it can name the account before it exists.",
            "/accounts",
            &[],
            &format!(r#"{{"account_id":"{bob}","owner":"Bob"}}"#),
        )?;
        // A new id is as good a key as any, and a second walk has another one.
        let key = self.ada.to_string();
        let deposit = r#"{"amount":5000}"#;
        let path = format!("/accounts/{ada}/deposit");
        let key = [("Idempotency-Key", key.as_str())];
        self.post(
            "Pay in 50.00 EUR",
            "Money is a whole number of cents. The key makes the request safe to repeat.",
            &path,
            &key,
            deposit,
        )?;
        self.post(
            "Pay in again, with the same key",
            "A client that has lost the answer sends the request again. The \
             receipt is the first one: nothing is recorded twice.",
            &path,
            &key,
            deposit,
        )?;
        self.post(
            "Move money",
            "A transfer is two events, both or neither, in one transaction.",
            "/transfers",
            &[],
            &format!(r#"{{"from":"{ada}","to":"{bob}","amount":1250}}"#),
        )
        .map(drop)
    }

    fn refusals(&self) -> Result<(), CommandFailure> {
        let path = format!("/accounts/{}/withdraw", self.ada);
        self.post(
            "Ask for too much",
            "The account itself decides, from its own events. A refusal records nothing and \
             says why.",
            &path,
            &[],
            r#"{"amount":99999}"#,
        )
        .map(drop)
    }

    fn queries(&self) -> Result<(), CommandFailure> {
        let receipt = self.post(
            "Pay out a little",
            "The receipt has the position of the event in the whole log.",
            &format!("/accounts/{}/withdraw", self.ada),
            &[],
            r#"{"amount":750}"#,
        )?;
        let position =
            field(&serde_json::from_str::<Value>(&receipt).unwrap_or_default(), "position").clone();
        self.get(
            "Read your own write",
            "Queries go to the read side, which follows the log a moment later. With \
             min_position it waits until it has the event of the receipt.",
            &self.read,
            format!("/accounts/{}?min_position={position}&wait=5", self.ada),
        )?;
        self.get(
            "Read the statement",
            "Another view of the same events, kept by another projection.",
            &self.read,
            format!("/accounts/{}/transactions?limit=2", self.ada),
        )
        .map(drop)
    }

    fn past(&self) -> Result<(), CommandFailure> {
        self.get(
            "Travel in time",
            "The events are kept, so each former state can be computed again: the account after \
             its second event.",
            &self.read,
            format!("/accounts/{}?at_version=2", self.ada),
        )?;
        self.get(
            "Look at the events",
            "The source of all of it: what happened, in order, each with the hash of \
             everything before.",
            &self.write,
            format!("/streams/{}/events?limit=2", self.ada),
        )?;
        self.get(
            "Follow the feed",
            "Any program can follow the log: it remembers one number, and asks for what comes \
             after. With wait=, the answer comes when there is news.",
            &self.write,
            "/events?after=0&limit=1&wait=1".to_owned(),
        )
        .map(drop)
    }

    fn post(
        &self,
        title: &str,
        why: &str,
        path: &str,
        headers: &[SentHeader<'_>],
        body: &str,
    ) -> Result<String, CommandFailure> {
        let (path, body) = (path.to_owned(), Some(body.to_owned()));
        self.walk(&Step { title, why, method: "POST", url: &self.write, path, headers, body })
    }

    fn get(&self, title: &str, why: &str, url: &BaseUrl, path: String) -> Result<String, CommandFailure> {
        self.walk(&Step { title, why, method: "GET", url, path, headers: &[], body: None })
    }

    /// Shows a step, sends its request, shows the answer, and gives the reader time. Returns the answer.
    fn walk(&self, step: &Step<'_>) -> Result<String, CommandFailure> {
        let terminal = self.session.terminal;
        let (heading, curl) = (terminal.heading(step.title), step.curl());
        terminal.print(&format!("{heading}\n{}\n\n  {curl}\n\n", step.why))?;
        let sent =
            self.session.services.send(step.method, step.url, &step.path, step.headers, step.body.as_deref());
        let (status, answer) = match sent {
            Ok(answer) => (answer.status, answer.body),
            // The walk has a refusal on purpose.
            Err(CommandFailure::Refused(refusal)) if refusal.status < 500 => {
                (refusal.status, refusal.document)
            }
            Err(failure) => return Err(failure),
        };
        // Long answers would push the explanation off the screen.
        let shown: String = harmless(answer.trim()).chars().take(MAX_ANSWER).collect();
        terminal.print(&format!("  {} {shown}\n\n", terminal.note(&status.to_string())))?;
        if !self.session.given.has("fast") {
            // The curl line is skimmed, so it counts half.
            let characters = (step.title.len() + step.why.len() + curl.len() / 2) as u64;
            thread::sleep(Duration::from_millis(characters * MILLIS_PER_CHARACTER).min(LONGEST_PAUSE));
        }
        Ok(answer)
    }
}

impl Step<'_> {
    /// Returns the request as a line for a shell. No part of a step has a single quote.
    fn curl(&self) -> String {
        let Self { url, path, headers, body, .. } = self;
        let mut line = format!("curl -s '{url}{path}'");
        for (name, value) in *headers {
            line += &format!(" -H '{name}: {value}'");
        }
        if let Some(body) = body {
            line += &format!(" -H 'Content-Type: application/json' -d '{body}'");
        }
        line
    }
}
