//! The flags and variables of a command line, and the help text.
//!
//! **Invariant:** every flag is a row of a binary's table. The name of its variable is `TALLY_` and the flag
//! in capitals, and its default value is the one that the help text shows.
//!
//! Read next: `config/flags.rs`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::spelling::nearest;

/// The number of values that a flag accepts. More are a mistake of a script.
const MAX_VALUES: usize = 16;

/// A row of a binary's table of flags.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The default as the help text shows it, a value or words; empty for actions.
    pub(super) default: &'static str,
    pub(super) help: &'static str,
}

/// The values of a flag. Actions have no variable: a variable forgotten in the environment must not keep a
/// service from serving.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// No value; runs a task instead of the service.
    Action,
    /// One value; runs a task instead of the service.
    ActionOn(&'static str),
    /// No value as a flag; `yes` or `no` as a variable.
    Switch,
    /// One value.
    One(&'static str),
    /// Several values, by repetition or separated by commas.
    Several(&'static str),
}

impl Flag {
    pub(super) fn variable(&self) -> Option<String> {
        match self.kind {
            Kind::Action | Kind::ActionOn(_) => None,
            Kind::Switch | Kind::One(_) | Kind::Several(_) => {
                Some(format!("TALLY_{}", self.name.to_ascii_uppercase().replace('-', "_")))
            }
        }
    }

    fn value_name(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Action | Kind::Switch => None,
            Kind::ActionOn(name) | Kind::One(name) | Kind::Several(name) => Some(name),
        }
    }
}

/// The outcome of a valid command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation<C, Text = String> {
    /// Run with this configuration.
    Run(C),
    /// Print this text and end.
    Print(Text),
}

/// The reason why a command line is rejected: one line that names the flag or the variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError {
    message: String,
}

impl UsageError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for UsageError {}

/// The given values, by flag.
#[derive(Debug, Default)]
pub struct GivenFlags {
    values: BTreeMap<&'static str, Values>,
}

#[derive(Debug)]
struct Values {
    /// The flag or the variable, as the user wrote the name.
    source: String,
    texts: Vec<OsString>,
}

/// Reads the arguments, then the variables of flags that were not given. An empty variable counts as absent,
/// because most files that set variables cannot unset them.
pub(super) fn read(
    flags: &'static [Flag],
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl Fn(&str) -> Option<OsString>,
) -> Result<Invocation<GivenFlags, &'static str>, UsageError> {
    let mut given = GivenFlags::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            // Help wins over every error that follows on the command line.
            Some("-h" | "--help") => return Ok(Invocation::Print("help")),
            Some("-V" | "--version") => return Ok(Invocation::Print("version")),
            Some(_) | None => {}
        }
        let (name, attached) = split(&argument);
        let flag = flags.iter().find(|flag| name.strip_prefix(b"--") == Some(flag.name.as_bytes()));
        given.take(flag.ok_or_else(|| unknown(name, flags))?, attached, &mut arguments)?;
    }
    // After the arguments: a flag wins over its variable.
    for flag in flags {
        given.take_variable(flag, &variables);
    }
    Ok(Invocation::Run(given))
}

/// Splits `--name=value` into the name and the value, which may be any bytes.
fn split(argument: &OsStr) -> (&[u8], Option<OsString>) {
    let bytes = argument.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (&bytes[..at], Some(OsStr::from_bytes(&bytes[at + 1..]).to_owned())),
        None => (bytes, None),
    }
}

fn unknown(name: &[u8], flags: &[Flag]) -> UsageError {
    // Not in the tables: each ends the process before a configuration exists.
    let texts = ["--help", "--version"];
    if let Some(text) = texts.into_iter().find(|text| name == text.as_bytes()) {
        return UsageError::new(format!("{text}: expected no value, got one"));
    }
    // Quoted with escapes, to keep the error on one line; without the value, which may hold a password.
    let kind = if name.starts_with(b"-") { "unknown flag" } else { "expected a flag, got" };
    let written = OsStr::from_bytes(name);
    let known = flags.iter().map(|flag| flag.name).chain(["help", "version"]);
    let meant = written.to_str().and_then(|text| nearest(text.strip_prefix("--")?, known));
    let meant = meant.map(|meant| format!("; did you mean --{meant}")).unwrap_or_default();
    UsageError::new(format!("{kind} {written:?}{meant}"))
}

impl GivenFlags {
    fn take(
        &mut self,
        flag: &Flag,
        attached: Option<OsString>,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), UsageError> {
        let source = format!("--{}", flag.name);
        let text = match (flag.value_name(), attached) {
            (None, None) => OsString::new(),
            (None, Some(_)) => return Err(UsageError::new(format!("{source}: expected no value, got one"))),
            (Some(_), Some(text)) => text,
            (Some(value_name), None) => {
                let missing = || UsageError::new(format!("{source}: expected {value_name}, got no value"));
                // `--db --verify` means a forgotten path, not a file named --verify.
                rest.next().filter(|text| !is_flag(text)).ok_or_else(missing)?
            }
        };
        let values = self.values.entry(flag.name).or_insert(Values { source, texts: Vec::new() });
        values.texts.push(text);
        match flag.kind {
            Kind::Several(_) => Ok(()),
            Kind::Action | Kind::ActionOn(_) | Kind::Switch | Kind::One(_) if values.texts.len() == 1 => {
                Ok(())
            }
            Kind::Action | Kind::ActionOn(_) | Kind::Switch | Kind::One(_) => {
                Err(UsageError::new(format!("{}: expected once, got twice", values.source)))
            }
        }
    }

