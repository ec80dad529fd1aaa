//! Runs `examples/embedder.rs`, a whole program around `tally::es`, as another crate would be built.

#[path = "../../examples/embedder.rs"]
mod program;

#[test]
fn an_embedders_program_runs_from_the_first_event_to_the_last_file() {
    program::main().unwrap();
}

#[test]
fn the_whole_program_takes_at_most_180_lines() {
    assert!(include_str!("../../examples/embedder.rs").lines().count() <= 180);
}
