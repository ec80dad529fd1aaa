//! Cursors: the start of the next page of a list, as an opaque text.
//!
//! A cursor is a position in the log, and positions never change. So pages stay correct while events arrive,
//! after a rebuild, and on another instance. A cursor also has a checksum over the position and the list:
//! a cursor that was cut, edited or used on another list is refused and never gives a wrong page. The checksum
//! guards against mistakes, not against malice: an invented position shows only rows of the same list.
//!
//! Read next: `routes.rs`, which reads cursors, and `models/accounts.rs`, which writes them.

/// The version of the form of cursors.
const FORM: &str = "1";

/// Returns the cursor for `position` of a list; `scope` is the name of the list, and the filters.
pub(super) fn encode(scope: &[&str], position: u64) -> String {
    format!("{position:016x}{:016x}", sum(scope, position))
}

/// Returns the position in a cursor of the list, or `None` for any other text.
pub(super) fn decode(scope: &[&str], cursor: &str) -> Option<u64> {
    let (position, _) = cursor.split_at_checked(16)?;
    let position = u64::from_str_radix(position, 16).ok()?;
    // SQLite's integers are signed; and no log is so long.
    i64::try_from(position).ok()?;
    // Accepts only the spelling of `encode`: no upper case, no sign.
    (encode(scope, position) == cursor).then_some(position)
}

/// FNV-1a in 64 bits.
fn sum(scope: &[&str], position: u64) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |byte: u8| sum = (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    for text in [FORM].iter().chain(scope) {
        text.bytes().for_each(&mut take);
        // Not a byte of UTF-8, so ["a", "b"] and ["ab"] have different sums.
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
