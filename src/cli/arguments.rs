//! The command line after the name of a command: operands, flags, and the help page of the command.
//!
//! **Invariant:** a flag that a command reads is a row of the command's page, so the help page is complete. A
//! wrong command line is one line that names the argument.
//!
//! Read next: `commands.rs`, the pages.

use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::failure::CommandFailure;
use crate::service::config::nearest;

/// Number of arguments that a command line may have: more are a mistake of a script.
const MAX_ARGUMENTS: usize = 64;
/// A flag of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommandFlag {
    pub(super) name: &'static str,
    /// The name of the value; empty for a flag without a value.
    pub(super) value: &'static str,
    pub(super) help: &'static str,
}

pub(super) const fn flag(name: &'static str, value: &'static str, help: &'static str) -> CommandFlag {
    CommandFlag { name, value, help }
}

/// What a command works on, which decides its common flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorksOn {
    /// The services that the registry names.
    Services,
    /// The services, for a command that prints a text for people alone.
    Narration,
    /// The file of the event store.
    File,
}

const REGISTRY: CommandFlag = flag(
    "registry",
    "URL",
    "The service registry, http://HOST:PORT; may be repeated, or separated by commas: each is tried in turn.\n      \
     Default: http://127.0.0.1:7000. Variable: TALLY_REGISTRY.",
);
const JSON: CommandFlag = flag("json", "", "Print JSON for programs instead of a table for people.");
const DB: CommandFlag =
    flag("db", "PATH", "The file of the event store. Default: write_db.sqlite3 in --data-dir.");
const DATA_DIR: CommandFlag =
    flag("data-dir", "DIR", "The directory of write_db.sqlite3. Default: the current directory.");

impl WorksOn {
    fn flags(self) -> &'static [CommandFlag] {
        match self {
            Self::Services => &[REGISTRY, JSON],
            Self::Narration => &[REGISTRY],
            Self::File => &[DB, DATA_DIR],
        }
    }
}

/// The page of a command: what the parser accepts and what `--help` prints.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommandPage {
    pub(super) name: &'static str,
    /// The purpose, in half a line.
    pub(super) summary: &'static str,
    /// The operands; a name in brackets may be left out.
    pub(super) operands: &'static [&'static str],
    pub(super) place: WorksOn,
    pub(super) flags: &'static [CommandFlag],
    /// What the command prints, and what its operands mean.
    pub(super) details: &'static str,
    /// Command lines that work.
    pub(super) example: &'static str,
}

