//! What the groups share: the plan, rounds and medians.

use std::cell::OnceCell;
use std::path::Path;

use crate::Result;
use crate::fill::{self, Filled, Spread};
use crate::load::Measured;
use crate::options::Plan;

/// One run of the benchmark.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) plan: Plan,
    filled: OnceCell<Filled>,
}

impl Bench {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, filled: OnceCell::new() }
    }

    /// Measures as often as the plan says.
    pub(crate) fn rounds<T>(&self, measure: impl FnMut() -> Result<T>) -> Result<Vec<T>> {
        std::iter::repeat_with(measure).take(self.plan.rounds).collect()
    }

    /// Measures each of several in turn, round after round, so that all of them meet the same
    /// weather: what else the machine does changes from second to second.
    pub(crate) fn in_turn<const N: usize>(
        &self,
        measures: [&dyn Fn() -> Result<Measured>; N],
    ) -> Result<[Vec<Measured>; N]> {
        let mut all = std::array::from_fn(|_| Vec::new());
        for _ in 0..self.plan.rounds {
            for (results, measure) in all.iter_mut().zip(measures) {
                results.push(measure()?);
            }
        }
        Ok(all)
    }

    /// A log of the plan's many events over 10 000 accounts, made when first asked for. Who writes to
    /// it writes to a copy.
    pub(crate) fn filled(&self) -> Result<&Filled> {
        if let Some(filled) = self.filled.get() {
            return Ok(filled);
        }
        let filled = Filled::new("log", self.plan.events, Spread::Over(fill::ACCOUNTS))?;
        Ok(self.filled.get_or_init(|| filled))
    }
}

/// The median rate.
pub(crate) fn median(measured: &[Measured]) -> f64 {
    median_of(measured.iter().map(|one| one.per_second).collect())
}

/// The middle one; 0 when there are none.
pub(crate) fn median_of(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Bytes of a file; 0 where it is not.
pub(crate) fn bytes_of(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
