//! Where one service is, as far as is known.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{BaseUrl, Instance, RegistryClient};

/// Finds one service, and keeps its last known address while no registry answers or knows any.
///
/// The caller drives it: [`Discovered::refresh`] before the first use and now and then,
/// [`Discovered::failed`] when the service at an address did not answer.
#[derive(Debug)]
pub struct Discovered {
    name: String,
    client: RegistryClient,
    choice: Mutex<Choice>,
}

impl Discovered {
    /// Will find the service `name`; asks nobody yet.
    pub fn new(urls: Vec<BaseUrl>, name: &str) -> Self {
        Self { name: name.to_owned(), client: RegistryClient::new(urls), choice: Mutex::default() }
    }

    /// The address to use, such as `http://127.0.0.1:7001`; none until a look-up found one.
    pub fn address(&self) -> Option<String> {
        self.lock().current.clone()
    }

    /// Looks the service up again and returns the address to use. Blocks for 2 s for every registry
    /// at most. An address that still is live and has not failed is kept.
    pub fn refresh(&self) -> Option<String> {
        let found = self.client.instances(&self.name);
        let mut choice = self.lock();
        let before = (choice.current.clone(), choice.away);
        choice.away = found.is_err();
        if let Ok(instances) = &found {
            choice.update(instances.iter().map(Instance::base_url).collect());
            if choice.leads_nowhere() {
                self.client.ask_another_first();
            }
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
}

impl Choice {
    /// Takes over a look-up. An empty one changes nothing: a registry that was just restarted
    /// knows nobody yet, and an address that is really gone will fail by itself.
    fn update(&mut self, addresses: Vec<String>) {
        if addresses.is_empty() {
            return;
        }
        self.known = addresses;
        self.failed.retain(|address| self.known.contains(address));
        self.refused.retain(|address| self.known.contains(address));
        let keep = self.current.take().filter(|now| self.known.contains(now) && !self.failed.contains(now));
        self.current = keep.or_else(|| self.next());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(addresses: &[&str]) -> Choice {
        let mut choice = Choice::default();
        update(&mut choice, addresses);
        choice
    }

    fn update(choice: &mut Choice, addresses: &[&str]) {
        choice.update(addresses.iter().map(|&address| address.to_owned()).collect());
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
