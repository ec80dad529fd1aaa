//! The columns of an event and of a receipt: from a row, and into a row.
//!
//! Read next: `schema.sql`, which says what the columns mean.

use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use crate::es::log::store::{Fingerprint, Receipt};
use crate::es::{Hash, RecordedEvent};

pub(super) const EVENT_COLUMNS: &str = "position, event_id, stream_id, stream_type, version, type, \
                             schema_version, data, metadata, recorded_at, hash";

/// Returns the event of a row of [`EVENT_COLUMNS`], borrowed from the row.
pub(super) fn event_of<'r>(
    row: &'r Row<'_>,
) -> Result<RecordedEvent<'r>, Box<dyn std::error::Error + Send + Sync>> {
    let text = |index| -> Result<&'r str, Box<dyn std::error::Error + Send + Sync>> {
        Ok(row.get_ref(index)?.as_str()?)
    };
    Ok(RecordedEvent {
        position: row.get(0)?,
        event_id: Uuid::try_parse(text(1)?)?,
        stream_id: Uuid::try_parse(text(2)?)?,
        stream_type: text(3)?,
        version: row.get(4)?,
        event_type: text(5)?,
        schema_version: row.get(6)?,
        data: text(7)?,
        metadata: text(8)?,
        recorded_at: text(9)?,
        hash: Hash(row.get_ref(10)?.as_blob()?.try_into()?),
    })
}

/// Adds an event; the triggers of the schema refuse an event out of order.
pub(super) fn insert_event(connection: &Connection, event: &RecordedEvent<'_>) -> rusqlite::Result<()> {
    // OR ROLLBACK, like the schema's triggers: a caller that overlooks the error cannot commit the rest.
    let sql = "INSERT OR ROLLBACK INTO events (position, event_id, stream_id, stream_type, version, type,
                                   schema_version, data, metadata, recorded_at, hash)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let mut buffers = [Uuid::encode_buffer(); 2];
    let [event_id, stream_id] = &mut buffers;
    connection.prepare_cached(sql)?.execute(params![
        event.position,
        &*event.event_id.as_hyphenated().encode_lower(event_id),
        &*event.stream_id.as_hyphenated().encode_lower(stream_id),
        event.stream_type,
        event.version,
        event.event_type,
        event.schema_version,
        event.data,
        event.metadata,
        event.recorded_at,
        event.hash.0,
    ])?;
    Ok(())
}

/// Adds a receipt; the schema refuses a key that is taken.
pub(super) fn insert_receipt(
    connection: &Connection,
    key: &str,
    command: &Fingerprint,
    receipt: &Receipt,
) -> rusqlite::Result<()> {
    let sql = "INSERT OR ROLLBACK INTO receipts (idempotency_key, command, stream_id, version, position)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    let Receipt { stream_id, version, position } = receipt;
    let stream_id = stream_id.to_string();
    connection.prepare_cached(sql)?.execute(params![key, command, stream_id, version, position])?;
    Ok(())
}

pub(super) fn uuid_at(row: &Row<'_>, index: usize) -> rusqlite::Result<Uuid> {
    let text = row.get_ref(index)?.as_str()?;
    Uuid::try_parse(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
    })
}
