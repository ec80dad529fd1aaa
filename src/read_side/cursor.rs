//! Cursors: where a list goes on, as a text that means nothing to the client.
//!
//! A cursor is a position in the log, which never changes its meaning: pages stay correct while
//! events arrive, after a rebuild, and on another instance. It carries a sum over itself and the
//! list that it belongs to, so that one that was cut, edited or used on another list is refused
//! instead of giving a wrong page. The sum guards against mistakes, not against malice: whatever
//! position a client invents, it sees nothing that the list would not show.

/// Changes when cursors mean something else.
const FORM: &str = "1";

/// The cursor that goes on at `position` of the list that `scope` names with its filters.
pub(super) fn encode(scope: &[&str], position: u64) -> String {
    format!("{position:016x}{:016x}", sum(scope, position))
}

/// The position in a cursor of that list, if it is one.
pub(super) fn decode(scope: &[&str], cursor: &str) -> Option<u64> {
    let (position, _) = cursor.split_at_checked(16)?;
    let position = u64::from_str_radix(position, 16).ok()?;
    // No log is that long, and SQLite would fail on it.
    i64::try_from(position).ok()?;
    // Only the one spelling that `encode` writes.
    (encode(scope, position) == cursor).then_some(position)
}

/// FNV-1a in 64 bits.
fn sum(scope: &[&str], position: u64) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |byte: u8| sum = (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    for text in [FORM].iter().chain(scope) {
        text.bytes().for_each(&mut take);
        // No byte of UTF-8, so that two texts are not one.
        take(0xff);
    }
    position.to_be_bytes().into_iter().for_each(take);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_on_its_own_list_only() {
        let cursor = encode(&["accounts", "Ada", ""], 42);
        assert_eq!(decode(&["accounts", "Ada", ""], &cursor), Some(42));
        for other in [&["accounts", "", "Ada"], &["accounts", "Adam", ""], &["transactions", "Ada", ""]] {
            assert_eq!(decode(other, &cursor), None, "{other:?}");
        }
    }

    #[test]
    fn a_position_beyond_any_log_is_none() {
        let read = |position| decode(&["accounts"], &encode(&["accounts"], position));
        assert_eq!((read(i64::MAX as u64), read(1 << 63)), (Some(i64::MAX as u64), None));
    }

    #[test]
    fn a_cursor_that_was_touched_is_none() {
        let scope: &[&str] = &["accounts"];
        let cursor = encode(scope, 42);
        for at in 0..cursor.len() {
            let mut touched = cursor.clone().into_bytes();
            touched[at] = if touched[at] == b'7' { b'8' } else { b'7' };
            assert_eq!(decode(scope, std::str::from_utf8(&touched).unwrap()), None, "digit {at}");
        }
        let upper = encode(scope, 0xabc).to_uppercase();
        let long = format!("{cursor}0");
        for bad in ["", "0", "+000000000000001", "äääääääääääääääää", &upper, &long, &cursor[1..]]
        {
            assert_eq!(decode(scope, bad), None, "{bad}");
        }
    }
}
