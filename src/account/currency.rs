//! The currency of an account: three capital letters, as in ISO 4217.
//!
//! **Invariant:** a [`Currency`] holds three ASCII capitals. `try_from` is the only way in, for JSON too.
//!
//! Read next: `aggregate.rs`, the account that has a currency.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Three capital letters, as in ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "&str")]
pub struct Currency([u8; 3]);

impl Currency {
    /// The currency as text.
    pub fn as_str(&self) -> &str {
        // Always ASCII capitals, see `try_from`.
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl Default for Currency {
    fn default() -> Self {
        Self(*b"EUR")
    }
}

impl TryFrom<&str> for Currency {
    type Error = &'static str;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        match *text.as_bytes() {
            [a @ b'A'..=b'Z', b @ b'A'..=b'Z', c @ b'A'..=b'Z'] => Ok(Self([a, b, c])),
            _ => Err("must be three capital letters"),
        }
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
