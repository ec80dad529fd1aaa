//! Limits shared by several parts of the system.
//!
//! **Invariant:** a shared limit is defined in this file alone.
//!
//! Read next: `account/mod.rs`.

/// The largest whole number that every JSON reader keeps exact: 2^53 - 1 (RFC 8259, section 6). Amounts,
/// versions, positions and indexes stay within the limit, hence no client reads a rounded number.
pub const MAX_EXACT_INTEGER: u64 = (1 << 53) - 1;
