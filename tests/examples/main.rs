//! Runs the programs of `examples/`, each built as another crate would be.

mod embedder;
mod pitfalls;
