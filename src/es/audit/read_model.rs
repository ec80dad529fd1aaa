//! The audit of a read model: the log is replayed into a scratch database, and the live rows are compared
//! with the replayed rows, row by row.
//!
//! The service that owns the read model may run meanwhile.
//!
//! Read next: `projection/projector.rs`, which replays.

use std::fmt;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use uuid::Uuid;

use crate::es::database_file::{Access, DatabaseFile, PathError};
use crate::es::projection::definition::Definition;
use crate::es::projection::projector_event::CatchUpError;
use crate::es::projection::read_db::{self, Checkpoint};
use crate::es::{Feed, OpenError, Projector};

/// The result of verifying one projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The name of the projection.
    pub projection: &'static str,
    /// The position at which live rows and replay were compared.
    pub position: u64,
    /// Number of live rows equal to the replay.
    pub rows: u64,
    /// The first difference.
    pub difference: Option<Difference>,
}

/// The first difference between live rows and a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: String,
    /// The first two columns of the row, which identify the row.
    pub row: String,
    /// The column, or `row` for a row that is missing on one side.
    pub column: String,
    /// The live value.
    pub live: String,
    /// The replayed value.
    pub replayed: String,
}

/// Replays the projection `definition` from `feed` into a new database at `scratch`, up to the checkpoint of
/// the live database at `live`, and compares the rows. The caller removes `scratch`.
///
/// # Errors
/// When a database cannot be read, a file exists at `scratch`, or the log cannot be replayed.
pub fn verify_projection(
    live: &Path,
    scratch: &Path,
    definition: &Definition,
    feed: &mut dyn Feed,
) -> Result<Verified, VerifyError> {
    // Rows of an earlier verification would be compared in place of a replay.
    if scratch.try_exists().unwrap_or(true) {
        let what = format!("{} exists, and a verification overwrites nothing: remove it", scratch.display());
        return Err(VerifyError::Open(OpenError::Unusable(what)));
    }
    let file = DatabaseFile::existing(live)?;
    read_db::check_file(&file).map_err(VerifyError::Open)?;
    // For reading: a verification changes no row, and may run beside the service.
    let live = file.connect(Access::Read).map_err(OpenError::from).map_err(VerifyError::Open)?;
    let mut replay = Projector::open(scratch, std::slice::from_ref(definition)).map_err(VerifyError::Open)?;
    // The long replay comes first, without a read transaction on the live rows: the transaction would keep
    // their write-ahead log from being flushed. The second replay covers the events of the meantime.
    replay_to(&mut replay, feed, checkpoint(&live, definition)?.position)?;
    let snapshot = live.unchecked_transaction()?;
    let checkpoint = checkpoint(&snapshot, definition)?;
    replay_to(&mut replay, feed, checkpoint.position)?;
    let replayed = replay.file().connect(Access::Read)?;
    compare(&snapshot, &replayed, definition, checkpoint)
}

fn checkpoint(live: &Connection, definition: &Definition) -> Result<Checkpoint, VerifyError> {
    read_db::checkpoint(live, definition)?.ok_or(VerifyError::Outdated(definition.name))
}

fn replay_to(replay: &mut Projector, feed: &mut dyn Feed, position: u64) -> Result<(), VerifyError> {
    replay.catch_up(feed, position)?;
    match &replay.status()[..] {
        [status] if status.position >= position => Ok(()),
        [status] => Err(VerifyError::ReplayEnded {
            position: status.position,
            reason: status.error.clone().unwrap_or_else(|| "the log ends there".to_owned()),
        }),
        // The replay was opened with a single projection.
        _ => Ok(()),
    }
}

fn compare(
    live: &Connection,
    replayed: &Connection,
    definition: &Definition,
    checkpoint: Checkpoint,
) -> Result<Verified, VerifyError> {
    let projection = definition.name;
    let mut verified = Verified { projection, position: checkpoint.position, rows: 0, difference: None };
    let hash = read_db::checkpoint(replayed, definition)?.map(|checkpoint| checkpoint.hash);
    if hash != Some(checkpoint.hash) {
        // The same position with another hash is another history, whose rows are not worth comparing.
        verified.difference = Some(Difference {
            table: "checkpoints".to_owned(),
            row: format!("name={projection}"),
            column: "hash".to_owned(),
            live: checkpoint.hash.to_string(),
            replayed: hash.map_or_else(|| "absent".to_owned(), |hash| hash.to_string()),
        });
        return Ok(verified);
    }
    for table in definition.tables {
        match compare_table(live, replayed, table)? {
            Ok(rows) => verified.rows += rows,
            Err(difference) => {
                // The first difference is enough: the remedy is a rebuild in any case.
                verified.difference = Some(difference);
                break;
            }
        }
    }
    Ok(verified)
}

