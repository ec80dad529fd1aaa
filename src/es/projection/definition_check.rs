//! Checks of the definitions at the start: names that a table can have, and tables that `create` makes.
//!
//! A mistake here would show only in the first rebuild, when tables exist twice and are renamed. So each
//! definition creates its tables twice at every start, in memory.
//!
//! **Invariant:** a check touches no file.
//!
//! Read next: `read_db.rs`, which creates, renames and drops the tables.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::definition::{Definition, Names};
use super::open_error::OpenError;

/// Tables of the read database itself.
const RESERVED: [&str; 3] = ["checkpoints", "feed", "fills"];

/// The rule of [`is_name`], for a message.
const NAME_RULE: &str = "only a-z, 0-9 and _, begin with a letter, and not end in _next";

/// Checks all definitions.
///
/// # Errors
/// [`OpenError::Definition`] with the projection and the table.
pub(super) fn check(definitions: &[Definition]) -> Result<(), OpenError> {
    check_names(definitions)?;
    definitions.iter().try_for_each(check_tables)
}

/// Checks the names of all projections and their tables.
fn check_names(definitions: &[Definition]) -> Result<(), OpenError> {
    let (mut names, mut tables) = (BTreeSet::new(), BTreeSet::new());
    for definition in definitions {
        let wrong = |fault: String| OpenError::Definition { projection: definition.name, fault };
        if !is_name(definition.name) {
            return Err(wrong(format!("NAME must have {NAME_RULE}")));
        }
        if !names.insert(definition.name) {
            return Err(wrong("another projection has the same NAME".to_owned()));
        }
        for table in definition.tables {
            if !is_name(table) || RESERVED.contains(table) {
                let reserved = RESERVED.join(", ");
                return Err(wrong(format!(
                    "TABLES has {table:?}, but a table's name must have {NAME_RULE}, and be none of {reserved}"
                )));
            }
            if !tables.insert(*table) {
                return Err(wrong(format!("TABLES has {table:?}, which is listed before or elsewhere")));
            }
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    // A rebuild has the ending for its own checkpoint and tables.
    !name.ends_with(Names::NEXT)
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Checks that `create` makes the listed tables and no other ones, also beside the live ones.
fn check_tables(definition: &Definition) -> Result<(), OpenError> {
    let wrong = |fault: String| OpenError::Definition { projection: definition.name, fault };
    let db = Connection::open_in_memory()?;
    for names in [Names::new(Names::LIVE, 1), Names::new(Names::NEXT, 2)] {
        let before = tables(&db)?;
        (definition.create)(&db, &names).map_err(|error| {
            let place = if names.is_live() { "" } else { " beside the live tables" };
            wrong(format!("create fails{place}: {error}"))
        })?;
        let mut made: BTreeSet<String> = tables(&db)?.difference(&before).cloned().collect();
        for table in definition.tables {
            if !made.remove(&names.table(table)) {
                let fault = format!("TABLES has {table:?}, but create makes no Names::table({table:?})");
                return Err(wrong(fault));
            }
        }
        if let Some(table) = made.first() {
            return Err(wrong(format!(
                "create makes the table {table:?}, which is Names::table of none of TABLES ({})",
                definition.tables.join(", ")
            )));
        }
    }
    Ok(())
}

/// Returns the tables of programs: none of SQLite's own, nor those behind a virtual table.
fn tables(db: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    db.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}
