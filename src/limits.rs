//! Limits that several parts of the system share.

/// The largest whole number that every JSON reader keeps exact: 2^53 - 1 (RFC 8259, section 6). Amounts,
/// versions, positions and indexes stay below it, so that no client ever sees a rounded one.
pub const MAX_EXACT_INTEGER: u64 = (1 << 53) - 1;
