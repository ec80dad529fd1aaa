//! A reader's connection: events in order, of the log or of one stream.
//!
//! Read next: `row.rs`, the event of a row.

use std::ops::ControlFlow;
use std::sync::Arc;

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::row::{EVENT_COLUMNS, event_of};
use crate::es::Error;
use crate::es::database_file::DatabaseFile;
use crate::es::log::store::{EventReader, Visitor};

pub(super) struct SqliteReader {
    pub(super) connection: Connection,
    pub(super) file: Arc<DatabaseFile>,
}

impl EventReader for SqliteReader {
    fn head(&mut self) -> Result<u64, Error> {
        let mut statement = self.connection.prepare_cached("SELECT head FROM log")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    fn read(&mut self, after: u64, limit: u32, visit: &mut Visitor<'_>) -> Result<(), Error> {
        // After a loss of the name SQLite still reads the old file: events that a restart would not find.
        self.file.check()?;
        let sql =
            format!("SELECT {EVENT_COLUMNS} FROM events WHERE position > ?1 ORDER BY position LIMIT ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        // A position beyond SQLite's integers is beyond the end of the log as well.
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        show_all(statement.query(params![after, limit])?, visit)
    }

    fn read_back(&mut self, before: u64, limit: u32, visit: &mut Visitor<'_>) -> Result<(), Error> {
        self.file.check()?;
        let sql =
            format!("SELECT {EVENT_COLUMNS} FROM events WHERE position < ?1 ORDER BY position DESC LIMIT ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        show_all(statement.query(params![before, limit])?, visit)
    }

    fn read_stream(
        &mut self,
        stream_id: Uuid,
        after: u64,
        limit: u32,
        visit: &mut Visitor<'_>,
    ) -> Result<(), Error> {
        self.file.check()?;
        read_stream(&self.connection, stream_id, after, limit, visit)
    }
}

pub(super) fn read_stream(
    connection: &Connection,
    stream_id: Uuid,
    after: u64,
    limit: u32,
    visit: &mut Visitor<'_>,
) -> Result<(), Error> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM events WHERE stream_id = ?1 AND version > ?2 ORDER BY version LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut buffer = Uuid::encode_buffer();
    let stream_id: &str = stream_id.as_hyphenated().encode_lower(&mut buffer);
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    show_all(statement.query(params![stream_id, after, limit])?, visit)
}

fn show_all(mut rows: rusqlite::Rows<'_>, visit: &mut Visitor<'_>) -> Result<(), Error> {
    while let Some(row) = rows.next()? {
        // SQLite has read the row, so the value is at fault: no retry repairs the damage.
        let event = event_of(row).map_err(|error| Error::Corrupt(error.to_string()))?;
        if let ControlFlow::Break(()) = visit(&event)? {
            break;
        }
    }
    Ok(())
}
