//! The command line of the `tally` binary: a client of the services, and tasks on the event store's file.
//!
//! ```text
//! commands.rs ── arguments.rs        a page for each command: parser, help, what runs
//!     ├──► changes.rs, queries.rs, events.rs, trace.rs, load.rs, demo.rs      the commands
//!     │        ├──► feed.rs          page after page of the event feed
//!     │        └──► session.rs ──► services.rs, terminal.rs       HTTP out, text in
//!     └──► files.rs                  verify, backup, export, import: no service needed
//! ```
//!
//! The client knows of the services what any client knows: the registry's look-up, routes, JSON. No type of the
//! write side or of the read side is shared, so a command that works shows that the interface is enough.
//!
//! **Invariant:** every wait has a limit, and Ctrl-C ends every command at once. The exit status is 0, 1 after a
//! refusal or a failure, 2 after a wrong command line.
//!
//! Functions that many commands call are `#[inline(never)]`: the binary has a limit of size, and a client waits for
//! the network and not for a call.
//!
//! Threads: the caller's, and the workers of `tally load`.
//!
//! Read next: `commands.rs`, `changes.rs`, `events.rs`.

mod arguments;
mod changes;
mod commands;
mod demo;
mod events;
mod failure;
mod feed;
mod files;
mod load;
mod queries;
mod services;
mod session;
mod terminal;
mod trace;

pub use commands::run_command;
