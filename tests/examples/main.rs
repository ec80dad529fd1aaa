//! Runs the programs of `examples/`, each built as another crate would be.

#[path = "../spec/support/directory.rs"]
mod directory;
mod quotes;

mod embedder;
mod unique_email;
