//! Flags and variables as they are given: which there are, how often, and their help.
//!
//! **Invariant:** every flag is in a binary's table; its variable is `TALLY_` and its name in
//! capitals, so no two sources of truth can differ.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// More values than this for one flag are a mistake of a script.
const MAX_VALUES: usize = 16;

/// A row of a binary's table of flags.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// In words of the help text; empty for actions.
    pub(super) default: &'static str,
    pub(super) help: &'static str,
}

/// What a flag takes. Actions have no variable: one that is left in the environment by accident
/// must not keep a service from serving.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Nothing: it is given or not.
    Action,
    /// A value, for something that is done once.
    ActionOn(&'static str),
    /// Nothing as a flag: it is given or not. The variable takes `yes` or `no`.
    Switch,
    /// One value.
    One(&'static str),
    /// Values, by repetition or behind commas.
    Several(&'static str),
}

impl Flag {
    fn variable(&self) -> Option<String> {
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

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation<C, Text = String> {
    /// To run with that configuration.
    Run(C),
    /// To print that text and end.
    Print(Text),
}

/// Why a command line is refused: one line that names the flag or the variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError {
    message: String,
}

impl UsageError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for UsageError {}

/// The values that were given, by flag.
#[derive(Debug, Default)]
pub struct Given {
    values: BTreeMap<&'static str, Values>,
}

#[derive(Debug)]
struct Values {
    /// The flag or the variable, as the user wrote it.
    source: String,
    texts: Vec<OsString>,
}

/// Reads the arguments, then the variables of flags that were not given. An empty variable
/// counts as absent: that is how one is unset in most files that set variables.
pub(super) fn read(
    flags: &'static [Flag],
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl Fn(&str) -> Option<OsString>,
) -> Result<Invocation<Given, &'static str>, UsageError> {
    let mut given = Given::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-h" | "--help") => return Ok(Invocation::Print("help")),
            Some("-V" | "--version") => return Ok(Invocation::Print("version")),
            Some(_) | None => {}
        }
        let (name, attached) = split(&argument);
        let flag = flags.iter().find(|flag| name.strip_prefix(b"--") == Some(flag.name.as_bytes()));
        given.take(flag.ok_or_else(|| unexpected(name))?, attached, &mut arguments)?;
    }
    for flag in flags {
        given.take_variable(flag, &variables);
    }
    Ok(Invocation::Run(given))
}

/// The name of `--name=value`, and its value, which may be any bytes.
fn split(argument: &OsStr) -> (&[u8], Option<OsString>) {
    let bytes = argument.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (&bytes[..at], Some(OsStr::from_bytes(&bytes[at + 1..]).to_owned())),
        None => (bytes, None),
    }
}

/// Quoted with escapes: an error is one line. And without its value, which may hold a password.
fn unexpected(name: &[u8]) -> UsageError {
    UsageError::new(format!("{:?} is no flag", OsStr::from_bytes(name)))
}

impl Given {
    fn take(
        &mut self,
        flag: &Flag,
        attached: Option<OsString>,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), UsageError> {
        let source = format!("--{}", flag.name);
        let text = match (flag.value_name(), attached) {
            (None, None) => OsString::new(),
            (None, Some(_)) => return Err(UsageError::new(format!("{source}: takes no value"))),
            (Some(_), Some(text)) => text,
            (Some(value_name), None) => {
                let missing = || UsageError::new(format!("{source}: its value is missing ({value_name})"));
                // `--db --verify` means a forgotten path, not a file of that name.
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
                Err(UsageError::new(format!("{}: given twice", values.source)))
            }
        }
    }

    fn take_variable(&mut self, flag: &Flag, variables: &impl Fn(&str) -> Option<OsString>) {
        let Some(source) = flag.variable().filter(|_| !self.has(flag.name)) else {
            return;
        };
        if let Some(text) = variables(&source).filter(|text| !text.is_empty()) {
            self.values.insert(flag.name, Values { source, texts: vec![text] });
        }
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.values.contains_key(flag)
    }

    /// Whether a switch is on: its flag is given, or its variable says `yes`.
    pub(super) fn is_on(&self, flag: &str) -> Result<bool, UsageError> {
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
        self.values.get(flag).is_some_and(|values| values.source.starts_with("--"))
    }

    /// The one value of a flag, as `parse` reads it.
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

    /// All values of a flag, as `parse` reads each; empty when it is not given.
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
        if values.len() > MAX_VALUES {
            return Err(UsageError::new(format!("{source}: more than {MAX_VALUES} values")));
        }
        Ok(values)
    }

    /// The path that a flag gives; any bytes that the system takes.
    pub(super) fn path(&self, flag: &str) -> Result<Option<PathBuf>, UsageError> {
        match self.values.get(flag).and_then(|values| values.texts.first()) {
            None => Ok(None),
            Some(text) if text.is_empty() => Err(self.refuse(flag, "the path is empty")),
            Some(text) => Ok(Some(PathBuf::from(text))),
        }
    }

    /// The error that a flag's value is not possible.
    pub(super) fn refuse(&self, flag: &str, why: &str) -> UsageError {
        let source = self.values.get(flag).map_or(flag, |values| values.source.as_str());
        UsageError::new(format!("{source}: {why}"))
    }
}

fn is_flag(text: &OsStr) -> bool {
    text.as_encoded_bytes().starts_with(b"--")
}

fn utf8<'a>(source: &str, text: &'a OsStr) -> Result<&'a str, UsageError> {
    text.to_str().ok_or_else(|| UsageError::new(format!("{source}: the value is no UTF-8")))
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
         stop, 1 when something is wrong (stderr says what), 2 when a flag or variable is.\n\n",
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
