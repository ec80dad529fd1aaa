//! The bank account, the domain of the three services. Pure: no I/O, no clock, no randomness.
//!
//! ```text
//! aggregate.rs   events, state, decisions, in this order, and the view of readers: the whole bank on one page
//!     │
//!     ├── currency.rs   three capital letters
//!     └── audit.rs      was each event possible? (for `write-service --verify`)
//! ```
//!
//! Threads: none. The writer thread of `es` calls `decide` and `evolve`.
//!
//! Read next: `aggregate.rs`; then `src/es/aggregate.rs`, the trait of the account.

mod aggregate;
mod audit;
mod currency;

// All of it: an event that is added there needs no line here.
pub use aggregate::*;
pub use audit::known_kinds;
pub use currency::Currency;

#[cfg(test)]
mod tests;
