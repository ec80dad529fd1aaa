//! The logger behind the `log` crate: one line on stderr for each event, as text or as a JSON object.
//!
//! ```text
//! 2026-01-31T12:00:00.000123Z INFO  tally::discovery::heartbeat registered as write with the registry at http://127.0.0.1:7000
//! {"time":"2026-01-31T12:00:00.000123Z","level":"INFO","target":"tally::write_side","message":"..."}
//! ```
//!
//! A line that the thread of a request writes has the id of the request: `trace_id=ID` in front of the
//! message, or the member `trace_id`. The JSON form adds the fields of the event.
//!
//! **Invariant:** an event is one line. Line ends and other control characters of the message are escaped, so
//! that a client cannot forge a line or control a terminal with the text of a request. A panic is an event.
//!
//! Read next: `http/trace.rs`, the id; `service/telemetry.rs`, the line of each request.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use log::kv::{self, Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::http::current_trace;
use crate::time::Timestamp;

/// The crate whose events are shown from the chosen level on. Events of other crates are shown from `warn`
/// on: at `debug` an HTTP client alone logs more than the service.
const OURS: &str = "tally";

/// Which events to log, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The lowest level of events to show.
    pub level: LevelFilter,
    /// The form of each line.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Words for people.
    Text,
    /// A JSON object for programs.
    Json,
}

#[derive(Debug)]
struct Logger {
    is_json: AtomicBool,
}

static LOGGER: Logger = Logger { is_json: AtomicBool::new(false) };

/// Shows events on stderr, and panics as `error`. The first call of a process installs the logger; later calls
/// change the options.
pub fn start(LogOptions { level, format }: LogOptions) {
    // Relaxed: no other memory depends on the form.
    LOGGER.is_json.store(format == LogFormat::Json, Ordering::Relaxed);
    // Fails when a logger is installed already: this one, or the logger of an embedding program.
    if log::set_logger(&LOGGER).is_ok() {
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
            let form = if self.is_json.load(Ordering::Relaxed) { json } else { text };
            let line = form(Timestamp::now(), record, current_trace().as_deref());
            // One write, so that lines of several threads do not mix. A closed stderr has no reader left.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

fn text(time: Timestamp, record: &Record<'_>, trace: Option<&str>) -> String {
    let mut line = String::with_capacity(160);
    // Writing to a String cannot fail, here and below.
    let _ = write!(line, "{time} {:<5} {} ", record.level(), record.target());
    // In front of the message, whose text a client may have chosen.
    if let Some(trace) = trace {
        let _ = write!(line, "trace_id={trace} ");
    }
    for character in record.args().to_string().chars() {
        match character {
            '\n' => line.push_str("\\n"),
            '\t' => line.push(' '),
            character if is_hidden(character) => line.extend(character.escape_unicode()),
            character => line.push(character),
        }
    }
    line.push('\n');
    line
}

fn json(time: Timestamp, record: &Record<'_>, trace: Option<&str>) -> String {
    let mut line = String::with_capacity(240);
    let _ = write!(line, "{{\"time\":\"{time}\",\"level\":\"{}\",\"target\":", record.level());
    push_json(&mut line, record.target());
    line.push_str(",\"message\":");
    push_json(&mut line, &record.args().to_string());
    if let Some(trace) = trace {
        line.push_str(",\"trace_id\":");
        push_json(&mut line, trace);
    }
    let mut fields = JsonFields(String::new());
    // Fails only when the visitor fails, and this one never does.
    let _ = record.key_values().visit(&mut fields);
    if !fields.0.is_empty() {
        let _ = write!(line, ",\"fields\":{{{}}}", fields.0);
    }
    line.push_str("}\n");
    line
}

/// The members of a JSON object, without the braces.
struct JsonFields(String);

impl<'kvs> VisitSource<'kvs> for JsonFields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        push_json(&mut self.0, key.as_str());
        self.0.push(':');
        // JSON has no infinity and no NaN: such a number becomes a text.
        match value.to_f64().filter(|number| number.is_finite()) {
            Some(number) => write!(self.0, "{number}")?,
            None => push_json(&mut self.0, &value.to_string()),
        }
        Ok(())
    }
}

/// Appends a text as a JSON string, with every hidden character escaped.
fn push_json(line: &mut String, text: &str) {
    line.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => line.extend(['\\', character]),
            // All hidden characters have four hexadecimal digits at most.
            character if is_hidden(character) => {
                let _ = write!(line, "\\u{:04x}", u32::from(character));
            }
            character => line.push(character),
        }
    }
    line.push('"');
}

/// Whether a viewer may obey the character instead of showing it. Some viewers end a line at the Unicode line
/// and paragraph separators.
fn is_hidden(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    type Form = fn(Timestamp, &Record<'_>, Option<&str>) -> String;

    fn formed(form: Form, message: &str, trace: Option<&str>) -> String {
        let time: Timestamp = "2026-01-31T12:00:00.0001239Z".parse().unwrap();
        let mut record = Record::builder();
        record.level(Level::Info).target("tally::write");
        form(time, &record.args(format_args!("{message}")).build(), trace)
    }

    fn line_of(message: &str) -> String {
        formed(text, message, None)
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
    fn a_line_of_a_request_has_the_id_of_the_request_in_both_forms() {
        let line = formed(text, "it is so", Some("order-7"));
        assert!(line.ends_with(" tally::write trace_id=order-7 it is so\n"), "{line}");
        let line = formed(json, "it is so", Some("order-7"));
        assert!(line.ends_with("\"message\":\"it is so\",\"trace_id\":\"order-7\"}\n"), "{line}");
    }

    #[test]
    fn a_json_line_is_one_object_whatever_the_message_is() {
        let hostile = "\"},{\"level\":\"\nERROR\r\t\u{1b}[31m\u{85}\u{2028}\u{0}\\ å";
        let line = formed(json, hostile, None);
        assert!(line.ends_with("}\n") && !line.trim_end().contains(is_hidden), "{line:?}");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["message"], hostile);
        assert_eq!((&object["level"], &object["target"]), (&"INFO".into(), &"tally::write".into()));
        assert_eq!(object["time"], "2026-01-31T12:00:00.000123Z");
    }

    #[test]
    fn fields_are_members_of_their_own_numbers_as_numbers() {
        let fields: &[(&str, Value<'_>)] =
            &[("path", Value::from("/a\"b")), ("status", Value::from(201_u16)), ("wait", f64::NAN.into())];
        let mut record = Record::builder();
        let line = json(Timestamp::now(), &record.key_values(&fields).build(), None);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["fields"], serde_json::json!({"path": "/a\"b", "status": 201, "wait": "NaN"}));
    }

    #[test]
    fn details_of_other_crates_are_not_shown() {
        let enabled =
            |target, level| LOGGER.enabled(&Metadata::builder().target(target).level(level).build());
        log::set_max_level(LevelFilter::Debug);
        assert!(enabled("tally", Level::Debug) && enabled("tally::write", Level::Debug));
        assert!(!enabled("ureq::pool", Level::Info) && !enabled("tallyho", Level::Info));
        assert!(enabled("ureq::pool", Level::Warn));
    }
}
