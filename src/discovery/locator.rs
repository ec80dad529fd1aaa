//! The address of one service, from the registries and from the answers of its instances.
//!
//! **Invariant:** an address that works is kept. A failure or an instance with a longer log makes the
//! locator switch; an empty or failed look-up does not.
//!
//! Read next: `discovery/ranking.rs`, the order of the instances.

use std::sync::{Mutex, MutexGuard};

use uuid::Uuid;

use super::base_url::BaseUrl;
use super::client::{DiscoveryError, RegistryClient};
use super::log_tip::log_tips;
use super::ranking::{LogMatch, Ranked, rank};
use crate::lock::lock;

/// Locates one service, and keeps the last known address while registries are unreachable or empty.
///
/// The caller drives the locator: [`Locator::refresh`] before the first use and periodically,
/// [`Locator::mark_down`] when an address did not answer.
#[derive(Debug)]
pub struct Locator {
    name: String,
    client: RegistryClient,
    choice: Mutex<Choice>,
    /// The fixed address; registries are not asked.
    pinned: Option<BaseUrl>,
}

impl Locator {
    /// Returns a locator for the service `name`. Sends no request yet.
    pub fn new(urls: Vec<BaseUrl>, name: &str) -> Self {
        let client = RegistryClient::new(urls);
        Self { name: name.to_owned(), client, choice: Mutex::default(), pinned: None }
    }

    /// Returns a locator that always answers `address` and asks no registry.
    pub fn pinned(address: BaseUrl, name: &str) -> Self {
        Self { pinned: Some(address), ..Self::new(Vec::new(), name) }
    }

    /// Returns the address to use, such as `http://127.0.0.1:7001`, or `None` before the first successful
    /// look-up.
    pub fn address(&self) -> Option<String> {
        match &self.pinned {
            Some(address) => Some(address.to_string()),
            None => self.lock().current.clone(),
        }
    }

    /// Returns why the service was not found, with the addresses of the registries.
    pub fn absence(&self) -> String {
        let asked: Vec<String> = self.client.urls().map(ToString::to_string).collect();
        let (name, asked) = (&self.name, asked.join(", "));
        let choice = self.lock();
        match &choice.away {
            Some(error) => format!("no registry answers (asked {asked}): {error}"),
            None if choice.has_answer => {
                format!("no registry knows a service named {name:?} (asked {asked})")
            }
            None => format!("no registry has answered yet (asked {asked})"),
        }
    }

    /// Looks the service up again and returns the address to use. Blocks for 2 s per unreachable registry,
    /// and for 4 s at most while instances report their logs.
    ///
    /// The best instance serves the longest copy of the log `followed`. The locator switches to the
    /// best instance when the current address failed, left the registry, or serves another or a shorter log.
    pub fn refresh(&self, followed: Option<Uuid>) -> Option<String> {
        if self.pinned.is_some() {
            return self.address();
        }
        // The lock is not held during the calls: queries and health reports read the address meanwhile.
        let found = self.client.instances(&self.name);
        let current = self.lock().current.clone();
        let found = found.map(|instances| rank(&instances, followed, current.as_deref(), log_tips));
        self.apply(found)
    }

    fn apply(&self, found: Result<Vec<Ranked>, DiscoveryError>) -> Option<String> {
        let mut choice = self.lock();
        let before = (choice.current.clone(), choice.away.is_some());
        choice.away = found.as_ref().err().cloned();
        if let Ok(instances) = &found {
            choice.has_answer = true;
            choice.update(instances);
            if choice.is_stuck() {
                // This registry lists dead addresses; the next registry may list the live ones.
                self.client.ask_another_first();
            }
            self.report_rivals(&mut choice, instances);
        }
        match (&found, &choice.current) {
            // One warning per outage, not per look-up.
            (Err(error), _) if !before.1 => log::warn!("{error}; keeping the last known address"),
            (Ok(_), Some(address)) if before.0 != choice.current => {
                log::info!("found {} at {address}", self.name);
            }
            (Ok(_) | Err(_), _) => {}
        }
        choice.current.clone()
    }

    /// Warns once when several instances serve the followed log: all but one are copies.
    fn report_rivals(&self, choice: &mut Choice, found: &[Ranked]) {
        let logs = found.iter().filter_map(|ranked| match ranked.log_match {
            LogMatch::RightLog(head) => Some(format!("{} up to {head}", ranked.address)),
            LogMatch::Unknown | LogMatch::OtherLog => None,
        });
        let logs: Vec<String> = logs.collect();
        // Remembered, to warn once per contest.
        let was_contested = std::mem::replace(&mut choice.contested, logs.len() > 1);
        if choice.contested && !was_contested {
            let current = choice.current.as_deref().unwrap_or("none");
            log::warn!(
                "{} instances of {} have a log that could be followed ({}); following {current}, the longest that \
                 continues what was read. Stop the copies",
                logs.len(),
                self.name,
                logs.join(", ")
            );
        }
    }

