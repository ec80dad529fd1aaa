//! The bank account, the domain of the three services. Pure: no I/O, no clock, no randomness.
//!
//! ```text
//! aggregate.rs   events, state, decisions, in this order: the whole bank on one page
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

pub use aggregate::{
    Account, AccountClosed, AccountCommand, AccountCreated, AccountEvent, MAX_AMOUNT, MoneyMoved, Movement,
    Rejection, decide_transfer,
};
pub use audit::known_kinds;
pub use currency::Currency;

#[cfg(test)]
mod tests;
