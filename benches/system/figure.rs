//! What is measured, what it is measured against, and how both are shown.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// One row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// The same in each run, to compare runs by.
    pub(crate) id: String,
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: Unit,
    pub(crate) limit: Option<Limit>,
    pub(crate) target: Option<Target>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    PerSecond,
    Seconds,
    Bytes,
}

/// What the machine could do at best, measured in the same run, in the figure's unit.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub(crate) what: String,
    pub(crate) value: f64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// Of the figure to its limit.
    RatioAtLeast(f64),
    RatioAtMost(f64),
    /// Of the figure itself, in its unit.
    AtLeast(f64),
    Below(f64),
}

impl Figure {
    pub(crate) fn new(id: impl Into<String>, what: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self { id: id.into(), what: what.into(), value, unit, limit: None, target: None }
    }

    pub(crate) fn per_second(id: impl Into<String>, what: impl Into<String>, value: f64) -> Self {
        Self::new(id, what, value, Unit::PerSecond)
    }

    pub(crate) fn seconds(id: impl Into<String>, what: impl Into<String>, value: f64) -> Self {
        Self::new(id, what, value, Unit::Seconds)
    }

    pub(crate) fn bytes(id: impl Into<String>, what: impl Into<String>, value: u64) -> Self {
        Self::new(id, what, value as f64, Unit::Bytes)
    }

    pub(crate) fn against(mut self, what: impl Into<String>, value: f64) -> Self {
        self.limit = Some(Limit { what: what.into(), value });
        self
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    fn ratio(&self) -> Option<f64> {
        self.limit.as_ref().map(|limit| self.value / limit.value)
    }

    fn is_met(&self) -> Option<bool> {
        Some(match self.target? {
            Target::RatioAtLeast(ratio) => self.ratio()? >= ratio,
            Target::RatioAtMost(ratio) => self.ratio()? <= ratio,
            Target::AtLeast(value) => self.value >= value,
            Target::Below(value) => self.value < value,
        })
    }

    fn target_text(&self) -> String {
        match self.target {
            None => String::new(),
            Some(Target::RatioAtLeast(ratio)) => format!(">= {ratio:.2}"),
            Some(Target::RatioAtMost(ratio)) => format!("<= {ratio:.2}"),
            Some(Target::AtLeast(value)) => format!(">= {}", self.unit.text(value)),
            Some(Target::Below(value)) => format!("< {}", self.unit.text(value)),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "what": self.what,
            "value": self.value,
            "unit": self.unit.name(),
            "limit": self.limit.as_ref().map(|limit| json!({"what": limit.what, "value": limit.value})),
            "ratio": self.ratio(),
            "target": self.target.map(|_| self.target_text()),
            "met": self.is_met(),
        })
    }

    fn cells(&self) -> [String; 7] {
        let limit = self.limit.as_ref();
        let met = self.is_met().map_or("", |met| if met { "met" } else { "MISSED" });
        [
            self.what.clone(),
            self.unit.text(self.value),
            limit.map_or_else(String::new, |limit| self.unit.text(limit.value)),
            limit.map_or_else(String::new, |limit| limit.what.clone()),
            self.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            self.target_text(),
            met.to_owned(),
        ]
    }
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "per_second",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        [Self::PerSecond, Self::Seconds, Self::Bytes].into_iter().find(|unit| unit.name() == name)
    }

    pub(crate) fn text(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{}/s", grouped(value.round() as u64)),
            Self::Seconds if value >= 1.0 => format!("{value:.2} s"),
            Self::Seconds if value >= 1e-3 => format!("{:.2} ms", value * 1e3),
            Self::Seconds => format!("{:.0} us", value * 1e6),
            Self::Bytes if value >= 1024.0 * 1024.0 => format!("{:.2} MiB", value / (1024.0 * 1024.0)),
            Self::Bytes => format!("{:.1} KiB", value / 1024.0),
        }
    }
}

/// `1 234 567`
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

const HEADINGS: [&str; 7] = ["what", "figure", "limit", "the limit is", "ratio", "target", ""];
/// The columns that read better aligned to the right.
const NUMBERS: [usize; 3] = [1, 2, 4];

/// All figures, as one table in Markdown.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(figures.iter().map(Figure::cells));
    render(&rows, &NUMBERS)
}

/// Rows, the first of which is the head, with all columns as wide as they must be.
pub(crate) fn render<const COLUMNS: usize>(rows: &[[String; COLUMNS]], numbers: &[usize]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..COLUMNS).map(width).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            // Writing to a string cannot fail.
            let _ = if numbers.contains(&column) {
                write!(text, "| {cell:>width$} ")
            } else {
                write!(text, "| {cell:<width$} ")
            };
        }
        text.push_str("|\n");
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let (dashes, colon) =
                    if numbers.contains(&column) { (width + 1, ":") } else { (width + 2, "") };
                text.push('|');
                text.push_str(&"-".repeat(dashes));
                text.push_str(colon);
            }
            text.push_str("|\n");
        }
    }
    text
}
