//! An audit's view of a SQLite file: integrity check, schema comparison, and the rows as they are.
//!
//! Read next: `audit/log.rs`, the rules that the rows must keep.

use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::refusal::{foreign, other_version, unreadable};
use super::row::{EVENT_COLUMNS, event_of};
use super::schema::{FileKind, SCHEMA_VERSION, kind_of, schema_fault};
use crate::es::Error;
use crate::es::database_file::{Access, DatabaseFile};
use crate::es::log::inspection::{InspectedLog, Inspection, Inspector};
use crate::es::log::store::Snapshot;

/// A read-only connection to a log, which does not even flush the write-ahead log.
pub(in crate::es) struct SqliteInspection(Connection);

impl SqliteInspection {
    /// Opens the log in `file`.
    ///
    /// # Errors
    /// [`Error::Unusable`] for a file that is not a log of this version.
    pub(in crate::es) fn open(file: &DatabaseFile) -> Result<Self, Error> {
        let path = file.path();
        let (connection, kind) = connect(file)?;
        match kind {
            FileKind::Log { version: SCHEMA_VERSION } => Ok(Self(connection)),
            FileKind::Log { version } => Err(other_version(path, version)),
            FileKind::Empty => Err(Error::unusable(path, "it is empty: there is no log in it")),
            FileKind::Foreign => Err(foreign(path)),
        }
    }
}

pub(super) fn connect(file: &DatabaseFile) -> Result<(Connection, FileKind), Error> {
    let refuse = |error: rusqlite::Error| unreadable(file.path(), &error);
    let connection = file.connect(Access::Read).map_err(refuse)?;
    let kind = kind_of(&connection).map_err(refuse)?;
    Ok((connection, kind))
}

impl Inspection for SqliteInspection {
    fn storage_faults(&self, limit: usize) -> Result<Vec<String>, Error> {
        let mut statement = self.0.prepare(&format!("PRAGMA integrity_check({limit})"))?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut faults = Vec::new();
        for line in lines {
            match &*line? {
                "ok" => {}
                // A fault is one line of the report, also when SQLite's text has several lines.
                line => faults.push(format!("the file is damaged: {}", line.replace('\n', " "))),
            }
        }
        Ok(faults)
    }

    fn schema_fault(&self) -> Result<Option<String>, Error> {
        Ok(schema_fault(&self.0)?)
    }

    fn log(&self) -> Result<Option<InspectedLog>, Error> {
        // The counter and the last event: a difference is a finding of the audit.
        let sql = "SELECT log_id, head, coalesce((SELECT max(position) FROM events), 0) FROM log";
        let log = self.0.query_row(sql, [], |row| {
            Ok(InspectedLog { log_id: row.get(0)?, head: row.get(1)?, last: row.get(2)? })
        });
        Ok(log.optional()?)
    }

    fn events(
        &self,
        after: i64,
        until: i64,
        limit: u32,
        inspect: &mut Inspector<'_>,
    ) -> Result<Option<i64>, Error> {
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM events WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3"
        );
        let mut statement = self.0.prepare_cached(&sql)?;
        let mut rows = statement.query(params![after, until, limit])?;
        // The position is read on its own: an unreadable event still has a place in the report.
        let mut last = None;
        while let Some(row) = rows.next()? {
            let position = row.get(0)?;
            last = Some(position);
            let event = event_of(row).map_err(|error| error.to_string());
            if let ControlFlow::Break(()) = inspect(position, event)? {
                break;
            }
        }
        Ok(last)
    }

    fn snapshot(&self, stream_id: Uuid) -> Result<Option<Snapshot>, Error> {
        let sql = "SELECT version, shape, state FROM snapshots WHERE stream_id = ?1";
        let mut statement = self.0.prepare_cached(sql)?;
        let kept = statement.query_row([stream_id.to_string()], |row| {
            Ok(Snapshot { version: row.get(0)?, shape: row.get(1)?, state: row.get(2)? })
        });
        Ok(kept.optional()?)
    }

    fn stray_snapshots(&self, limit: usize) -> Result<Vec<(String, i64)>, Error> {
        let sql = "SELECT stream_id, version FROM snapshots AS s WHERE version > 0 AND NOT EXISTS
                       (SELECT 1 FROM events AS e WHERE e.stream_id = s.stream_id AND e.version = s.version)
                   LIMIT ?1";
        let mut statement = self.0.prepare(sql)?;
        let rows = statement.query_map([limit as u64], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn receipts(&self, after: &str, limit: u32) -> Result<Vec<(String, bool)>, Error> {
        // A transfer's receipt has the version of its first event and the position of its last event.
        let sql = "SELECT idempotency_key, length(command) = 32 AND position <= (SELECT head FROM log) AND
                       (version = 0 OR EXISTS (SELECT 1 FROM events AS e WHERE e.stream_id = r.stream_id
                                               AND e.version = r.version AND e.position <= r.position))
                   FROM receipts AS r WHERE idempotency_key > ?1 ORDER BY idempotency_key LIMIT ?2";
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement.query_map(params![after, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
