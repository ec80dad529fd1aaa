//! The rules that a scrape must keep, in the manner of `promtool check metrics`.
//!
//! A test of each service checks the answer of `/metrics`, so that a metric with a wrong name or without help
//! cannot land. Rules: <https://prometheus.io/docs/practices/naming/>.

use std::collections::{BTreeMap, BTreeSet};

/// Allowed last words of a name besides plurals: units without a plural, and places.
const SINGULAR_UNITS: [&str; 5] = ["ratio", "info", "position", "index", "in_flight"];

/// Forbidden units; base units (seconds, bytes, ratio) replace them.
const SCALED_UNITS: [&str; 12] = [
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "minutes",
    "hours",
    "days",
    "ms",
    "us",
    "kilobytes",
    "megabytes",
    "kib",
    "percent",
];

/// Returns the rules that a scrape in the Prometheus text format breaks.
pub(crate) fn broken_metric_rules(text: &str) -> Vec<String> {
    let mut lint = Lint::default();
    for line in text.lines() {
        lint.line(line);
    }
    if !text.is_empty() && !text.ends_with('\n') {
        lint.complain("the last line has no end");
    }
    lint.finish()
}

#[derive(Default)]
struct Lint<'a> {
    complaints: Vec<String>,
    help: BTreeMap<&'a str, &'a str>,
    types: BTreeMap<&'a str, &'a str>,
    series: BTreeSet<&'a str>,
    families: Vec<&'a str>,
    /// The last bucket of each histogram series, by its name and labels without `le`.
    buckets: BTreeMap<String, Bucket<'a>>,
    counts: BTreeMap<String, f64>,
}

struct Bucket<'a> {
    le: &'a str,
    count: f64,
}

impl<'a> Lint<'a> {
    fn complain(&mut self, complaint: impl Into<String>) {
        self.complaints.push(complaint.into());
    }

