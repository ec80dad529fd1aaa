//! The queries: one account, all accounts, the services, the projections.
//!
//! **Invariant:** a query changes nothing. All pages of a list are printed, and each before the next is asked
//! for, so the memory does not grow with the list.
//!
//! Read next: `terminal.rs`, the tables.

use serde_json::Value;

use super::failure::CommandFailure;
use super::services::{READ, field};
use super::session::Session;
use super::terminal::{Table, Terminal, harmless, harmless_json};
use crate::limits::MAX_EXACT_INTEGER;
use crate::time::Timestamp;

/// Returns a field for people: texts without quotes, numbers as they are, nothing for null.
#[inline(never)]
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn cells(value: &Value, fields: &[&str]) -> Vec<String> {
    fields.iter().map(|name| cell(field(value, name))).collect()
}

/// Prints an account, now or as it was.
pub(super) fn account(session: &Session) -> Result<(), CommandFailure> {
    let id = session.id(0, "ID")?;
    let version = session.given.number("at-version", &(1..=MAX_EXACT_INTEGER))?;
    // The service reads the time again; here a wrong time is a wrong command line.
    let time: Option<Timestamp> = session.given.parsed("as-of", "a time such as 2026-01-31T12:00:00Z")?;
    // The id, numbers and times need no escape in a URL.
    let path = match (version, time) {
        (Some(_), Some(_)) => {
            return Err(CommandFailure::usage("--at-version and --as-of: choose one of the two"));
        }
        (Some(version), None) => format!("/accounts/{id}?at_version={version}"),
        (None, Some(time)) => format!("/accounts/{id}?as_of={time}"),
        (None, None) => format!("/accounts/{id}"),
    };
    let answer = session.services.get(READ, &path)?;
    if session.terminal.is_json {
        return session.terminal.print_json(&answer.body);
    }
    session.terminal.print(&account_lines(session.terminal, &answer.json()?))
}

/// Returns the fields of an account, one a line.
#[inline(never)]
pub(super) fn account_lines(terminal: Terminal, account: &Value) -> String {
    const FIELDS: [&str; 8] =
        ["account_id", "owner", "currency", "balance", "status", "version", "opened_at", "updated_at"];
    let line = |name: &&str| {
        format!("{}{}\n", terminal.heading(&format!("{name:<12}")), harmless(&cell(field(account, name))))
    };
    FIELDS.iter().map(line).collect()
}

/// Prints all accounts, page by page.
pub(super) fn accounts(session: &Session) -> Result<(), CommandFailure> {
    const FIELDS: [&str; 6] = ["account_id", "owner", "currency", "balance", "status", "version"];
    let mut cursor = String::new();
    loop {
        let answer = session.services.get(READ, &format!("/accounts?limit=100{cursor}"))?;
        let page = answer.json()?;
        let accounts = field(&page, "accounts").as_array().map_or(&[][..], Vec::as_slice);
        if session.terminal.is_json {
            let lines = accounts.iter().map(|account| harmless_json(&account.to_string()) + "\n");
            session.terminal.print(&lines.collect::<String>())?;
        } else {
            let mut table =
                Table::with(&["account_id", "owner", "currency", "#balance", "status", "#version"]);
            accounts.iter().for_each(|account| table.add(&cells(account, &FIELDS)));
            session.terminal.print(&table.lines(session.terminal))?;
        }
        // The cursor is the service's own text, made for URLs.
        match field(&page, "next_cursor").as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(()),
        }
    }
}

/// Prints the live instances of all services.
pub(super) fn services(session: &Session) -> Result<(), CommandFailure> {
    let answer = session.services.get_from_registry("/services")?;
    if session.terminal.is_json {
        return session.terminal.print_json(&answer.body);
    }
    let mut table = Table::with(&["service", "address", "instance_id", "last_heartbeat_at", "metadata"]);
    for instance in field(&answer.json()?, "services")
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(_, list)| list.as_array().into_iter().flatten())
    {
        let host = cell(field(instance, "host"));
        // An IPv6 address needs brackets before a port.
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        // Metadata is text from whom the registry let in; the table makes it harmless.
        let pairs = field(instance, "metadata").as_object().into_iter().flatten();
        let metadata: Vec<_> = pairs.map(|(key, value)| format!("{key}={}", cell(value))).collect();
        table.add(&[
            cell(field(instance, "name")),
            format!("http://{host}:{}", field(instance, "port")),
            cell(field(instance, "instance_id")),
            cell(field(instance, "last_heartbeat_at")),
            metadata.join(" "),
        ]);
    }
    session.terminal.print(&table.lines(session.terminal))
}

/// Prints how far each projection of the read side is.
pub(super) fn projections(session: &Session) -> Result<(), CommandFailure> {
    const FIELDS: [&str; 7] = ["name", "position", "head", "lag_events", "lag_seconds", "state", "error"];
    let answer = session.services.get(READ, "/projections")?;
    if session.terminal.is_json {
        return session.terminal.print_json(&answer.body);
    }
    let mut table =
        Table::with(&["name", "#position", "#head", "#lag_events", "#lag_seconds", "state", "error"]);
    for projection in field(&answer.json()?, "projections").as_array().into_iter().flatten() {
        let mut row = cells(projection, &FIELDS);
        // People compare lags, and nanoseconds only hide the difference.
        if let Some(seconds) = field(projection, "lag_seconds").as_f64() {
            row[4] = format!("{seconds:.1}");
        }
        table.add(&row);
    }
    session.terminal.print(&table.lines(session.terminal))
}