    /// Records that `address` did not answer. The locator switches to another instance if one is known.
    pub fn mark_down(&self, address: &str) {
        self.lock().mark_down(address);
    }

    /// Records that `address` answers again. A rejected address stays rejected.
    pub fn mark_up(&self, address: &str) {
        self.lock().mark_up(address);
    }

    /// Records that `address` answers with the wrong log. The locator switches to another instance if one is
    /// known.
    pub fn mark_rejected(&self, address: &str) {
        self.lock().mark_rejected(address);
    }

    /// Records that the current address serves the right log, and clears earlier marks of the address.
    pub fn mark_trusted(&self) {
        self.lock().mark_trusted();
    }

    fn lock(&self) -> MutexGuard<'_, Choice> {
        // After a panic inside, at worst an address is tried once more.
        lock(&self.choice)
    }
}

/// The known addresses of the service, and the current one.
#[derive(Debug, Default)]
struct Choice {
    /// The addresses of the last look-up that found any, best first.
    known: Vec<String>,
    /// The known addresses that failed or were rejected, the latest last.
    failed: Vec<String>,
    /// The known addresses with the wrong log: a successful reply does not restore them.
    rejected: Vec<String>,
    current: Option<String>,
    /// Why every registry failed in the last look-up.
    away: Option<DiscoveryError>,
    /// Whether any look-up was answered.
    has_answer: bool,
    /// Whether several instances serve the followed log.
    contested: bool,
}

impl Choice {
    /// Replaces the known addresses by those of a look-up, best first.
    fn update(&mut self, found: &[Ranked]) {
        // A registry that restarted knows no instance yet. A dead address fails on its next use.
        if found.is_empty() {
            return;
        }
        self.known = found.iter().map(|ranked| ranked.address.clone()).collect();
        // Forgets marks of unlisted addresses: a new process on a reused port starts without marks.
        self.failed.retain(|address| self.known.contains(address));
        self.rejected.retain(|address| self.known.contains(address));
        let best = found.iter().find(|ranked| !self.failed.contains(&ranked.address));
        let kept = found.iter().find(|ranked| self.current.as_ref() == Some(&ranked.address));
        let kept = kept.filter(|now| !self.failed.contains(&now.address));
        let is_kept =
            kept.is_some_and(|now| best.is_none_or(|best| !is_better(best.log_match, now.log_match)));
        if !is_kept {
            self.current = self.next();
        }
    }

    fn mark_down(&mut self, address: &str) {
        // Removed and pushed again: `next` retries the address that failed longest ago.
        self.failed.retain(|failed| failed != address);
        if self.known.iter().any(|known| known == address) {
            self.failed.push(address.to_owned());
        }
        if self.current.as_deref() == Some(address) {
            self.current = self.next();
        }
    }

    fn mark_up(&mut self, address: &str) {
        // A reply proves that the address is up, not that its log is right.
        if !self.rejected.iter().any(|rejected| rejected == address) {
            self.failed.retain(|failed| failed != address);
        }
    }

    fn mark_rejected(&mut self, address: &str) {
        self.rejected.retain(|rejected| rejected != address);
        if self.known.iter().any(|known| known == address) {
            // Rejected addresses also count as failed, below: `next` and `is_stuck` read one list.
            self.rejected.push(address.to_owned());
        }
        self.mark_down(address);
    }

    fn mark_trusted(&mut self) {
        let Self { failed, rejected, current, .. } = self;
        for marked in [failed, rejected] {
            marked.retain(|address| current.as_ref() != Some(address));
        }
    }

    /// Whether every known address has failed: the current address is then a failed one.
    fn is_stuck(&self) -> bool {
        self.current.as_ref().is_some_and(|address| self.failed.contains(address))
    }

    /// Returns the best address without a failure, else the address that failed longest ago.
    fn next(&self) -> Option<String> {
        let fresh = self.known.iter().find(|address| !self.failed.contains(address));
        fresh.or_else(|| self.failed.first()).cloned()
    }
}

