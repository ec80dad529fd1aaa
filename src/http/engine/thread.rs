//! How the engine's threads are built: a name and one stack size.
//!
//! **Invariant:** every thread of the engine has a name, which debuggers and panics show.
//!
//! Read next: `blocking.rs`.

use std::thread::Builder;

/// Stack of each thread, in bytes: deep handlers (SQLite, JSON) of unoptimised builds fit. Only touched
/// pages cost memory, and the kernel never backs a stack this small with a huge page.
const STACK_BYTES: usize = 512 * 1024;

/// Returns the builder of a thread called `name`.
pub(super) fn builder(name: &str) -> Builder {
    Builder::new().name(name.to_owned()).stack_size(STACK_BYTES)
}
