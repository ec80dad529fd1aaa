//! The schema of a log: which databases have the schema, and whether the schema is complete.
//!
//! The triggers of the schema defend history, so a database without one of the triggers is refused.
//!
//! Read next: `schema.sql`, the schema itself; `file.rs`.

use rusqlite::Connection;

/// The schema of a log, executed once when a log is created.
pub const SCHEMA: &str = include_str!("../../../../schema.sql");

/// "TALL" in ASCII: the application id that [`SCHEMA`] sets.
const APPLICATION_ID: i64 = 0x5441_4c4c;

/// The version that [`SCHEMA`] sets.
pub(super) const SCHEMA_VERSION: i64 = 1;

/// The owner of a SQLite database, as its header says.
pub(super) enum FileKind {
    Empty,
    Log { version: i64 },
    Foreign,
}

pub(super) fn kind_of(connection: &Connection) -> rusqlite::Result<FileKind> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match pragma("application_id")? {
        APPLICATION_ID => FileKind::Log { version: pragma("user_version")? },
        // 0 is SQLite's default: a database with tables and without an id belongs to another program.
        0 if objects == 0 => FileKind::Empty,
        _ => FileKind::Foreign,
    })
}

/// Returns the first fault of the schema, and what to do: an object of `schema.sql` that is missing or
/// changed, or a trigger or an index of another program on a table of the log, which could change or refuse
/// events. Tables, views and indexes of other programs that touch no table of the log are allowed:
/// Litestream has two, for example.
pub(super) fn schema_fault(connection: &Connection) -> rusqlite::Result<Option<String>> {
    // SQLite itself reads `schema.sql`, so both sides are compared in SQLite's own words.
    let ours = Connection::open_in_memory()?;
    ours.execute_batch(SCHEMA)?;
    let (intended, found) = (objects(&ours)?, objects(connection)?);
    if !intended.iter().all(|object| found.contains(object)) {
        let what = "its tables and triggers are not those of schema.sql: restore a backup";
        return Ok(Some(what.to_owned()));
    }
    let is_ours = |table: &str| intended.iter().any(|object| object.table.eq_ignore_ascii_case(table));
    let meddles = |object: &&Object| !intended.contains(object) && is_ours(&object.table);
    Ok(found.iter().find(meddles).map(|Object { kind, name, table, .. }| {
        let verb = kind.to_uppercase();
        format!("its {kind} {name} on {table} is not in schema.sql: remove it with DROP {verb} \"{name}\"")
    }))
}

/// A table, index, trigger or view.
#[derive(PartialEq, Eq)]
struct Object {
    kind: String,
    name: String,
    /// The table that the object belongs to; for a table, the table itself.
    table: String,
    sql: String,
}

fn objects(connection: &Connection) -> rusqlite::Result<Vec<Object>> {
    // ANALYZE adds tables of statistics: they change no answer, and any program may make them.
    let sql = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema
               WHERE name NOT LIKE 'sqlite_stat%' ORDER BY name";
    let object = |row: &rusqlite::Row<'_>| {
        let sql = without_comments(row.get_ref(3)?.as_str()?);
        Ok(Object { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql })
    };
    connection.prepare(sql)?.query_map([], object)?.collect()
}

/// Removes comments and line breaks from SQL. SQLite keeps both, and a reworded comment in `schema.sql` must
/// not make existing databases unknown.
fn without_comments(sql: &str) -> String {
    let (mut kept, mut rest) = (String::new(), sql);
    while let Some(at) = rest.find(['\'', '-']) {
        let (before, from) = rest.split_at(at);
        kept.push_str(before);
        let end = match from.strip_prefix('\'') {
            Some(text) => text.find('\'').map_or(from.len(), |end| end + 2),
            None if from.starts_with("--") => from.find('\n').unwrap_or(from.len()),
            None => 1,
        };
        // A string or a single minus stays; a comment goes.
        if !from.starts_with("--") {
            kept.push_str(&from[..end]);
        }
        rest = &from[end..];
    }
    kept.push_str(rest);
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_schema_says_is_compared_and_not_how_it_is_commented() {
        let today = "CREATE TABLE t (\n    a INT, -- it's new\n    b TEXT CHECK (b != '-- no') -- end\n)";
        assert_eq!(without_comments(today), "CREATE TABLE t ( a INT, b TEXT CHECK (b != '-- no') )");
        assert_eq!(without_comments("SELECT 1 - 2, 'it''s - so'"), "SELECT 1 - 2, 'it''s - so'");
        assert_ne!(without_comments("RAISE(ABORT, 'a')"), without_comments("RAISE(ABORT, 'b')"));
    }
}
