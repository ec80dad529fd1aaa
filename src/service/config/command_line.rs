//! From a command line to a configuration, or to a text to print, or to an error.
//!
//! **Invariant:** parsing reads nothing but its arguments: no process state, no file.
//!
//! Read next: `config/flag_parser.rs`.

use std::ffi::OsString;

use super::flag_parser::{self, Flag, GivenFlags, Invocation, UsageError};
use crate::service::logger::LogOptions;

/// Exit status after a wrong command line.
pub const EXIT_USAGE: u8 = 2;

/// The configuration of a binary.
pub trait Config: Sized {
    /// The name of the binary.
    const PROGRAM: &'static str;
    /// The purpose of the binary, in half a line.
    const SUMMARY: &'static str;
    /// The end of the help text.
    const MORE_HELP: &'static str = "";
    /// Returns what to log, and how.
    fn log(&self) -> LogOptions;
    #[doc(hidden)]
    const FLAGS: &'static [Flag];
    #[doc(hidden)]
    fn from_given(given: &GivenFlags) -> Result<Self, UsageError>;
}

/// Returns the configuration for `arguments` (without the program's name) and `variables`.
///
/// # Errors
/// When a flag or a variable is invalid.
pub fn parse<C: Config>(
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl Fn(&str) -> Option<OsString>,
) -> Result<Invocation<C>, UsageError> {
    match flag_parser::read(C::FLAGS, arguments, variables)? {
        Invocation::Run(given) => C::from_given(&given).map(Invocation::Run),
        Invocation::Print("version") => Ok(Invocation::Print(flag_parser::version(C::PROGRAM))),
        Invocation::Print(_) => {
            Ok(Invocation::Print(flag_parser::help(C::PROGRAM, C::SUMMARY, C::FLAGS) + C::MORE_HELP))
        }
    }
}
