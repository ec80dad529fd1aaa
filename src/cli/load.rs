//! `tally load`: a bank on tap, so that there is something to watch. Opens accounts and moves money at a rate.
//!
//! ```text
//! worker threads ── take the next number, wait for its moment, send ──► write side
//!        └──► Tally of the second ──► the caller's thread prints a line a second, and a summary
//! ```
//!
//! **Invariant:** the rate is an upper bound. A write side that is slower gets at most one request from each
//! worker at a time, and no backlog builds up in this process.
//!
//! Read next: `services.rs`, which sends.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::failure::CommandFailure;
use super::services::WRITE;
use super::session::Session;
use super::terminal::remark;
use crate::discovery::BaseUrl;
use crate::lock::lock;

/// Requests a second: more would measure the machine, which `cargo bench` does better.
const MAX_RATE: u64 = 500;
/// An hour.
const MAX_SECONDS: u64 = 3_600;
const DEFAULT_RATE: u64 = 20;
const DEFAULT_SECONDS: u64 = 10;
/// Requests at the same time. At the highest rate each worker has 32 ms for a request.
const WORKERS: u64 = 16;
/// Accounts that are opened before the first second.
const FIRST_ACCOUNTS: usize = 10;
/// Most accounts that money is moved between; later ones are opened and left alone.
const MAX_ACCOUNTS: usize = 1_000;
/// Minor units of the first deposit. Small, so that some withdrawals are refused.
const FIRST_DEPOSIT: u64 = 1_000;

/// The steps of latencies: 20 µs each, up to a second. Sums of steps need no list of all answers.
const STEP_MICROS: usize = 20;
const STEPS: usize = 50_000;

/// What happened in one second, or in all.
#[derive(Debug)]
struct Counted {
    /// Answers by their latency, in steps of [`STEP_MICROS`]; the last step counts all longer ones.
    answers: Vec<u64>,
    refused: u64,
    failed: u64,
}

impl Counted {
    fn none() -> Self {
        Self { answers: vec![0; STEPS], refused: 0, failed: 0 }
    }

    fn add(&mut self, other: &Self) {
        self.answers.iter_mut().zip(&other.answers).for_each(|(sum, count)| *sum += count);
        (self.refused, self.failed) = (self.refused + other.refused, self.failed + other.failed);
    }

    fn answered(&self) -> u64 {
        self.answers.iter().sum()
    }

    /// Returns the latency within which `percent` of the answers came, in milliseconds; 0 without an answer.
    fn percentile(&self, percent: u64) -> f64 {
        let mut left = (self.answered() * percent).div_ceil(100);
        let step = self.answers.iter().position(|count| {
            left = left.saturating_sub(*count);
            left == 0
        });
        step.map_or(0.0, |step| (step * STEP_MICROS) as f64 / 1_000.0)
    }
}

/// The state that the workers share.
struct Load<'c> {
    session: &'c Session,
    url: BaseUrl,
    /// The number of the next request.
    next: AtomicU64,
    requests: u64,
    interval: Duration,
    start: Instant,
    accounts: Mutex<Vec<Uuid>>,
    counted: Mutex<Counted>,
    last_failure: Mutex<Option<String>>,
}

/// Sends commands at a rate for a while.
pub(super) fn load(session: &Session) -> Result<(), CommandFailure> {
    let rate = session.given.number("rate", &(1..=MAX_RATE))?.unwrap_or(DEFAULT_RATE);
    let seconds = session.given.number("seconds", &(1..=MAX_SECONDS))?.unwrap_or(DEFAULT_SECONDS);
    let url = session.services.instances(WRITE)?.swap_remove(0);
    let mut accounts = Vec::new();
    for number in 0..FIRST_ACCOUNTS {
        // The first refusal or failure ends the command: the rest would fail as well.
        accounts.push(open(session, &url, number)?);
    }
    let load = Load {
        session,
        url,
        next: AtomicU64::new(0),
        requests: rate * seconds,
        // A rate from 1 to 500 divides a second into whole microseconds, nearly.
        interval: Duration::from_secs(1) / u32::try_from(rate).unwrap_or(1),
        start: Instant::now(),
        accounts: Mutex::new(accounts),
        counted: Mutex::new(Counted::none()),
        last_failure: Mutex::default(),
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS.min(rate)).map(|_| scope.spawn(|| load.work())).collect();
        let reported = load.report(|| workers.iter().all(thread::ScopedJoinHandle::is_finished));
        // A closed pipe ends the workers after the requests in flight.
        load.next.store(load.requests, Ordering::Relaxed);
        reported
    })
}

