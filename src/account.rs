//! The bank account.
