//! The logger behind the `log` crate: one line on stderr for each event.
//!
//! ```text
//! 2026-01-31T12:00:00.000123Z INFO  tally::discovery::heartbeat registered as write with the registry at http://127.0.0.1:7000
//! ```
//!
//! **Invariant:** an event is one line. Line ends and other control characters of the message are escaped, so
//! that a client cannot forge a line or control a terminal with the text of a request. A panic is an event.
//!
//! Read next: `service/telemetry.rs`, the line of each request.

use std::fmt::Write as _;
use std::io::Write as _;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::time::Timestamp;

/// The crate whose events are shown from the chosen level on. Events of other crates are shown from `warn`
/// on: at `debug` an HTTP client alone logs more than the service.
const OURS: &str = "tally";

#[derive(Debug)]
struct Logger;

/// Shows events of `level` and above on stderr, and panics as `error`. The first call of a process installs
/// the logger; later calls change the level.
pub fn start(level: LevelFilter) {
    // Fails when a logger is installed already: this one, or the logger of an embedding program.
    if log::set_logger(&Logger).is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            log::error!(target: OURS, "thread {}: {panic}", thread.name().unwrap_or("without a name"));
        }));
    }
    log::set_max_level(level);
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata
            .target()
            .strip_prefix(OURS)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        metadata.level() <= log::max_level() && (ours || metadata.level() <= Level::Warn)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = line(Timestamp::now(), record);
            // One write, so that lines of several threads do not mix. A closed stderr has no reader left.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

fn line(time: Timestamp, record: &Record<'_>) -> String {
    let mut line = String::with_capacity(160);
    // Writing to a String cannot fail.
    let _ = write!(line, "{time} {:<5} {} ", record.level(), record.target());
    for character in record.args().to_string().chars() {
        match character {
            '\n' => line.push_str("\\n"),
            '\t' => line.push(' '),
            // Some viewers end a line at the Unicode line and paragraph separators.
            character if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') => {
                line.extend(character.escape_unicode());
            }
            character => line.push(character),
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(message: &str) -> String {
        let time: Timestamp = "2026-01-31T12:00:00.0001239Z".parse().unwrap();
        let arguments = format_args!("{message}").to_string();
        line(
            time,
            &Record::builder()
                .level(Level::Info)
                .target("tally::write")
                .args(format_args!("{arguments}"))
                .build(),
        )
    }

    #[test]
    fn a_line_says_when_how_bad_where_and_what() {
        assert_eq!(line_of("it is so"), "2026-01-31T12:00:00.000123Z INFO  tally::write it is so\n");
    }

    #[test]
    fn a_message_cannot_forge_a_line_or_drive_a_terminal() {
        let line = line_of("owner Ann\n2026 ERROR forged\r\u{1b}[31m\u{2028}\u{0}\tå");
        assert!(
            line.ends_with("owner Ann\\n2026 ERROR forged\\u{d}\\u{1b}[31m\\u{2028}\\u{0} å\n"),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn details_of_other_crates_are_not_shown() {
        let enabled =
            |target, level| Logger.enabled(&Metadata::builder().target(target).level(level).build());
        log::set_max_level(LevelFilter::Debug);
        assert!(enabled("tally", Level::Debug) && enabled("tally::write", Level::Debug));
        assert!(!enabled("ureq::pool", Level::Info) && !enabled("tallyho", Level::Info));
        assert!(enabled("ureq::pool", Level::Warn));
    }
}
