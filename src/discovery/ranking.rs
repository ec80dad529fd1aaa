//! The order of several instances: the followed log before another, the longest copy first.
//!
//! A copy of a log, started to try a backup, has the log id of the original, answers as well as the original,
//! and is shorter. So instances are asked for their log. The registered metadata is as old as the
//! registration, and decides only which instances are asked first.
//!
//! **Invariant:** an instance with the followed log ranks before every other instance.
//!
//! Read next: `discovery/log_tip.rs`, the question.

use uuid::Uuid;

use super::base_url::BaseUrl;
use super::client::LiveInstance;
use super::log_tip::LogTip;

/// The metadata key under which a write side registers the id of its log.
pub const LOG_ID: &str = "log_id";

/// The number of instances asked for their log in one look-up, besides the current one. A hundred strangers
/// must not cost a hundred connections every few seconds.
const MAX_ASKED: usize = 8;

/// What is known of the log of an instance, best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LogMatch {
    /// The instance serves another log.
    OtherLog,
    /// The instance was not asked, or did not answer.
    Unknown,
    /// The instance serves the followed log, or any log while none is followed yet; its head.
    RightLog(u64),
}

/// A usable instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranked {
    pub(super) address: String,
    pub(super) log_match: LogMatch,
}

/// Returns the instances in order, best first; equal ones keep their order. `tips` asks addresses for their
/// logs, and is not called for a single instance.
pub(super) fn rank(
    instances: &[LiveInstance],
    followed: Option<Uuid>,
    current: Option<&str>,
    tips: impl Fn(&[BaseUrl]) -> Vec<Option<LogTip>>,
) -> Vec<Ranked> {
    let mut ranked: Vec<Ranked> = Vec::new();
    for url in by_claim(instances, followed) {
        let address = url.to_string();
        if !ranked.iter().any(|known| known.address == address) {
            ranked.push(Ranked { address, log_match: LogMatch::Unknown });
        }
    }
    // A single instance leaves no choice: no call is needed.
    if ranked.len() < 2 {
        return ranked;
    }
    let is_current = |ranked: &&mut Ranked| Some(ranked.address.as_str()) == current;
    let (in_use, mut others): (Vec<_>, Vec<_>) = ranked.iter_mut().partition(is_current);
    // Sorted by claim: the least likely instances are cut off.
    others.truncate(MAX_ASKED);
    // The current address comes last: logs grow, so an instance that is longer than the current one was
    // longer a moment earlier as well.
    for mut group in [others, in_use] {
        // Every address parses: each is the text of a `BaseUrl`. The answers of `tips` match by position.
        let urls: Vec<BaseUrl> = group.iter().filter_map(|ranked| ranked.address.parse().ok()).collect();
        for (ranked, tip) in group.iter_mut().zip(tips(&urls)) {
            ranked.log_match = log_match(tip, followed);
        }
    }
    ranked.sort_by_key(|ranked| std::cmp::Reverse(ranked.log_match));
    ranked
}

/// Returns the addresses of the instances: first the instances that claim the followed log, then the
/// instances without a claim, then the rest. Instances without a usable address are left out.
fn by_claim(instances: &[LiveInstance], followed: Option<Uuid>) -> Vec<BaseUrl> {
    let mut instances: Vec<&LiveInstance> = instances.iter().collect();
    instances.sort_by_key(|instance| match (instance.metadata.get(LOG_ID), followed) {
        // Before the first log is followed, all claims of a log count alike.
        (Some(_), None) => 0,
        (Some(claimed), Some(followed)) if *claimed == followed.to_string() => 0,
        (None, _) => 1,
        (Some(_), Some(_)) => 2,
    });
    instances.into_iter().filter_map(LiveInstance::base_url).collect()
}

fn log_match(tip: Option<LogTip>, followed: Option<Uuid>) -> LogMatch {
    match tip {
        None => LogMatch::Unknown,
        Some(tip) if followed.is_some_and(|followed| followed != tip.log_id) => LogMatch::OtherLog,
        Some(tip) => LogMatch::RightLog(tip.head),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    const OURS: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn instance(host: &str, claims: Option<Uuid>) -> LiveInstance {
        LiveInstance {
            instance_id: Uuid::nil(),
            name: "write".into(),
            host: host.into(),
            port: 1,
            metadata: claims.map(|id| (LOG_ID.to_owned(), id.to_string())).into_iter().collect(),
        }
    }

    /// Returns the ranking when the hosts answer with `logs`; other hosts do not answer.
    fn ranking(
        instances: &[LiveInstance],
        followed: Option<Uuid>,
        logs: &[(&str, Uuid, u64)],
    ) -> Vec<String> {
        let logs: BTreeMap<String, LogTip> = logs
            .iter()
            .map(|(host, log_id, head)| (format!("http://{host}:1"), LogTip { log_id: *log_id, head: *head }))
            .collect();
        let tips = |urls: &[BaseUrl]| urls.iter().map(|url| logs.get(&url.to_string()).copied()).collect();
        let ranked = rank(instances, followed, None, tips);
        ranked.into_iter().map(|ranked| ranked.address.replace("http://", "").replace(":1", "")).collect()
    }

    #[test]
    fn the_longest_of_several_copies_is_best_whatever_was_registered() {
        let instances = [instance("copy", Some(OURS)), instance("original", Some(OURS))];
        let logs = [("copy", OURS, 3), ("original", OURS, 7)];
        for followed in [None, Some(OURS)] {
            assert_eq!(ranking(&instances, followed, &logs), ["original", "copy"]);
        }
    }

    #[test]
    fn the_log_that_is_followed_is_better_than_a_longer_one() {
        let instances = [instance("longer", Some(OURS)), instance("right", None), instance("silent", None)];
        let logs = [("longer", OTHER, 70), ("right", OURS, 7)];
        assert_eq!(ranking(&instances, Some(OURS), &logs), ["right", "silent", "longer"]);
        assert_eq!(ranking(&instances, None, &logs), ["longer", "right", "silent"]);
    }

    #[test]
    fn strangers_do_not_keep_those_that_claim_the_log_from_being_asked() {
        let mut instances: Vec<_> = (0..100).map(|n| instance(&format!("stranger-{n}"), None)).collect();
        instances.push(instance("right", Some(OURS)));
        let asked = RefCell::new(0);
        let tips = |urls: &[BaseUrl]| {
            *asked.borrow_mut() += urls.len();
            let tip = |url: &BaseUrl| {
                (url.to_string() == "http://right:1").then_some(LogTip { log_id: OURS, head: 1 })
            };
            urls.iter().map(tip).collect()
        };
        assert_eq!(rank(&instances, Some(OURS), None, tips)[0].address, "http://right:1");
        assert_eq!(*asked.borrow(), MAX_ASKED);
    }

    #[test]
    fn the_address_in_use_is_asked_last_and_a_single_one_is_not_asked() {
        let asked = RefCell::new(Vec::new());
        let tips = |urls: &[BaseUrl]| {
            asked.borrow_mut().extend(urls.iter().map(ToString::to_string));
            vec![None; urls.len()]
        };
        rank(&[instance("a", None), instance("b", None)], None, Some("http://a:1"), tips);
        assert_eq!(*asked.borrow(), ["http://b:1", "http://a:1"]);
        rank(&[instance("a", None), instance("a", None), instance("0.0.0.0", None)], None, None, |_| {
            panic!("there is no choice")
        });
    }
}
