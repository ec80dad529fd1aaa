//! The configuration of this process, from its own arguments and variables.
//!
//! Every service of a machine may read one file of variables, so a variable of another service is accepted. A
//! variable `TALLY_…` that no service knows is a spelling mistake, and is refused like an unknown flag.
//!
//! **Invariant:** a wrong command line or environment ends with exit status 2 and one line on stderr.
//!
//! Read next: `config/command_line.rs`.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use super::all::AllConfig;
use super::command_line::{Config, EXIT_USAGE, parse};
use super::flag_parser::{Flag, Invocation, UsageError};
use super::read::ReadConfig;
use super::registry::RegistryConfig;
use super::spelling::nearest;
use super::write::WriteConfig;

/// The beginning of the name of every variable.
const PREFIX: &str = "TALLY_";

/// Variables without a flag.
const OTHER_VARIABLES: &[&str] = if cfg!(feature = "crash-points") { &["TALLY_CRASH_POINT"] } else { &[] };

/// Returns the configuration of this process.
///
/// # Errors
/// The exit status to end with at once: 0 after `--help` and `--version`, with the text on stdout; 2 after a
/// wrong command line or environment, with one line on stderr.
pub fn from_process<C: Config>() -> Result<C, ExitCode> {
    let variable = |variable: &str| std::env::var_os(variable);
    let parsed = parse(std::env::args_os().skip(1), variable).and_then(|invocation| {
        // After the arguments: `--help` works whatever the environment holds.
        if matches!(invocation, Invocation::Run(_)) {
            check_variables(std::env::vars_os().map(|(name, _)| name))?;
        }
        Ok(invocation)
    });
    match parsed {
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

/// Checks the names of environment variables.
///
/// # Errors
/// The first variable `TALLY_…` that no service knows.
pub fn check_variables(names: impl IntoIterator<Item = OsString>) -> Result<(), UsageError> {
    let tables = [RegistryConfig::FLAGS, WriteConfig::FLAGS, ReadConfig::FLAGS, AllConfig::FLAGS];
    let known = tables.into_iter().flatten().filter_map(Flag::variable);
    let known: Vec<String> = known.chain(OTHER_VARIABLES.iter().map(|name| (*name).to_owned())).collect();
    for name in names {
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) || known.iter().any(|known| *known == name) {
            continue;
        }
        // Quoted with escapes, to keep the error on one line; without the value, which may be a secret.
        let found = format!("unknown environment variable {name:?}");
        return Err(UsageError::new(match nearest(&name, known.iter().map(String::as_str)) {
            Some(meant) => format!("{found}; did you mean {meant}"),
            None => format!("{found}; unset the variable"),
        }));
    }
    Ok(())
}
