//! Where one service is, as far as is known.

use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::ranking::{Ranked, Standing, rank};
use super::{BaseUrl, DiscoveryError, RegistryClient, log_tips};

/// Finds one service, and keeps its last known address while no registry answers or knows any.
///
/// The caller drives it: [`Discovered::refresh`] before the first use and now and then,
/// [`Discovered::failed`] when the service at an address did not answer.
#[derive(Debug)]
pub struct Discovered {
    name: String,
    client: RegistryClient,
    choice: Mutex<Choice>,
    /// The only address, whatever registries say.
    pinned: Option<BaseUrl>,
}

impl Discovered {
    /// Will find the service `name`; asks nobody yet.
    pub fn new(urls: Vec<BaseUrl>, name: &str) -> Self {
        let client = RegistryClient::new(urls);
        Self { name: name.to_owned(), client, choice: Mutex::default(), pinned: None }
    }

    /// Returns the service `name` at that address for ever, and asks no registry.
    pub fn pinned(address: BaseUrl, name: &str) -> Self {
        Self { pinned: Some(address), ..Self::new(Vec::new(), name) }
    }

    /// The address to use, such as `http://127.0.0.1:7001`; none until a look-up found one.
    pub fn address(&self) -> Option<String> {
        match &self.pinned {
            Some(address) => Some(address.to_string()),
            None => self.lock().current.clone(),
        }
    }

    /// Looks the service up again and returns the address to use. Blocks for 2 s for every registry
    /// that is away or silent. An address that still is live and has not failed is kept.
    ///
    /// Several instances are asked which log they serve, for 4 s at most: the best serves the log
    /// `followed`, and the longest. It is used instead of one that serves another or a shorter log.
    pub fn refresh(&self, followed: Option<Uuid>) -> Option<String> {
        if self.pinned.is_some() {
            return self.address();
        }
        let found = self.client.instances(&self.name);
        let current = self.lock().current.clone();
        let found = found.map(|instances| rank(&instances, followed, current.as_deref(), log_tips));
        self.take(found)
    }

    fn take(&self, found: Result<Vec<Ranked>, DiscoveryError>) -> Option<String> {
        let mut choice = self.lock();
        let before = (choice.current.clone(), choice.away);
        choice.away = found.is_err();
        if let Ok(instances) = &found {
            choice.update(instances);
            if choice.leads_nowhere() {
                self.client.ask_another_first();
            }
            self.report_rivals(&mut choice, instances);
        }
        match (&found, &choice.current) {
            (Err(error), _) if !before.1 => log::warn!("{error}; going on with what is known"),
            (Ok(_), Some(address)) if before.0 != choice.current => {
                log::info!("found {} at {address}", self.name);
            }
            (Ok(_) | Err(_), _) => {}
        }
        choice.current.clone()
    }

    /// Says in the log when several instances have logs that could be followed: at most one is the
    /// original.
    fn report_rivals(&self, choice: &mut Choice, found: &[Ranked]) {
        let logs = found.iter().filter_map(|ranked| match ranked.standing {
            Standing::RightLog(head) => Some(format!("{} up to {head}", ranked.address)),
            Standing::Unknown | Standing::OtherLog => None,
        });
        let logs: Vec<String> = logs.collect();
        let was_contested = std::mem::replace(&mut choice.contested, logs.len() > 1);
        if choice.contested && !was_contested {
            let current = choice.current.as_deref().unwrap_or("none");
            log::warn!(
                "{} instances of {} have a log that could be followed ({}); following {current}, the longest that \
                 continues what was read. Stop those that are copies",
                logs.len(),
                self.name,
                logs.join(", ")
            );
        }
    }

    /// Says that the service at `address` did not answer: the next address is that of another
    /// instance, where there is one.
    pub fn failed(&self, address: &str) {
        self.lock().failed(address);
    }

    /// Says that the service at `address` answers again. One that was refused stays refused.
    pub fn answered(&self, address: &str) {
        self.lock().answered(address);
    }

