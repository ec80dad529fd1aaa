//! Instances in the form of Prometheus' HTTP service discovery.
//!
//! <https://prometheus.io/docs/prometheus/latest/http_sd/>
//!
//! **Invariant:** each label name is one that Prometheus accepts, and no two entries of one instance's
//! metadata share a label.
//!
//! Read next: `registry/routes.rs`.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::instance::Instance;

/// The prefix of labels that relabelling reads and Prometheus then drops.
const META: &str = "__meta_tally_";

/// An entry of the answer: one address, and its labels.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct ScrapeTarget {
    targets: [String; 1],
    labels: BTreeMap<String, String>,
}

impl ScrapeTarget {
    /// Returns the target of an instance.
    pub(super) fn of(instance: &Instance) -> Self {
        let mut target = Self::at(instance.authority(), &instance.name, instance.instance_id);
        // Keys that are label names already go first, and keep their names.
        let (plain, others): (Vec<_>, Vec<_>) =
            instance.metadata.iter().partition(|(key, _)| label_part(key) == **key);
        for (key, value) in plain.into_iter().chain(others) {
            let label = target.free_label(&label_part(key));
            target.labels.insert(label, value.clone());
        }
        target
    }

    /// Returns the target of a service without metadata.
    pub(super) fn at(authority: String, service: &str, instance_id: Uuid) -> Self {
        let labels = BTreeMap::from([
            (format!("{META}service"), service.to_owned()),
            (format!("{META}instance_id"), instance_id.to_string()),
        ]);
        Self { targets: [authority], labels }
    }

    /// Returns the label of a metadata entry: `a_b`, and `a_b_2` for the second key that becomes `a_b`.
    fn free_label(&self, part: &str) -> String {
        let first = format!("{META}metadata_{part}");
        let numbered = (2..).map(|number| format!("{first}_{number}"));
        let mut names = std::iter::once(first.clone()).chain(numbered);
        // An instance has 16 entries at most, so the search is short.
        names.find(|name| !self.labels.contains_key(name)).unwrap_or_default()
    }
}

/// Returns a key with `_` for each character that a label name may not have.
fn label_part(key: &str) -> String {
    let allowed = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    key.chars().map(allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registration;
    use crate::time::Timestamp;

    fn target(host: &str, metadata: &[(&str, &str)]) -> ScrapeTarget {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let registration = Registration {
            instance_id: Uuid::nil(),
            name: "write".to_owned(),
            host: host.to_owned(),
            port: 7001,
            metadata: metadata.iter().map(own).collect(),
        };
        ScrapeTarget::of(&registration.into_instance(Timestamp::MIN))
    }

    #[test]
    fn an_address_is_one_that_prometheus_can_scrape() {
        for (host, address) in
            [("::1", "[::1]:7001"), ("10.0.0.7", "10.0.0.7:7001"), ("bank.example", "bank.example:7001")]
        {
            assert_eq!(target(host, &[]).targets, [address]);
        }
    }

    #[test]
    fn keys_of_metadata_become_label_names_without_a_loss() {
        let found = target(
            "::1",
            &[("a-b", "1"), ("a.b", "2"), ("a_b", "3"), ("a_b_2", "4"), ("ä", "5"), ("0", "6"), ("Z", "7")],
        );
        let labels: BTreeMap<_, _> = found.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        let expected = BTreeMap::from([
            ("__meta_tally_instance_id", "00000000-0000-0000-0000-000000000000"),
            ("__meta_tally_metadata_0", "6"),
            ("__meta_tally_metadata_Z", "7"),
            ("__meta_tally_metadata__", "5"),
            ("__meta_tally_metadata_a_b", "3"),
            ("__meta_tally_metadata_a_b_2", "4"),
            ("__meta_tally_metadata_a_b_3", "1"),
            ("__meta_tally_metadata_a_b_4", "2"),
            ("__meta_tally_service", "write"),
        ]);
        assert_eq!(labels, expected);
    }
}
