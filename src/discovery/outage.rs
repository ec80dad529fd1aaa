//! The level at which the absence of a registry is logged, each reason once.
//!
//! **Invariant:** a service that starts before its registry warns only when the wait lasts: any order of
//! starts is healthy.
//!
//! Read next: `discovery/heartbeat.rs`, which logs.

use std::time::{Duration, Instant};

use log::Level;

/// How long a registry may be absent at the start without a warning, in seconds: one default TTL.
const PATIENCE: Duration = Duration::from_secs(6);
/// Reasons of one outage that are logged, at most: reasons that alternate would fill the log.
const MAX_REASONS: usize = 8;

/// The outage of one registry. A new value stands for a registry that was not asked yet.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// The time of the first failure since the last answer.
    begun: Option<Instant>,
    /// The reasons that were logged since the last answer.
    reasons: Vec<String>,
    /// Whether the registry has ever answered.
    was_there: bool,
    has_warned: bool,
}

impl Outage {
    /// Records a failure, and returns the level at which to log the failure, unless the log has the reason
    /// already.
    pub(super) fn record(&mut self, reason: &str, now: Instant) -> Option<Level> {
        let begun = *self.begun.get_or_insert(now);
        let is_serious = self.was_there || now.duration_since(begun) >= PATIENCE;
        let is_new = !self.reasons.iter().any(|known| known == reason) && self.reasons.len() < MAX_REASONS;
        // The first warning repeats a reason that was logged as a mere wait.
        if !is_new && (self.has_warned || !is_serious) {
            return None;
        }
        if is_new {
            self.reasons.push(reason.to_owned());
        }
        self.has_warned |= is_serious;
        Some(if is_serious { Level::Warn } else { Level::Info })
    }

    /// Records an answer: the outage is over.
    pub(super) fn end(&mut self) {
        *self = Self { was_there: true, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_starts_late_is_waited_for_and_a_warning_comes_when_the_wait_lasts() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        assert_eq!(outage.record("refused", start), Some(Level::Info));
        assert_eq!(outage.record("refused", start + PATIENCE / 2), None);
        assert_eq!(outage.record("refused", start + PATIENCE), Some(Level::Warn));
        assert_eq!(outage.record("refused", start + PATIENCE * 9), None);
        assert_eq!(outage.record("503", start + PATIENCE * 9), Some(Level::Warn));
    }

    #[test]
    fn a_registry_that_was_there_is_missed_at_once_and_each_reason_is_told_once() {
        let (mut outage, now) = (Outage::default(), Instant::now());
        outage.end();
        assert_eq!(outage.record("refused", now), Some(Level::Warn));
        assert_eq!(outage.record("refused", now), None);
        assert_eq!(outage.record("not resolvable", now), Some(Level::Warn));
        assert_eq!(outage.record("refused", now), None);
        outage.end();
        assert_eq!(outage.record("refused", now), Some(Level::Warn));
    }

    #[test]
    fn ever_new_reasons_do_not_fill_the_log() {
        let (mut outage, now) = (Outage::default(), Instant::now());
        let logged = (0..1_000).filter(|reason| outage.record(&reason.to_string(), now).is_some());
        assert_eq!(logged.count(), MAX_REASONS);
    }
}