/// Compares a table, and returns the number of rows if all are equal.
fn compare_table(
    live: &Connection,
    replayed: &Connection,
    table: &str,
) -> rusqlite::Result<Result<u64, Difference>> {
    // By all columns: equal tables give equal rows in turn, whatever their key is.
    let columns = live.prepare(&format!("SELECT * FROM \"{table}\""))?.column_count();
    let order: Vec<_> = (1..=columns).map(|column| column.to_string()).collect();
    let sql = format!("SELECT * FROM \"{table}\" ORDER BY {}", order.join(", "));
    let (mut live, mut replayed) = (live.prepare(&sql)?, replayed.prepare(&sql)?);
    let table =
        ComparedTable { name: table.to_owned(), columns: live.column_names().map(str::to_owned).collect() };
    let (mut live, mut replayed) = (live.query([])?, replayed.query([])?);
    let mut rows = 0;
    loop {
        let (absent, present) = ("absent".to_owned(), "present".to_owned());
        let difference = match (live.next()?, replayed.next()?) {
            (None, None) => return Ok(Ok(rows)),
            (Some(live), Some(replayed)) => table.first_difference(live, replayed)?,
            (Some(extra), None) => Some(table.difference(extra, "row", present, absent)?),
            (None, Some(missing)) => Some(table.difference(missing, "row", absent, present)?),
        };
        if let Some(difference) = difference {
            return Ok(Err(difference));
        }
        rows += 1;
    }
}

struct ComparedTable {
    name: String,
    columns: Vec<String>,
}

impl ComparedTable {
    fn first_difference(&self, live: &Row<'_>, replayed: &Row<'_>) -> rusqlite::Result<Option<Difference>> {
        for (index, column) in self.columns.iter().enumerate() {
            let (ours, theirs) = (live.get_ref(index)?, replayed.get_ref(index)?);
            if ours != theirs {
                return self.difference(live, column, show(ours), show(theirs)).map(Some);
            }
        }
        Ok(None)
    }

    fn difference(
        &self,
        row: &Row<'_>,
        column: &str,
        live: String,
        replayed: String,
    ) -> rusqlite::Result<Difference> {
        let keys = self.columns.iter().enumerate().take(2);
        let keys = keys.map(|(index, column)| Ok(format!("{column}={}", show(row.get_ref(index)?))));
        let row = keys.collect::<rusqlite::Result<Vec<_>>>()?.join(", ");
        Ok(Difference { table: self.name.clone(), row, column: column.to_owned(), live, replayed })
    }
}

fn show(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        // Read models store ids as blobs; any other blob is shown in hexadecimal.
        ValueRef::Blob(bytes) => {
            Uuid::from_slice(bytes).map_or_else(|_| format!("{bytes:02x?}"), |id| id.to_string())
        }
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { projection, position, rows, difference } = self;
        match difference {
            None => write!(f, "{projection}: {rows} rows at position {position} equal a replay of the log"),
            Some(difference) => write!(f, "{projection}: at position {position}, {difference}"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, row, column, live, replayed } = self;
        write!(f, "table {table}, {row}: {column} is {live}, a replay of the log says {replayed}")
    }
}

/// Why a projection could not be verified.
#[derive(Debug)]
pub enum VerifyError {
    /// A database cannot be opened.
    Open(OpenError),
    /// The rows are missing, or of another version of the projection: the service replays the rows at its
    /// next start.
    Outdated(&'static str),
    /// The log cannot be read.
    Replay(CatchUpError),
    /// The replay ended before the checkpoint of the live rows.
    ReplayEnded {
        /// Position of the last replayed event.
        position: u64,
        /// Why the replay ended.
        reason: String,
    },
    /// A database cannot be read.
    Database(rusqlite::Error),
}

impl From<PathError> for VerifyError {
    fn from(error: PathError) -> Self {
        Self::Open(error.into())
    }
}

impl From<CatchUpError> for VerifyError {
    fn from(error: CatchUpError) -> Self {
        Self::Replay(error)
    }
}

impl From<rusqlite::Error> for VerifyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Outdated(name) => {
                write!(
                    f,
                    "there are no rows of this version of projection {name}; start the service, it replays them"
                )
            }
            Self::Replay(error) => write!(f, "the log cannot be replayed: {error}"),
            Self::ReplayEnded { position, reason } => {
                write!(f, "the replay ends at position {position}, before the live rows do: {reason}")
            }
            Self::Database(error) => write!(f, "a database cannot be read: {error}"),
        }
    }
}