/// Opens an account with money, and returns its id.
fn open(session: &Session, url: &BaseUrl, number: usize) -> Result<Uuid, CommandFailure> {
    // Pioneers, to tell the accounts apart.
    const OWNERS: [&str; 5] = ["Ada", "Grace", "Edsger", "Barbara", "Donald"];
    let id = Uuid::now_v7();
    let body = format!(r#"{{"owner":"{}","account_id":"{id}"}}"#, OWNERS[number % OWNERS.len()]);
    session.services.send("POST", url, "/accounts", &[], Some(&body))?;
    let body = format!(r#"{{"amount":{FIRST_DEPOSIT}}}"#);
    session.services.send("POST", url, &format!("/accounts/{id}/deposit"), &[], Some(&body))?;
    Ok(id)
}

impl Load<'_> {
    fn work(&self) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.requests {
                return;
            }
            // From the start, not from the last request: a slow answer does not lower the rate.
            let due = self.interval * u32::try_from(number).unwrap_or(u32::MAX);
            thread::sleep(due.saturating_sub(self.start.elapsed()));
            let (begin, sent) = (Instant::now(), self.send(number));
            let micros = usize::try_from(begin.elapsed().as_micros()).unwrap_or(usize::MAX);
            let step = (micros / STEP_MICROS).min(STEPS - 1);
            // After the answer: no worker waits for the lock while a request is on its way.
            let mut counted = lock(&self.counted);
            match sent {
                Ok(()) => counted.answers[step] += 1,
                Err(CommandFailure::Refused(refusal)) if refusal.status < 500 => {
                    counted.answers[step] += 1;
                    counted.refused += 1;
                }
                Err(failure) => {
                    counted.failed += 1;
                    *lock(&self.last_failure) = Some(match failure {
                        CommandFailure::Refused(refusal) => refusal.detail,
                        CommandFailure::Failed(what) | CommandFailure::Usage(what) => what,
                        CommandFailure::ClosedPipe => String::new(),
                    });
                }
            }
        }
    }

    /// Sends the request of that number: one in ten opens an account, the others move money.
    fn send(&self, number: u64) -> Result<(), CommandFailure> {
        let index = usize::try_from(number).unwrap_or(0);
        let (from, to) = {
            let accounts = lock(&self.accounts);
            // Two strides without a common factor: each pair of neighbours comes around.
            (accounts[index * 7 % accounts.len()], accounts[(index * 7 + 1) % accounts.len()])
        };
        let amount = number % 97 + 1;
        let (path, body) = match number % 10 {
            0 => {
                let id = open(self.session, &self.url, index)?;
                let mut accounts = lock(&self.accounts);
                if accounts.len() < MAX_ACCOUNTS {
                    accounts.push(id);
                }
                return Ok(());
            }
            // Less is paid in than out, so the balances fall and some withdrawals are refused.
            1..=3 => (format!("/accounts/{from}/deposit"), format!(r#"{{"amount":{amount}}}"#)),
            4..=6 => (format!("/accounts/{from}/withdraw"), format!(r#"{{"amount":{}}}"#, amount * 8)),
            _ => ("/transfers".to_owned(), format!(r#"{{"from":"{from}","to":"{to}","amount":{amount}}}"#)),
        };
        self.session.services.send("POST", &self.url, &path, &[], Some(&body))?;
        Ok(())
    }

    /// Prints a line a second until `is_done`, and the summary.
    fn report(&self, is_done: impl Fn() -> bool) -> Result<(), CommandFailure> {
        let mut all = Counted::none();
        let mut second = 0;
        loop {
            second += 1;
            while self.start.elapsed() < Duration::from_secs(second) && !is_done() {
                // A short sleep, so that the summary does not wait for the end of the second.
                thread::sleep(Duration::from_millis(20));
            }
            let is_last = is_done();
            // Taken out, so that the workers count the next second meanwhile.
            let counted = std::mem::replace(&mut *lock(&self.counted), Counted::none());
            self.print(&format!("second {second}"), 1.0, &counted)?;
            all.add(&counted);
            if is_last {
                break;
            }
        }
        let seconds = self.start.elapsed().as_secs_f64();
        self.print("all", seconds, &all)?;
        match (all.failed, lock(&self.last_failure).take()) {
            (0, _) | (_, None) => Ok(()),
            (failed, Some(last)) => {
                remark(&format!("{failed} requests failed; the last one: {last}"));
                if all.answered() == 0 {
                    Err(CommandFailure::failed("no request was answered"))
                } else {
                    Ok(())
                }
            }
        }
    }

    fn print(&self, what: &str, seconds: f64, counted: &Counted) -> Result<(), CommandFailure> {
        let Counted { refused, failed, .. } = counted;
        let [p50, p99] = [50, 99].map(|percent| counted.percentile(percent));
        let answered = counted.answered();
        let rate = answered as f64 / seconds.max(0.001);
        self.session.terminal.print(&if self.session.terminal.is_json {
            format!(
                "{{\"what\":\"{what}\",\"answered\":{answered},\"per_second\":{rate:.0},\"p50_ms\":{p50},\
                 \"p99_ms\":{p99},\"refused\":{refused},\"failed\":{failed}}}\n"
            )
        } else {
            format!(
                "{what:<10}  {answered:>6} answered  {rate:>5.0}/s  p50 {p50:>7.2} ms  p99 {p99:>7.2} ms  \
                 {refused} refused  {failed} failed\n"
            )
        })
    }
}