    fn line(&mut self, line: &'a str) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            if help.trim().is_empty() || self.help.insert(name, help).is_some() {
                self.complain(format!("{name}: its help is empty or given twice"));
            }
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, ""));
            if self.types.insert(name, kind).is_some() {
                self.complain(format!("{name}: its type is given twice"));
            }
            self.name(name, kind);
        } else if !line.starts_with('#') {
            self.sample(line);
        }
    }

    fn name(&mut self, name: &'a str, kind: &str) {
        let words: Vec<_> = name.split('_').collect();
        let good = |character: char| {
            character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_'
        };
        if !name.starts_with(|first: char| first.is_ascii_lowercase()) || !name.chars().all(good) {
            self.complain(format!("{name}: only a-z, 0-9 and _, beginning with a letter"));
        }
        if words.iter().any(|word| SCALED_UNITS.contains(word)) {
            self.complain(format!("{name}: show base units (seconds, bytes, ratio)"));
        }
        if (kind == "counter") != name.ends_with("_total") {
            self.complain(format!("{name}: counters, and they alone, end in _total"));
        }
        let ends_in_unit = SINGULAR_UNITS.iter().any(|unit| name.ends_with(unit));
        if kind != "counter" && !ends_in_unit && !name.ends_with('s') {
            self.complain(format!(
                "{name}: the name must end in a unit or in what is counted, in the plural"
            ));
        }
        if ["_count", "_sum", "_bucket"].iter().any(|suffix| name.ends_with(suffix)) {
            self.complain(format!("{name}: the ending is reserved for histograms"));
        }
        if !["counter", "gauge", "histogram"].contains(&kind) {
            self.complain(format!("{name}: the type {kind} is none that we use"));
        }
    }

    fn sample(&mut self, line: &'a str) {
        let Some((series, value)) = line.rsplit_once(' ') else {
            return self.complain(format!("no sample: {line}"));
        };
        let Ok(value) = value.parse::<f64>() else {
            return self.complain(format!("{series}: {value} is no number"));
        };
        if !self.series.insert(series) {
            self.complain(format!("{series}: shown twice"));
        }
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or(labels)),
            None => (series, ""),
        };
        let family = self.family_of(name);
        let kind = self.types.get(family).copied().unwrap_or_default();
        if kind.is_empty() || !self.help.contains_key(family) {
            self.complain(format!("{name}: HELP or TYPE is missing before it"));
        }
        if self.families.last() != Some(&family) {
            if self.families.contains(&family) {
                self.complain(format!("{family}: its series are not together"));
            }
            self.families.push(family);
        }
        match kind {
            "histogram" => self.histogram_sample(name, family, labels, value),
            "counter" if value < 0.0 => self.complain(format!("{series}: a counter below zero")),
            _ if labels.contains("le=\"") => self.complain(format!("{series}: le is for histograms")),
            _ => (),
        }
    }

    /// The family of a sample: of `x_bucket` it is `x` when that is a histogram.
    fn family_of(&self, name: &'a str) -> &'a str {
        let stem = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        stem.filter(|stem| self.types.get(stem) == Some(&"histogram")).unwrap_or(name)
    }

    fn histogram_sample(&mut self, name: &str, family: &str, labels: &'a str, value: f64) {
        if name.ends_with("_bucket") {
            let (others, le) = labels.rsplit_once("le=\"").unwrap_or((labels, ""));
            let le = le.trim_end_matches('"');
            let key = format!("{family}{{{}}}", others.trim_end_matches(','));
            let bound = le.parse::<f64>().ok();
            if let Some(before) = self.buckets.insert(key.clone(), Bucket { le, count: value }) {
                let rises = bound > before.le.parse::<f64>().ok() && value >= before.count;
                if !rises {
                    self.complain(format!("{key}: the bucket {le} does not follow {}", before.le));
                }
            }
        } else if name.ends_with("_count") {
            self.counts.insert(format!("{family}{{{labels}}}"), value);
        } else if !name.ends_with("_sum") {
            self.complain(format!("{name}: no part of a histogram"));
        }
    }

    fn finish(mut self) -> Vec<String> {
        for (key, Bucket { le, count }) in &self.buckets {
            if *le != "+Inf" || self.counts.get(key) != Some(count) {
                self.complaints.push(format!("{key}: its last bucket is not +Inf with the whole count"));
            }
        }
        for key in self.counts.keys().filter(|key| !self.buckets.contains_key(*key)) {
            self.complaints.push(format!("{key}: a histogram without buckets"));
        }
        for name in self.types.keys().filter(|name| !self.families.contains(name)) {
            self.complaints.push(format!("{name}: declared, but without any series"));
        }
        self.complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(name: &str, kind: &str, samples: &str) -> String {
        format!("# HELP {name} Words.\n# TYPE {name} {kind}\n{samples}")
    }

    #[test]
    fn a_good_scrape_is_good() {
        let text = declared("http_requests_total", "counter", "http_requests_total{route=\"/a b\"} 1\n")
            + &declared(
                "wait_seconds",
                "histogram",
                "wait_seconds_bucket{le=\"0.1\"} 1\nwait_seconds_bucket{le=\"+Inf\"} 2\nwait_seconds_sum 7\nwait_seconds_count 2\n",
            );
        assert_eq!(broken_metric_rules(&text), [""; 0]);
    }

    #[test]
    fn each_rule_refuses_what_breaks_it() {
        let cases = [
            ("HELP or TYPE", "threads 1\n".to_owned()),
            ("HELP or TYPE", "# TYPE threads gauge\nthreads 1\n".to_owned()),
            ("help is empty", "# HELP threads \n# TYPE threads gauge\nthreads 1\n".to_owned()),
            ("end in _total", declared("requests", "counter", "requests 1\n")),
            ("end in _total", declared("requests_total", "gauge", "requests_total 1\n")),
            ("base units", declared("wait_ms_total", "counter", "wait_ms_total 1\n")),
            ("end in a unit", declared("lag", "gauge", "lag 1\n")),
            ("only a-z", declared("Threads", "gauge", "Threads 1\n")),
            ("only a-z", declared("my-threads", "gauge", "my-threads 1\n")),
            ("shown twice", declared("threads", "gauge", "threads 1\nthreads 1\n")),
            ("is no number", declared("threads", "gauge", "threads many\n")),
            ("le is for", declared("threads", "gauge", "threads{le=\"1\"} 1\n")),
            ("without any series", declared("threads", "gauge", "")),
            ("no end", declared("threads", "gauge", "threads 1")),
            ("not +Inf", declared("a_bytes", "histogram", "a_bytes_bucket{le=\"1\"} 1\na_bytes_count 1\n")),
            (
                "not +Inf",
                declared("a_bytes", "histogram", "a_bytes_bucket{le=\"+Inf\"} 1\na_bytes_count 2\n"),
            ),
            (
                "does not follow",
                declared(
                    "a_bytes",
                    "histogram",
                    "a_bytes_bucket{le=\"1\"} 2\na_bytes_bucket{le=\"+Inf\"} 1\na_bytes_count 1\n",
                ),
            ),
            ("without buckets", declared("a_bytes", "histogram", "a_bytes_count 1\n")),
        ];
        for (expected, text) in cases {
            let complaints = broken_metric_rules(&text);
            assert!(
                complaints.iter().any(|complaint| complaint.contains(expected)),
                "{text} -> {complaints:?}"
            );
        }
    }

    #[test]
    fn the_series_of_a_family_stand_together() {
        let text = "# HELP as A.\n# TYPE as gauge\n# HELP bs B.\n# TYPE bs gauge\nas{x=\"1\"} 1\nbs 1\nas{x=\"2\"} 1\n";
        assert!(broken_metric_rules(text)[0].contains("not together"));
    }
}
