//! Runs the programs of `examples/`, each built as another crate would be.

// Every failure here is to stop the test with its reason.
#![allow(clippy::unwrap_used)]

#[path = "../spec/support/directory.rs"]
mod directory;
mod quotes;

mod closing_the_books;
mod embedder;
mod forget_person;
mod pitfalls;
mod tenants;
mod transfer_process;
mod unique_email;
