//! Stub until wired.
fn main() {}