    /// Says that the service at `address` is not the one that is looked for, though it answers: the
    /// next address is that of another instance, where there is one.
    pub fn refused(&self, address: &str) {
        self.lock().refused(address);
    }

    /// Says that what the address in use answers is right, whatever was said before.
    pub fn is_right(&self) {
        self.lock().is_right();
    }

    /// A poisoned lock is no danger here: at worst an address is tried once more.
    fn lock(&self) -> MutexGuard<'_, Choice> {
        self.choice.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of several addresses to use.
#[derive(Debug, Default)]
struct Choice {
    /// What the last look-up that found any had found, best first.
    known: Vec<String>,
    /// Those of them that failed or were refused, the latest last.
    failed: Vec<String>,
    /// Those of them that were refused: to answer is no merit of theirs.
    refused: Vec<String>,
    current: Option<String>,
    /// Whether no registry answered the last look-up.
    away: bool,
    /// Whether several instances could be used by what they answer.
    contested: bool,
}

impl Choice {
    /// Takes over a look-up, best first. An empty one changes nothing: a registry that was just
    /// restarted knows nobody yet, and an address that is really gone will fail by itself.
    fn update(&mut self, found: &[Ranked]) {
        if found.is_empty() {
            return;
        }
        self.known = found.iter().map(|ranked| ranked.address.clone()).collect();
        self.failed.retain(|address| self.known.contains(address));
        self.refused.retain(|address| self.known.contains(address));
        let best = found.iter().find(|ranked| !self.failed.contains(&ranked.address));
        let kept = found.iter().find(|ranked| self.current.as_ref() == Some(&ranked.address));
        let kept = kept.filter(|now| !self.failed.contains(&now.address));
        let is_kept = kept.is_some_and(|now| best.is_none_or(|best| !is_better(best.standing, now.standing)));
        if !is_kept {
            self.current = self.next();
        }
    }

    fn failed(&mut self, address: &str) {
        self.failed.retain(|failed| failed != address);
        if self.known.iter().any(|known| known == address) {
            self.failed.push(address.to_owned());
        }
        if self.current.as_deref() == Some(address) {
            self.current = self.next();
        }
    }

    fn answered(&mut self, address: &str) {
        if !self.refused.iter().any(|refused| refused == address) {
            self.failed.retain(|failed| failed != address);
        }
    }

    fn refused(&mut self, address: &str) {
        self.refused.retain(|refused| refused != address);
        if self.known.iter().any(|known| known == address) {
            self.refused.push(address.to_owned());
        }
        self.failed(address);
    }

    fn is_right(&mut self) {
        let Self { failed, refused, current, .. } = self;
        for marked in [failed, refused] {
            marked.retain(|address| current.as_ref() != Some(address));
        }
    }

    /// Whether the address in use has failed. It is in use then for want of a better one: each that
    /// is known has failed.
    fn leads_nowhere(&self) -> bool {
        self.current.as_ref().is_some_and(|address| self.failed.contains(address))
    }