    fn take_variable(&mut self, flag: &Flag, variables: &impl Fn(&str) -> Option<OsString>) {
        let Some(source) = flag.variable().filter(|_| !self.has(flag.name)) else {
            return;
        };
        // An empty variable counts as absent: Compose files pass unset variables on as empty texts.
        if let Some(text) = variables(&source).filter(|text| !text.is_empty()) {
            self.values.insert(flag.name, Values { source, texts: vec![text] });
        }
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.values.contains_key(flag)
    }

    /// Whether a switch is on: the flag is given, or the variable is `yes`.
    pub(super) fn is_on(&self, flag: &str) -> Result<bool, UsageError> {
        // The flag has no value; only a variable says yes or no.
        if self.by_flag(flag) {
            return Ok(true);
        }
        let is_on = self.one(flag, |text| match text {
            "yes" | "true" | "1" => Ok(true),
            "no" | "false" | "0" => Ok(false),
            _ => Err(format!("expected yes or no, got {text:?}")),
        })?;
        Ok(is_on.unwrap_or(false))
    }

    pub(super) fn by_flag(&self, flag: &str) -> bool {
        // The source is the flag as written, or the name of a variable, which begins with `TALLY_`.
        self.values.get(flag).is_some_and(|values| values.source.starts_with("--"))
    }

    /// Returns the value of a flag, or the default in its row, as `parse` reads the text.
    pub(super) fn value<T>(
        &self,
        flag: &Flag,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, UsageError> {
        match self.one(flag.name, &parse)? {
            Some(value) => Ok(value),
            None => parse(flag.default).map_err(|why| self.reject(flag.name, &why)),
        }
    }

    /// Returns the value of a flag, as `parse` reads the text, if the flag is given.
    pub(super) fn one<T>(
        &self,
        flag: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, UsageError> {
        let Some(Values { source, texts }) = self.values.get(flag) else {
            return Ok(None);
        };
        texts.first().map(|text| parsed(source, utf8(source, text)?, &parse)).transpose()
    }

    /// Returns all values of a flag, as `parse` reads each; empty when the flag is not given.
    pub(super) fn several<T>(
        &self,
        flag: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, UsageError> {
        let Some(Values { source, texts }) = self.values.get(flag) else {
            return Ok(Vec::new());
        };
        let mut values = Vec::new();
        for text in texts {
            for part in utf8(source, text)?.split(',') {
                values.push(parsed(source, part.trim(), &parse)?);
            }
        }
        // Counts values and not flags: one flag may carry many values behind commas.
        if values.len() > MAX_VALUES {
            return Err(UsageError::new(format!(
                "{source}: expected at most {MAX_VALUES} values, got {}",
                values.len()
            )));
        }
        Ok(values)
    }

    /// Returns the path that a flag gives: any bytes that the system accepts.
    pub(super) fn path(&self, flag: &str) -> Result<Option<PathBuf>, UsageError> {
        match self.values.get(flag).and_then(|values| values.texts.first()) {
            None => Ok(None),
            Some(text) if text.is_empty() => Err(self.reject(flag, "expected a path, got an empty value")),
            Some(text) => Ok(Some(PathBuf::from(text))),
        }
    }

    /// Returns the error for an invalid value of a flag.
    pub(super) fn reject(&self, flag: &str, why: &str) -> UsageError {
        // Without a given value the default was read: the flag names it.
        let source = self.values.get(flag).map_or(flag, |values| values.source.as_str());
        UsageError::new(format!("{source}: {why}"))
    }
}

fn is_flag(text: &OsStr) -> bool {
    text.as_encoded_bytes().starts_with(b"--")
}

fn utf8<'a>(source: &str, text: &'a OsStr) -> Result<&'a str, UsageError> {
    // Paths may be any bytes; every other value is text.
    text.to_str().ok_or_else(|| UsageError::new(format!("{source}: expected UTF-8, got other bytes")))
}

fn parsed<T>(source: &str, text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, UsageError> {
    parse(text).map_err(|why| UsageError::new(format!("{source}: {why}")))
}

pub(super) fn version(program: &str) -> String {
    format!("{program} {}\n", env!("CARGO_PKG_VERSION"))
}

pub(super) fn help(program: &str, summary: &str, flags: &[Flag]) -> String {
    let mut text = format!(
        "{program} {}: {summary}\n\nUsage: {program} [FLAG]...\n\n\
         A flag wins over its environment variable. Logs go to stderr. Exit status: 0 after an orderly\n\
         stop, 1 after a failure (stderr has the reason), 2 after a wrong flag or variable.\n\n",
        env!("CARGO_PKG_VERSION")
    );
    for flag in flags {
        // Writing to a String cannot fail.
        let _ = describe(&mut text, flag);
    }
    text + "  --help\n      This text.\n  --version\n      The version.\n"
}

fn describe(text: &mut String, flag: &Flag) -> fmt::Result {
    write!(text, "  --{}", flag.name)?;
    if let Some(value_name) = flag.value_name() {
        write!(text, " {value_name}")?;
    }
    write!(text, "\n      {}", flag.help)?;
    if matches!(flag.kind, Kind::Several(_)) {
        write!(text, "\n      May be repeated, or separated by commas.")?;
    }
    if let Some(variable) = flag.variable() {
        write!(text, "\n      Default: {}. Variable: {variable}.", flag.default)?;
    }
    writeln!(text)
}