impl CommandPage {
    fn all_flags(&self) -> impl Iterator<Item = &'static CommandFlag> {
        self.flags.iter().chain(self.place.flags())
    }

    /// Returns the help page.
    #[inline(never)]
    pub(super) fn help(&self) -> String {
        // The operands stand first, as the examples have them.
        let mut usage = format!("Usage: tally {}", self.name);
        self.operands.iter().for_each(|operand| usage = format!("{usage} {operand}"));
        let mut text = format!("{}\n\n{usage} [FLAG]...\n\n{}\n\n", self.summary, self.details);
        for CommandFlag { name, value, help } in self.all_flags() {
            let space = if value.is_empty() { "" } else { " " };
            text += &format!("  --{name}{space}{value}\n      {help}\n");
        }
        text + "  --help\n      This text.\n\nExample:\n  " + &self.example.replace('\n', "\n  ") + "\n"
    }

    /// Reads the arguments after the command's name. Returns nothing when they ask for the help page.
    pub(super) fn read(&self, arguments: Vec<OsString>) -> Result<Option<Arguments>, CommandFailure> {
        // Before any of them is read.
        if arguments.len() > MAX_ARGUMENTS {
            return Err(CommandFailure::usage(format!("expected at most {MAX_ARGUMENTS} arguments")));
        }
        let mut given = Arguments::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("-h" | "--help") => return Ok(None),
                // After two hyphens, everything is an operand.
                Some("--") => given.operands.extend(arguments.by_ref()),
                // A negative number is a wrong value, which its command explains, and no flag.
                Some(text) if is_flag(text) => {
                    given.flags.push(self.read_flag(text, &mut arguments)?);
                }
                Some(_) | None => given.operands.push(argument),
            }
        }
        self.check_operands(&given)?;
        Ok(Some(given))
    }

    fn read_flag(
        &self,
        text: &str,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(&'static str, OsString), CommandFailure> {
        let (name, attached) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let known = self.all_flags().find(|flag| name.strip_prefix("--") == Some(flag.name));
        let CommandFlag { name, value, .. } = known.ok_or_else(|| {
            let names = self.all_flags().map(|flag| flag.name);
            let hint = nearest(name.trim_start_matches('-'), names).map(|name| format!("--{name}"));
            CommandFailure::usage(format!("unknown flag {name:?}{}", hinted(hint)))
        })?;
        let text = match (value.is_empty(), attached) {
            (true, None) => OsString::new(),
            (true, Some(_)) => {
                return Err(CommandFailure::usage(format!("--{name}: expected no value, got one")));
            }
            (false, Some(text)) => text.into(),
            // `--type --follow` means a forgotten value, not a type named --follow.
            (false, None) => rest
                .next()
                .filter(|text| !text.as_encoded_bytes().starts_with(b"--"))
                .ok_or_else(|| CommandFailure::usage(format!("--{name}: expected {value}, got no value")))?,
        };
        Ok((name, text))
    }

    fn check_operands(&self, given: &Arguments) -> Result<(), CommandFailure> {
        // One missing operand is named, the first.
        let found = given.operands.len();
        if let Some(missing) = self.operands.get(found).filter(|operand| !operand.starts_with('[')) {
            return Err(CommandFailure::usage(format!("expected {missing}, got nothing")));
        }
        if let Some(extra) = given.operands.get(self.operands.len()) {
            return Err(CommandFailure::usage(format!("unexpected argument {extra:?}")));
        }
        for (name, _) in &given.flags {
            // The registries alone are several.
            if *name != REGISTRY.name && given.all(name).count() > 1 {
                return Err(CommandFailure::usage(format!("--{name}: expected once, got twice")));
            }
        }
        Ok(())
    }
}

/// The operands and flags of a command line.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    operands: Vec<OsString>,
    flags: Vec<(&'static str, OsString)>,
}

impl Arguments {
    pub(super) fn has(&self, flag: &str) -> bool {
        self.all(flag).next().is_some()
    }

    /// Returns the values of a flag, in their order.
    pub(super) fn all<'g>(&'g self, flag: &'g str) -> impl Iterator<Item = &'g OsStr> {
        self.flags.iter().filter(move |(name, _)| *name == flag).map(|(_, text)| text.as_os_str())
    }

    /// Returns the value of a flag, as it was given.
    pub(super) fn value(&self, flag: &str) -> Option<&OsStr> {
        self.flags.iter().find(|(name, _)| *name == flag).map(|(_, text)| text.as_os_str())
    }

    /// Returns the operand of that number, from 0, as it was given.
    pub(super) fn operand(&self, index: usize) -> Option<&OsStr> {
        self.operands.get(index).map(OsString::as_os_str)
    }

    /// Returns the value of a flag as text.
    #[inline(never)]
    pub(super) fn text(&self, flag: &str) -> Result<Option<&str>, CommandFailure> {
        self.value(flag).map(|text| utf8(flag, text)).transpose()
    }

    /// Returns the value of a flag as `T`; `expected` describes `T`.
    #[inline(never)]
    pub(super) fn parsed<T: FromStr>(&self, flag: &str, expected: &str) -> Result<Option<T>, CommandFailure> {
        let parse = |text: &str| text.parse().map_err(|_| wrong(&format!("--{flag}"), expected, text));
        self.text(flag)?.map(parse).transpose()
    }

    /// Returns the value of a flag as a whole number of a range.
    #[inline(never)]
    pub(super) fn number(
        &self,
        flag: &str,
        range: &RangeInclusive<u64>,
    ) -> Result<Option<u64>, CommandFailure> {
        self.text(flag)?.map(|text| number(&format!("--{flag}"), text, range)).transpose()
    }

    /// Returns the operand of that number as text; the page says that the operand is there.
    #[inline(never)]
    pub(super) fn operand_text(&self, index: usize, name: &str) -> Result<&str, CommandFailure> {
        utf8(name, self.operand(index).unwrap_or_default())
    }