/// Whether to leave a working instance for the best instance: the best serves the followed log, the current
/// a shorter or another log.
fn is_better(best: LogMatch, now: LogMatch) -> bool {
    match (best, now) {
        (LogMatch::RightLog(longest), LogMatch::RightLog(length)) => longest > length,
        (LogMatch::RightLog(_), LogMatch::OtherLog) => true,
        // An instance that was slow to report its log once is not left.
        (LogMatch::RightLog(_), LogMatch::Unknown) | (LogMatch::Unknown | LogMatch::OtherLog, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(addresses: &[&str]) -> Choice {
        let mut choice = Choice::default();
        update(&mut choice, addresses);
        choice
    }

    fn update(choice: &mut Choice, addresses: &[&str]) {
        let unknown = |address: &&str| ranked(address, LogMatch::Unknown);
        choice.update(&addresses.iter().map(unknown).collect::<Vec<_>>());
    }

    fn ranked(address: &str, log_match: LogMatch) -> Ranked {
        Ranked { address: address.to_owned(), log_match }
    }

    #[test]
    fn a_longer_log_is_worth_leaving_the_address_in_use_and_an_equal_one_is_not() {
        let mut choice = choice(&["copy"]);
        let log = |address, head| ranked(address, LogMatch::RightLog(head));
        choice.update(&[log("copy", 3), log("original", 3)]);
        assert_eq!(choice.current.as_deref(), Some("copy"));
        choice.update(&[log("original", 4), log("copy", 3)]);
        assert_eq!(choice.current.as_deref(), Some("original"));
        choice.update(&[log("copy", 3), ranked("original", LogMatch::Unknown)]);
        assert_eq!(choice.current.as_deref(), Some("original"), "it only did not answer in time");
    }

    #[test]
    fn a_longer_log_that_was_refused_is_not_used_again_while_another_works() {
        let mut choice = choice(&["liar", "right"]);
        choice.mark_rejected("liar");
        assert_eq!(choice.current.as_deref(), Some("right"));
        let log = |address, head| ranked(address, LogMatch::RightLog(head));
        choice.update(&[log("liar", 9), log("right", 3)]);
        assert_eq!(choice.current.as_deref(), Some("right"));
    }

    #[test]
    fn another_log_is_left_for_the_one_that_is_followed() {
        let mut choice = choice(&["other"]);
        choice.update(&[ranked("right", LogMatch::RightLog(0)), ranked("other", LogMatch::OtherLog)]);
        assert_eq!(choice.current.as_deref(), Some("right"));
    }

    #[test]
    fn a_pinned_address_is_used_whatever_happens() {
        let pinned = Locator::pinned("http://a:1".parse().unwrap(), "write");
        pinned.mark_down("http://a:1");
        pinned.mark_rejected("http://a:1");
        assert_eq!(pinned.refresh(None).as_deref(), Some("http://a:1"));
    }

    #[test]
    fn the_address_is_kept_as_long_as_it_is_live_and_answers() {
        let mut choice = choice(&["a", "b"]);
        assert_eq!(choice.current.as_deref(), Some("a"));
        update(&mut choice, &["c", "b", "a"]);
        assert_eq!(choice.current.as_deref(), Some("a"));
        update(&mut choice, &["c", "b"]);
        assert_eq!(choice.current.as_deref(), Some("c"));
    }

    #[test]
    fn an_empty_look_up_leaves_the_last_known_address() {
        let mut choice = choice(&["a"]);
        update(&mut choice, &[]);
        assert_eq!(choice.current.as_deref(), Some("a"));
    }

    #[test]
    fn after_a_failure_each_other_instance_has_its_turn() {
        let mut choice = choice(&["a", "b", "c"]);
        let mut tried = Vec::new();
        for _ in 0..6 {
            let address = choice.current.clone().unwrap();
            choice.mark_down(&address);
            update(&mut choice, &["a", "b", "c"]);
            tried.push(address);
        }
        assert_eq!(tried, ["a", "b", "c", "a", "b", "c"]);
    }

    #[test]
    fn the_only_instance_is_tried_again_and_a_new_one_first() {
        let mut choice = choice(&["a"]);
        choice.mark_down("a");
        assert_eq!(choice.current.as_deref(), Some("a"));
        update(&mut choice, &["a", "new"]);
        assert_eq!(choice.current.as_deref(), Some("new"));
    }

    #[test]
    fn an_address_that_answers_again_leads_somewhere() {
        let locator = Locator::new(Vec::new(), "write");
        update(&mut locator.lock(), &["a", "b"]);
        locator.mark_down("a");
        locator.mark_down("b");
        assert_eq!((locator.address().as_deref(), locator.lock().is_stuck()), (Some("a"), true));
        locator.mark_up("a");
        assert!(!locator.lock().is_stuck());
    }

    #[test]
    fn an_address_that_was_refused_gives_way_also_after_it_failed_and_answered_again() {
        let mut choice = choice(&["wrong"]);
        choice.mark_rejected("wrong");
        choice.mark_down("wrong");
        choice.mark_up("wrong");
        update(&mut choice, &["wrong"]);
        assert_eq!((choice.current.as_deref(), choice.is_stuck()), (Some("wrong"), true));
        update(&mut choice, &["wrong", "right"]);
        assert_eq!((choice.current.as_deref(), choice.is_stuck()), (Some("right"), false));
    }

    #[test]
    fn an_address_that_was_refused_once_and_is_right_is_as_good_as_before() {
        let mut choice = choice(&["a"]);
        choice.mark_rejected("a");
        choice.mark_trusted();
        assert!(!choice.is_stuck());
        update(&mut choice, &["new", "a"]);
        assert_eq!(choice.current.as_deref(), Some("a"));
        choice.mark_down("a");
        choice.mark_up("a");
        assert!(choice.failed.is_empty());
    }

    #[test]
    fn the_failure_of_an_address_no_longer_used_changes_nothing() {
        let mut choice = choice(&["a", "b"]);
        choice.mark_down("b");
        assert_eq!(choice.current.as_deref(), Some("a"));
    }
}
