//! The known name nearest to a misspelt name.
//!
//! **Invariant:** a suggestion differs from the misspelt name in a third of its letters at most.
//!
//! Read next: `config/flag_parser.rs`, which asks for suggestions.

/// The longest misspelt name to compare, in bytes: the cost grows with the product of both lengths.
const MAX_BYTES: usize = 64;

/// Returns the name among `known` that takes the fewest edits to reach from `name`, if there is a near name.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if name.len() > MAX_BYTES {
        return None;
    }
    let by_edits = known.into_iter().map(|known| (edits(name.as_bytes(), known.as_bytes()), known));
    // The prefix of a flag or a variable is common to all names, and must not make strangers near.
    let letters = |known: &str| known.trim_start_matches("--").trim_start_matches("TALLY_").len();
    let (edits, known) = by_edits.min_by_key(|(edits, _)| *edits)?;
    (edits <= (letters(known) / 3).max(1)).then_some(known)
}

/// Returns the number of inserted, deleted or replaced bytes between two texts (Levenshtein distance).
fn edits(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (done, byte) in from.iter().enumerate() {
        // `diagonal` is the cell above and to the left of the cell in turn.
        let mut diagonal = row[0];
        row[0] = done + 1;
        for (at, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(byte != other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_has_a_suggestion_and_a_stranger_has_none() {
        let known = ["TALLY_DB", "TALLY_TTL", "TALLY_HEARTBEAT_INTERVAL"];
        assert_eq!(nearest("TALLY_DBB", known), Some("TALLY_DB"));
        assert_eq!(nearest("TALLY_HEARTBEAT_INTERVALL", known), Some("TALLY_HEARTBEAT_INTERVAL"));
        assert_eq!(nearest("TALLY_HEART_BEAT_INTERVAL", known), Some("TALLY_HEARTBEAT_INTERVAL"));
        assert_eq!(nearest("TALLY_FUZZ_SECONDS", known), None);
        assert_eq!(nearest("TALLY_XYZ", known), None);
        assert_eq!(nearest(&"x".repeat(65), known), None);
    }
}
