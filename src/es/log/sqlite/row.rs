//! The columns of an event, and the event of a row.
//!
//! Read next: `schema.sql`, which says what the columns mean.

use rusqlite::Row;
use uuid::Uuid;

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

pub(super) fn uuid_at(row: &Row<'_>, index: usize) -> rusqlite::Result<Uuid> {
    let text = row.get_ref(index)?.as_str()?;
    Uuid::try_parse(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
    })
}
