//! Two runs side by side: what has become faster, what slower.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::Result;
use crate::figure::{Unit, render};

/// Runs on a busy machine differ by this much for no reason.
const NOISE: f64 = 0.10;

/// The figures that both files have, with the new value as a multiple of the old one.
pub(crate) fn compare(old: &Path, new: &Path) -> Result<String> {
    let (old, new) = (figures(old)?, figures(new)?);
    let by_id: BTreeMap<&str, &Value> = old.iter().filter_map(|figure| Some((id(figure)?, figure))).collect();
    let mut rows = vec![["what", "old", "new", "new/old", "ratio old", "ratio new", ""].map(str::to_owned)];
    rows.extend(new.iter().filter_map(|figure| row(by_id.get(id(figure)?)?, figure)));
    Ok(render(&rows, &[1, 2, 3, 4, 5]))
}

fn figures(path: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let run: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let figures = run["figures"].as_array().cloned();
    figures.ok_or_else(|| format!("{} is not made with --json", path.display()).into())
}

fn id(figure: &Value) -> Option<&str> {
    figure["id"].as_str()
}

fn row(old: &Value, new: &Value) -> Option<[String; 7]> {
    let unit = Unit::of_name(new["unit"].as_str()?)?;
    let (before, after) = (old["value"].as_f64()?, new["value"].as_f64()?);
    let ratio =
        |figure: &Value| figure["ratio"].as_f64().map_or_else(String::new, |ratio| format!("{ratio:.2}"));
    Some([
        new["what"].as_str()?.to_owned(),
        unit.text(before),
        unit.text(after),
        format!("{:.2}", after / before),
        ratio(old),
        ratio(new),
        verdict(unit, change(old, new).unwrap_or(after / before)).to_owned(),
    ])
}

/// Of the ratio to the limit: it was measured in the same run, and so in the same weather.
fn change(old: &Value, new: &Value) -> Option<f64> {
    Some(new["ratio"].as_f64()? / old["ratio"].as_f64()?)
}

fn verdict(unit: Unit, change: f64) -> &'static str {
    let gain = match unit {
        Unit::PerSecond => change,
        Unit::Seconds | Unit::Bytes => 1.0 / change,
    };
    if gain > 1.0 + NOISE {
        "better"
    } else if gain < 1.0 / (1.0 + NOISE) {
        "WORSE"
    } else {
        ""
    }
}
