//! A SHA-256 digest, as bytes here and as hexadecimal digits in JSON.
//!
//! Read next: `hash_chain.rs`, what is hashed.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A SHA-256 digest; 64 lower-case hexadecimal digits in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash before the first event.
    pub const ZERO: Hash = Hash([0; 32]);

    pub(super) fn digits(&self) -> [u8; 64] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        digits
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

const NO_DIGIT: u8 = 0x80;

/// The value of each lower-case hexadecimal digit, and [`NO_DIGIT`] for every other byte.
const DIGIT_VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    values
};

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?.as_bytes();
        let malformed = || de::Error::custom("a hash is 64 lower-case hexadecimal digits");
        if text.len() != 64 {
            return Err(malformed());
        }
        let mut hash = Hash::ZERO;
        // Checked once, after the loop: a page has some hundred thousand digits.
        let mut seen = 0;
        for (byte, pair) in hash.0.iter_mut().zip(text.chunks_exact(2)) {
            let [high, low] = [pair[0], pair[1]].map(|digit| DIGIT_VALUES[usize::from(digit)]);
            seen |= high | low;
            *byte = high << 4 | low & 15;
        }
        if seen & NO_DIGIT != 0 {
            return Err(malformed());
        }
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_hash_is_read_as_it_was_written() {
        for byte in 0..=u8::MAX {
            let hash = Hash([byte; 32]);
            let json = serde_json::to_string(&hash).unwrap();
            assert_eq!(json, format!("\"{}\"", format!("{byte:02x}").repeat(32)));
            assert_eq!(serde_json::from_str::<Hash>(&json).unwrap(), hash);
        }
    }

    #[test]
    fn a_hash_is_64_lower_case_digits_and_nothing_else() {
        let read = |text: &str| serde_json::from_str::<Hash>(&format!("\"{text}\""));
        assert!(read(&"0f".repeat(32)).is_ok());
        for wrong in ["0F", "0g", "g0", "0/", "0:", "0`", "0 ", "0\u{00e4}"] {
            let (first, last) = (wrong.repeat(32), format!("{}{wrong}", "0f".repeat(31)));
            assert!(read(&first).is_err() && read(&last).is_err(), "{wrong:?}");
        }
        for wrong in [String::new(), "0f".repeat(31), "0f".repeat(33), "0".repeat(63)] {
            assert!(read(&wrong).is_err(), "{wrong:?}");
        }
    }
}
