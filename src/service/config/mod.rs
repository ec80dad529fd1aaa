//! The configuration of each binary, from its flags and its environment.
//!
//! ```text
//!  src/bin/*.rs ──► environment.rs       this process; refuses unknown variables
//!                          │
//!                   command_line.rs      parse: arguments + variables ──► a Config, a text, an error
//!                          │
//!      all.rs ──► registry.rs, write.rs, read.rs    one configuration per binary
//!                          │
//!                     service.rs         settings of every service
//!                          │
//!           flags.rs ── flag_parser.rs ── values.rs       a row per flag; the given texts; text ──► value
//!                          │
//!                     spelling.rs        the flag or variable that was meant
//! ```
//!
//! The table of a binary lists its flags. The table also makes the help text and the environment variables.
//! Parsing is a function of the arguments and of a variable look-up, so every rule has a unit test that
//! starts no process.
//!
//! **Invariant:** a configuration that exists is valid. An unknown, malformed, repeated, contradictory or
//! out-of-range value is rejected with one line that names the flag or variable. No value is clamped or
//! ignored.
//!
//! Threads: none.
//!
//! Read next: `config/write.rs`, the plainest configuration; `config/values.rs`, the kinds of values.

mod all;
mod command_line;
mod environment;
mod flag_parser;
mod flags;
mod read;
mod registry;
mod service;
mod spelling;
#[cfg(test)]
mod tests;
mod values;
mod write;

pub use all::AllConfig;
pub use command_line::{Config, EXIT_USAGE, parse};
pub use environment::{check_variables, from_process};
pub use flag_parser::{Invocation, UsageError};
pub use read::{ReadConfig, ReadTask};
pub use registry::RegistryConfig;
pub use service::ServiceConfig;
pub use spelling::nearest;
pub use values::{Advertise, AllowedOrigin, ListenAddress, Reachable};
pub use write::{WriteConfig, WriteTask};
