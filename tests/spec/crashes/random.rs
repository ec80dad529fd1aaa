//! Numbers that a seed repeats.

use std::hash::{BuildHasher, RandomState};

/// SplitMix64: small, and good enough to choose what to do next.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) fn from_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The seed in that environment variable, else one that was never there before.
    pub(super) fn seed_or_new(variable: &str) -> u64 {
        let given = std::env::var(variable).ok();
        given.map_or_else(|| RandomState::new().hash_one(0), |seed| seed.parse().unwrap())
    }

    /// Other numbers, repeated by the same seed, for the part of that number.
    pub(super) fn part(&self, number: u64) -> Self {
        Self::from_seed(self.state ^ (number + 1).wrapping_mul(0xa076_1d64_78bd_642f))
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below that number.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(super) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}
