//! What a command prints: tables for people, JSON for programs, colour on a terminal alone.
//!
//! **Invariant:** no text of a service reaches the terminal raw. Control characters, which would drive the
//! terminal, and characters that change the direction of the text are written as escapes.
//!
//! Read next: `queries.rs`, which prints tables.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, IsTerminal, Write};

use super::failure::CommandFailure;

/// The longest cell of a table, in characters. An owner has up to 200, a description up to 500.
const MAX_CELL: usize = 60;

/// The form of the output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminal {
    pub(super) is_json: bool,
    has_colours: bool,
}

impl Terminal {
    /// Returns the form for this process: JSON if asked for, colours on a terminal without `NO_COLOR`.
    pub(super) fn of_process(is_json: bool) -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { is_json, has_colours: io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb }
    }

    /// Prints text as it is, at once.
    #[inline(never)]
    pub(super) fn print(self, text: &str) -> Result<(), CommandFailure> {
        // Flushed at once: a follower that waits must not keep an event back.
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| {
            if error.kind() == ErrorKind::BrokenPipe {
                return CommandFailure::ClosedPipe;
            }
            CommandFailure::failed(format!("cannot write to stdout: {error}"))
        })
    }

    /// Prints a JSON document as one line.
    #[inline(never)]
    pub(super) fn print_json(self, json: &str) -> Result<(), CommandFailure> {
        self.print(&(harmless_json(json.trim()) + "\n"))
    }

    /// Returns a heading, bold on a terminal.
    #[inline(never)]
    pub(super) fn heading(self, text: &str) -> String {
        self.coloured("1", text)
    }

    /// Returns a side note, dim on a terminal.
    #[inline(never)]
    pub(super) fn note(self, text: &str) -> String {
        self.coloured("2", text)
    }

    fn coloured(self, code: &str, text: &str) -> String {
        if self.has_colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Prints one line on stderr: a remark that is not part of the output.
#[inline(never)]
pub(super) fn remark(text: &str) {
    // A closed stderr has no reader left.
    let _ = writeln!(io::stderr(), "tally: {}", harmless(text));
}

/// Returns whether a character could drive a terminal, or show text in another order than it is.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the text with each harmful character as an escape such as `\u{1b}`.
#[inline(never)]
pub(super) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmful(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Returns JSON with each harmful character as `\u009b`. JSON has such characters inside of strings alone,
/// apart from line breaks and tabs between its parts.
#[inline(never)]
pub(super) fn harmless_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\n' | '\r' | '\t' => shown.push(' '),
            _ if is_harmful(character) => {
                // Writing to a String cannot fail.
                let _ = write!(shown, "\\u{:04x}", u32::from(character));
            }
            _ => shown.push(character),
        }
    }
    shown
}

/// Returns the text in at most `width` characters, without harmful ones.
#[inline(never)]
pub(super) fn fitted(text: &str, width: usize) -> String {
    let shown = harmless(text);
    if shown.chars().count() <= width {
        return shown;
    }
    // One character less, for the ellipsis.
    let kept: String = shown.chars().take(width.saturating_sub(1)).collect();
    kept + "…"
}

/// A table with aligned columns: numbers to the right, texts to the left.
#[derive(Debug)]
pub(super) struct Table {
    headings: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Returns a table without rows. A heading that begins with `#` is of a column of numbers.
    pub(super) fn with(headings: &'static [&'static str]) -> Self {
        Self { headings, rows: Vec::new() }
    }

    #[inline(never)]
    pub(super) fn add(&mut self, cells: &[String]) {
        self.rows.push(cells.iter().map(|cell| fitted(cell, MAX_CELL)).collect());
    }

    /// Returns the lines of the table.
    #[inline(never)]
    pub(super) fn lines(&self, terminal: Terminal) -> String {
        let title = |column: usize| self.headings[column].trim_start_matches('#');
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([title(column).chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.headings.len()).map(width).collect();
        let line = |cell: &dyn Fn(usize) -> String| {
            let cells = widths.iter().enumerate().map(|(column, width)| {
                let (cell, width) = (cell(column), *width);
                if self.headings[column].starts_with('#') {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let mut text = terminal.heading(&line(&|column| title(column).to_owned())) + "\n";
        for row in &self.rows {
            text += &(line(&|column| row[column].clone()) + "\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Terminal = Terminal { is_json: false, has_colours: false };

    #[test]
    fn hostile_text_drives_no_terminal() {
        let hostile = "a\u{1b}[31m\u{9b}2J\r\n\u{202e}b\u{2028}c";
        assert_eq!(harmless(hostile), "a\\u{1b}[31m\\u{9b}2J\\u{d}\\u{a}\\u{202e}b\\u{2028}c");
        let json = harmless_json("{\"owner\":\"\u{9b}2J\u{202e}é\"}\n");
        assert_eq!(json, "{\"owner\":\"\\u009b2J\\u202eé\"} ");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["owner"], "\u{9b}2J\u{202e}é");
    }

    #[test]
    fn a_table_is_aligned_and_a_long_cell_is_cut() {
        let mut table = Table::with(&["owner", "#balance"]);
        table.add(&["Ada".into(), "5".into()]);
        table.add(&["é".repeat(500), "1250".into()]);
        let text = table.lines(PLAIN);
        let lines: Vec<_> = text.lines().map(|line| line.chars().count()).collect();
        assert_eq!(lines, [MAX_CELL + 9; 3], "{text}");
        assert!(text.contains('…') && text.starts_with("owner "), "{text}");
    }

    #[test]
    fn colours_are_for_terminals() {
        assert_eq!(PLAIN.heading("a"), "a");
        assert_eq!(Terminal { has_colours: true, ..PLAIN }.heading("a"), "\x1b[1ma\x1b[0m");
    }
}