    /// Returns the operand of that number as `T`; `expected` describes `T`.
    #[inline(never)]
    pub(super) fn operand_parsed<T: FromStr>(
        &self,
        index: usize,
        name: &str,
        expected: &str,
    ) -> Result<T, CommandFailure> {
        let text = self.operand_text(index, name)?;
        text.parse().map_err(|_| wrong(name, expected, text))
    }
}

fn utf8<'t>(name: &str, text: &'t OsStr) -> Result<&'t str, CommandFailure> {
    text.to_str().ok_or_else(|| CommandFailure::usage(format!("{name}: expected UTF-8, got other bytes")))
}

/// Reads a whole number of a range.
#[inline(never)]
pub(super) fn number(name: &str, text: &str, range: &RangeInclusive<u64>) -> Result<u64, CommandFailure> {
    // `parse` would accept a plus sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && range.contains(number));
    number.ok_or_else(|| wrong(name, &format!("a whole number, {} to {}", range.start(), range.end()), text))
}

/// Returns the error for a value that does not have the expected form.
#[cold]
#[inline(never)]
pub(super) fn wrong(name: &str, expected: &str, text: &str) -> CommandFailure {
    // Quoted with escapes, so that the error stays one line.
    CommandFailure::usage(format!("{name}: expected {expected}, got {text:?}"))
}

fn is_flag(text: &str) -> bool {
    text.strip_prefix('-')
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Returns `; did you mean NAME?`, or nothing.
#[cold]
#[inline(never)]
pub(super) fn hinted(name: Option<String>) -> String {
    name.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: CommandPage = CommandPage {
        name: "pay",
        summary: "Pays.",
        operands: &["ID", "[NOTE]"],
        place: WorksOn::Services,
        flags: &[flag("follow", "", "Follow."), flag("type", "T", "The type.")],
        details: "Pays once.",
        example: "tally pay 1",
    };

    fn read(arguments: &[&str]) -> Result<Option<Arguments>, String> {
        let arguments = arguments.iter().map(OsString::from).collect();
        PAGE.read(arguments).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn operands_and_flags_stand_in_any_order_and_two_hyphens_end_the_flags() {
        let given = read(&["--type=A", "1", "--follow", "--registry", "a", "--registry", "b", "--", "--x"]);
        let given = given.unwrap().unwrap();
        assert_eq!(given.text("type").unwrap(), Some("A"));
        assert!(given.has("follow") && !given.has("json"));
        assert_eq!(given.all("registry").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(
            (given.operand_text(0, "ID").unwrap(), given.operand_text(1, "NOTE").unwrap()),
            ("1", "--x")
        );
        assert!(read(&["1", "--help", "--bogus"]).unwrap().is_none(), "help wins");
        let negative = read(&["-5"]).unwrap().unwrap();
        assert_eq!(negative.operand_text(0, "ID").unwrap(), "-5", "the command explains what it expects");
    }

    #[test]
    fn a_wrong_argument_is_named() {
        for (arguments, part) in [
            (&[][..], "expected ID"),
            (&["1", "2", "3"], "unexpected argument"),
            (&["1", "--folow"], "did you mean --follow?"),
            (&["1", "--bogus\n"], "unknown flag"),
            (&["1", "--type"], "--type: expected T, got no value"),
            (&["1", "--type", "--follow"], "--type: expected T, got no value"),
            (&["1", "--follow=yes"], "expected no value"),
            (&["1", "--type", "A", "--type", "B"], "expected once"),
        ] {
            let error = read(arguments).unwrap_err();
            assert!(error.contains(part) && error.lines().count() == 1, "{arguments:?}: {error}");
        }
    }

    #[test]
    fn a_number_has_digits_and_nothing_else() {
        assert!(matches!(number("N", "12", &(1..=20)), Ok(12)));
        for text in ["", "+1", "-1", "12.5", "1e1", "0x1", " 1", "21", "0", "99999999999999999999"] {
            assert!(number("N", text, &(1..=20)).is_err(), "{text}");
        }
    }
}
