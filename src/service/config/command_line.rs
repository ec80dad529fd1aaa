//! From a command line to a configuration, or to a text to print, or to an error.
//!
//! **Invariant:** a wrong command line ends with exit status 2 and one line on stderr.
//!
//! Read next: `config/flag_parser.rs`.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use log::LevelFilter;

use super::flag_parser::{self, Flag, GivenFlags, Invocation, UsageError};

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
    /// Returns the lowest level of log lines to show.
    fn log(&self) -> LevelFilter;
    #[doc(hidden)]
    const FLAGS: &'static [Flag];
    #[doc(hidden)]
    fn from_given(given: &GivenFlags) -> Result<Self, UsageError>;
}

/// Returns the configuration of this process.
///
/// # Errors
/// The exit status to end with at once: 0 after `--help` and `--version`, with the text on stdout; 2 after a
/// wrong command line, with one line on stderr.
pub fn from_process<C: Config>() -> Result<C, ExitCode> {
    match parse(std::env::args_os().skip(1), |variable| std::env::var_os(variable)) {
        Ok(Invocation::Run(config)) => Ok(config),
        Ok(Invocation::Print(text)) => {
            // A closed stdout has no reader left to report to.
            let _ = std::io::stdout().write_all(text.as_bytes());
            Err(ExitCode::SUCCESS)
        }
        Err(error) => {
            // Written directly: the logger starts after a valid command line.
            let _ = writeln!(std::io::stderr(), "{}: {error}; see {} --help", C::PROGRAM, C::PROGRAM);
            Err(ExitCode::from(EXIT_USAGE))
        }
    }
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
