//! Mutations of a corpus, each decided by its seed alone, so that a case can be repeated.

use std::path::Path;

/// Bytes and words that mean something to one of the readers.
const WORDS: [&[u8]; 16] = [
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"\0",
    b"\xff",
    b"\"",
    b"{",
    b"[",
    b"18446744073709551616",
    b"-1",
    b"1e999",
    b"\\ud800",
    b"%",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"ffffffffffffffff",
];
/// The most changes to one case.
const MAX_CHANGES: u64 = 6;
/// No case becomes longer, however often it is doubled.
const MAX_BYTES: usize = 100_000;

/// The files of `tests/corpus/{name}`, in the order of their names.
pub(super) fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// xorshift64*, by Sebastiano Vigna: small, and good enough to choose bytes.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn of(seed: u64) -> Self {
        // Spread, so that neighbouring seeds are strangers; never zero, which it could not leave.
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `end`; 0 where `end` is.
    pub(super) fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 16) % end.max(1) as u64) as usize
    }
}

/// One of `seeds`, changed here and there, and once in a while not at all.
pub(super) fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..random.next() % (MAX_CHANGES + 1) {
        change(&mut bytes, seeds, random);
        bytes.truncate(MAX_BYTES);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let (a, b) = (random.below(bytes.len() + 1), random.below(bytes.len() + 1));
    let (start, end) = (a.min(b), a.max(b));
    match random.below(7) {
        0 => bytes.truncate(start),
        1 => drop(bytes.drain(start..end)),
        2 => drop(bytes.splice(start..start, WORDS[random.below(WORDS.len())].iter().copied())),
        3 => bytes.extend_from_within(start..end),
        4 => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len());
            bytes.truncate(start);
            bytes.extend_from_slice(&other[from..]);
        }
        5 => bytes.iter_mut().skip(start).take(1).for_each(|byte| *byte = random.next() as u8),
        _ => bytes.iter_mut().skip(start).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
    }
}

#[test]
fn one_seed_gives_one_case() {
    let seeds = corpus("json_bodies");
    let case = |seed| mutated(&seeds, &mut Random::of(seed));
    assert!((0..100).all(|seed| case(seed) == case(seed)));
    assert!((0..100).any(|seed| case(seed) != case(seed + 1)));
}