impl std::error::Error for VerifyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::es::fixtures::{LogFeed, TempPath};
    use crate::es::projection::tests::{definitions, log_of};
    use crate::es::{Names, Projection, ProjectionError, RecordedEvent};

    fn caught_up(feed: &mut LogFeed) -> TempPath {
        let path = TempPath::new();
        Projector::open(&path, &definitions()).unwrap().catch_up(feed, u64::MAX).unwrap();
        path
    }

    fn verified(path: &TempPath, feed: &mut LogFeed) -> Result<Verified, VerifyError> {
        verify_projection(path, &TempPath::new(), &definitions()[0], feed)
    }

    fn change(path: &TempPath, sql: &str) {
        Connection::open(&**path).unwrap().execute_batch(sql).unwrap();
    }

    #[test]
    fn rows_that_say_what_the_log_says_are_verified_while_the_log_goes_on() {
        let mut feed = LogFeed::new(log_of(&["1", "2"]));
        let path = caught_up(&mut feed);
        feed.append(8, "Added", "5");
        let verified = verified(&path, &mut feed).unwrap();
        assert_eq!((verified.position, verified.rows, verified.difference), (2, 1, None));
    }

    #[test]
    fn the_first_difference_is_named() {
        for (sql, expected) in [
            ("UPDATE sums SET sum = 4", "stream=7, sum=4: sum is 4, a replay of the log says 3"),
            ("DELETE FROM sums", "stream=7, sum=3: row is absent, a replay of the log says present"),
            (
                "INSERT INTO sums VALUES (9, 1)",
                "stream=9, sum=1: row is present, a replay of the log says absent",
            ),
            ("UPDATE checkpoints SET hash = zeroblob(32)", "hash is 0000"),
        ] {
            let mut feed = LogFeed::new(log_of(&["1", "2"]));
            let path = caught_up(&mut feed);
            change(&path, sql);
            let shown = verified(&path, &mut feed).unwrap().to_string();
            assert!(shown.contains(expected), "{shown}");
        }
    }

    #[test]
    fn what_cannot_be_verified_says_why() {
        let mut feed = LogFeed::new(log_of(&["1", "2"]));
        let path = caught_up(&mut feed);
        let mut shorter = LogFeed::new(log_of(&["1"]));
        let error = verified(&path, &mut shorter).unwrap_err().to_string();
        assert!(error.contains("ends at position 1"), "{error}");
        change(&path, "UPDATE checkpoints SET version = 7");
        let error = verified(&path, &mut feed).unwrap_err().to_string();
        assert!(error.contains("no rows of this version"), "{error}");
    }

    #[test]
    fn a_table_of_one_column_is_verified_and_rows_of_an_earlier_verification_are_not_taken_for_a_replay() {
        struct Seen;

        impl Projection for Seen {
            const NAME: &'static str = "seen";
            const VERSION: u32 = 1;
            const TABLES: &'static [&'static str] = &["seen"];

            fn new(_: &Names) -> Self {
                Self
            }

            fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
                db.execute_batch(&format!("CREATE TABLE {} (position INTEGER) STRICT", names.table("seen")))
            }

            fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
                // Live rows alone are written here, so no rebuild of them is made.
                db.execute("INSERT INTO seen VALUES (?1)", [event.position])?;
                Ok(())
            }
        }

        let mut feed = LogFeed::new(log_of(&["1", "2"]));
        let (path, scratch, seen) = (TempPath::new(), TempPath::new(), Definition::of::<Seen>());
        Projector::open(&path, &[seen]).unwrap().catch_up(&mut feed, u64::MAX).unwrap();
        let mut verify = || verify_projection(&path, &scratch, &seen, &mut feed);
        assert_eq!(verify().unwrap().rows, 2);
        let error = verify().unwrap_err().to_string();
        assert!(error.contains("overwrites nothing"), "{error}");
    }
}