    /// The best address that never failed, else the one that failed longest ago.
    fn next(&self) -> Option<String> {
        let fresh = self.known.iter().find(|address| !self.failed.contains(address));
        fresh.or_else(|| self.failed.first()).cloned()
    }
}

/// Whether an instance is worth leaving one that works: it serves the right log, and the other one a
/// shorter or another one. An instance that only did not answer this time is not left.
fn is_better(best: Standing, now: Standing) -> bool {
    match (best, now) {
        (Standing::RightLog(longest), Standing::RightLog(length)) => longest > length,
        (Standing::RightLog(_), Standing::OtherLog) => true,
        (Standing::RightLog(_), Standing::Unknown) | (Standing::Unknown | Standing::OtherLog, _) => false,
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
        let unknown = |address: &&str| ranked(address, Standing::Unknown);
        choice.update(&addresses.iter().map(unknown).collect::<Vec<_>>());
    }

    fn ranked(address: &str, standing: Standing) -> Ranked {
        Ranked { address: address.to_owned(), standing }
    }

    #[test]
    fn a_longer_log_is_worth_leaving_the_address_in_use_and_an_equal_one_is_not() {
        let mut choice = choice(&["copy"]);
        let log = |address, head| ranked(address, Standing::RightLog(head));
        choice.update(&[log("copy", 3), log("original", 3)]);
        assert_eq!(choice.current.as_deref(), Some("copy"));
        choice.update(&[log("original", 4), log("copy", 3)]);
        assert_eq!(choice.current.as_deref(), Some("original"));
        choice.update(&[log("copy", 3), ranked("original", Standing::Unknown)]);
        assert_eq!(choice.current.as_deref(), Some("original"), "it only did not answer in time");
    }

    #[test]
    fn a_longer_log_that_was_refused_is_not_used_again_while_another_works() {
        let mut choice = choice(&["liar", "right"]);
        choice.refused("liar");
        assert_eq!(choice.current.as_deref(), Some("right"));
        let log = |address, head| ranked(address, Standing::RightLog(head));
        choice.update(&[log("liar", 9), log("right", 3)]);
        assert_eq!(choice.current.as_deref(), Some("right"));
    }

    #[test]
    fn another_log_is_left_for_the_one_that_is_followed() {
        let mut choice = choice(&["other"]);
        choice.update(&[ranked("right", Standing::RightLog(0)), ranked("other", Standing::OtherLog)]);
        assert_eq!(choice.current.as_deref(), Some("right"));
    }

    #[test]
    fn a_pinned_address_is_used_whatever_happens() {
        let pinned = Discovered::pinned("http://a:1".parse().unwrap(), "write");
        pinned.failed("http://a:1");
        pinned.refused("http://a:1");
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
            choice.failed(&address);
            update(&mut choice, &["a", "b", "c"]);
            tried.push(address);
        }
        assert_eq!(tried, ["a", "b", "c", "a", "b", "c"]);
    }

    #[test]
    fn the_only_instance_is_tried_again_and_a_new_one_first() {
        let mut choice = choice(&["a"]);
        choice.failed("a");
        assert_eq!(choice.current.as_deref(), Some("a"));
        update(&mut choice, &["a", "new"]);
        assert_eq!(choice.current.as_deref(), Some("new"));
    }

    #[test]
    fn an_address_that_answers_again_leads_somewhere() {
        let discovered = Discovered::new(Vec::new(), "write");
        update(&mut discovered.lock(), &["a", "b"]);
        discovered.failed("a");
        discovered.failed("b");
        assert_eq!((discovered.address().as_deref(), discovered.lock().leads_nowhere()), (Some("a"), true));
        discovered.answered("a");
        assert!(!discovered.lock().leads_nowhere());
    }

    #[test]
    fn an_address_that_was_refused_gives_way_also_after_it_failed_and_answered_again() {
        let mut choice = choice(&["wrong"]);
        choice.refused("wrong");
        choice.failed("wrong");
        choice.answered("wrong");
        update(&mut choice, &["wrong"]);
        assert_eq!((choice.current.as_deref(), choice.leads_nowhere()), (Some("wrong"), true));
        update(&mut choice, &["wrong", "right"]);
        assert_eq!((choice.current.as_deref(), choice.leads_nowhere()), (Some("right"), false));
    }

    #[test]
    fn an_address_that_was_refused_once_and_is_right_is_as_good_as_before() {
        let mut choice = choice(&["a"]);
        choice.refused("a");
        choice.is_right();
        assert!(!choice.leads_nowhere());
        update(&mut choice, &["new", "a"]);
        assert_eq!(choice.current.as_deref(), Some("a"));
        choice.failed("a");
        choice.answered("a");
        assert!(choice.failed.is_empty());
    }

    #[test]
    fn the_failure_of_an_address_no_longer_used_changes_nothing() {
        let mut choice = choice(&["a", "b"]);
        choice.failed("b");
        assert_eq!(choice.current.as_deref(), Some("a"));
    }
}
