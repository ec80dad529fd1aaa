//! The read database: opening the file, and the checkpoint of each projection.
//!
//! Beside the tables of the projections the database has three more. `checkpoints` has a row for
//! each set of tables: the live set under the projection's name, a rebuild under `<name>_next`. A query
//! reads `checkpoints.position` in the same statement as the rows, and reports exactly how fresh the
//! rows are. `feed` names the source log of the rows. `fills` lists the projections being filled for
//! the first time.
//!
//! The rows can all be replayed from the log. The file is therefore never repaired and never
//! migrated: outdated rows are replayed and then dropped. A foreign file is not touched.
//!
//! **Invariant:** `checkpoints.position` changes in the transaction of the rows.
//!
//! Read next: `table_set.rs`.

use std::io;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use super::definition::{Definition, Names};
use super::open_error::OpenError;
use crate::es::database_file::{Access, DatabaseFile, FileLock, OLDEST_SQLITE};
use crate::es::{Hash, RecordedEvent};

/// Marks the file as a read database: "TalR" in ASCII.
const APPLICATION_ID: u32 = 0x5461_6C52;
/// The version of the tables `feed` and `checkpoints`.
const SCHEMA_VERSION: u32 = 1;
/// Pages of 4 KiB in the write-ahead log at which a commit flushes the WAL into the database. Their sync
/// takes a few milliseconds, in which no row becomes visible; with eight times as many
/// each pause exceeded the 99th percentile allowed for all waits.
const FLUSH_PAGES: u32 = 500;
/// The same during a replay, 16 MiB: several transactions, since most write the same pages
/// again.
const REPLAY_FLUSH_PAGES: u32 = 4_000;
/// Page cache of the writer, in KiB. A transaction that touches more pages writes the rest to the
/// write-ahead log before the commit, which costs time. SQLite allocates the pages as needed.
const CACHE_KIB: i64 = 16 << 10;
/// Size of the write-ahead log after a reset, in bytes.
const WAL_LIMIT: u32 = 32 << 20;
/// Compiled statements to keep: more than all projections use together.
const STATEMENTS: usize = 128;

const SCHEMA: &str = "
    CREATE TABLE feed (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        log_id BLOB NOT NULL
    ) STRICT;
    CREATE TABLE checkpoints (
        name TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        tables TEXT NOT NULL,
        position INTEGER NOT NULL,
        hash BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;";

/// The position and hash of the last event applied to a set of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::es) struct Checkpoint {
    pub(in crate::es) position: u64,
    pub(in crate::es) hash: Hash,
}

impl Checkpoint {
    pub(super) const START: Self = Self { position: 0, hash: Hash::ZERO };

    pub(super) fn after(event: &RecordedEvent<'_>) -> Self {
        Self { position: event.position, hash: event.hash }
    }
}

/// Locks the database in `file`, and waits for `patience` at most while another process has the lock.
///
/// # Errors
/// When the file is not a read database, or the time is up.
pub(super) fn lock_within(patience: Duration, file: &DatabaseFile) -> Result<FileLock, OpenError> {
    // Before the lock: a foreign database is refused at once, also while another program uses it.
    check_file(file)?;
    let lock = file.lock(patience).map_err(|refused| OpenError::InUse {
        path: file.path().to_path_buf(),
        process: refused.holder.map(|holder| holder.process),
    })?;
    // The last holder of the lock may have renamed the file.
    file.check().map_err(rusqlite::Error::from)?;
    Ok(lock)
}

/// Opens the database in `file`, and creates the tables of an empty file.
///
/// # Errors
/// When the file is not a read database of this or an earlier version; the file is not touched then.
pub(super) fn open(file: &DatabaseFile) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        let found = rusqlite::version();
        let error = format!("SQLite {found} can corrupt databases; 3.51.3 or later is needed");
        return Err(OpenError::Unusable(error));
    }
    check_file(file)?;
    let mut db = file.connect(Access::Write)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    // Where SQLite has statistics compiled in, it would plan a statement anew for each value bound.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    create_schema(&mut db)?;
    // A power cut may cost the last transactions, but never tears one: they are replayed.
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    db.pragma_update(None, "wal_autocheckpoint", FLUSH_PAGES)?;
    db.pragma_update(None, "journal_size_limit", WAL_LIMIT)?;
    // Beside the schema, whose version is that of 0.1.0: a program of version 0.1.0 ignores the table.
    db.execute_batch("CREATE TABLE IF NOT EXISTS fills (name TEXT PRIMARY KEY, until INTEGER) STRICT")?;
    // With the first read SQLite opens the write-ahead log, which must exist to be watched.
    log_id(&db)?;
    file.watch();
    Ok(db)
}

/// Commits the open transaction with that many pages of the feed.
pub(super) fn commit(db: &Connection, pages: usize) -> rusqlite::Result<()> {
    if pages > 1 {
        // A replay: the next transactions write the same pages of the database again.
        db.pragma_update(None, "wal_autocheckpoint", REPLAY_FLUSH_PAGES)?;
    }
    let committed = db.execute_batch("COMMIT");
    // Also after a failure: the next commit may be that of a single page.
    if pages > 1 {
        db.pragma_update(None, "wal_autocheckpoint", FLUSH_PAGES)?;
    }
    committed
}

/// Flushes the write-ahead log into the database and cuts it back, unless a reader prevents that.
pub(super) fn truncate_wal(db: &Connection) -> rusqlite::Result<()> {
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Checks the file's header with plain reads: SQLite itself would recover the journal of a foreign database
/// on opening the file.
pub(in crate::es) fn check_file(file: &DatabaseFile) -> Result<(), OpenError> {
    let unusable = |what: String| OpenError::Unusable(format!("{} {what}", file.path().display()));
    let unreadable = |error: io::Error| unusable(format!("cannot be read: {error}"));
    if file.length().map_err(unreadable)? == 0 {
        return Ok(());
    }
    let mut header = [0; 100];
    let is_whole = file.read_header(&mut header).map_err(unreadable)?;
    // "Database file format", sections 1.3.12 and 1.3.14: big-endian at 60 and 68.
    let number = |at: usize| header[at..at + 4].iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    let (version, application) = (number(60), number(68));
    if !is_whole || !header.starts_with(b"SQLite format 3\0") || application != APPLICATION_ID {
        return Err(unusable("is not a read database; it was left alone. Give another path".to_owned()));
    }
    if version > SCHEMA_VERSION {
        return Err(unusable(format!(
            "has schema {version}, this program knows {SCHEMA_VERSION}. Use the later program, or delete the \
             file: it is rebuilt from the log"
        )));
    }
    Ok(())
}

fn create_schema(db: &mut Connection) -> rusqlite::Result<()> {
    let found: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == SCHEMA_VERSION {
        return Ok(());
    }
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(SCHEMA)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    crash_point!("read-database-created-before-commit");
    tx.commit()
}

/// Returns the source log of the rows in a read database, once a page was applied.
///
/// # Errors
/// Errors of SQLite, also when the file is not a read database.
pub fn log_id(db: &Connection) -> rusqlite::Result<Option<Uuid>> {
    let id = db.query_row("SELECT log_id FROM feed", [], |row| row.get::<_, [u8; 16]>(0)).optional()?;
    Ok(id.map(Uuid::from_bytes))
}

pub(super) fn remember_log(db: &Connection, log_id: Uuid) -> rusqlite::Result<()> {
    db.execute("INSERT INTO feed (id, log_id) VALUES (1, ?1)", [log_id.as_bytes()])?;
    Ok(())
}

/// A row of `checkpoints`.
struct Found {
    checkpoint: Checkpoint,
    generation: u64,
    version: u32,
}

fn find(db: &Connection, name: &str) -> rusqlite::Result<Option<Found>> {
    let sql = "SELECT position, hash, generation, version FROM checkpoints WHERE name = ?1";
    db.query_row(sql, [name], |row| {
        let checkpoint = Checkpoint { position: row.get(0)?, hash: Hash(row.get(1)?) };
        Ok(Found { checkpoint, generation: row.get(2)?, version: row.get(3)? })
    })
    .optional()
}

/// Returns the checkpoint of the live rows of `definition`, when the rows are of that version.
pub(in crate::es) fn checkpoint(
    db: &Connection,
    definition: &Definition,
) -> rusqlite::Result<Option<Checkpoint>> {
    let found = find(db, definition.name)?.filter(|found| found.version == definition.version);
    Ok(found.map(|found| found.checkpoint))
}

/// Moves the checkpoint of a set of tables.
///
/// # Errors
/// When the checkpoint is not where this process left it: another process writes to the same file.
pub(super) fn advance(
    tx: &Connection,
    definition: &Definition,
    names: &Names,
    [from, to]: [Checkpoint; 2],
) -> rusqlite::Result<()> {
    // A set that was not at the page has no news.
    if from == to {
        return Ok(());
    }
    let moved = tx
        .prepare_cached("UPDATE checkpoints SET position = ?3, hash = ?4 WHERE name = ?1 AND position = ?2")?
        .execute(params![names.table(definition.name), from.position, to.position, to.hash.0])?;
    if moved == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(moved)) }
}

/// Whether this program can apply events to rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The rows are of this version.
    Current,
    /// The rows are of another version, and stay as they are until new rows replace them.
    Outdated,
}

/// Returns the live rows of `definition`, or new and empty rows to be filled.
pub(super) fn find_or_create_live(
    db: &mut Connection,
    definition: &Definition,
) -> rusqlite::Result<(Names, Checkpoint, Form)> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let live = match find(&tx, definition.name)? {
        Some(Found { checkpoint, generation, version }) if version == definition.version => {
            (Names::new(Names::LIVE, generation), checkpoint, Form::Current)
        }
        Some(Found { checkpoint, generation, version }) => {
            if !(definition.readable_from..definition.version).contains(&version) {
                begin_fill(&tx, definition)?;
            }
            (Names::new(Names::LIVE, generation), checkpoint, Form::Outdated)
        }
        None => {
            begin_fill(&tx, definition)?;
            // A rebuild without live rows to replace is left over from a deleted projection.
            drop_tables(&tx, definition, Names::NEXT)?;
            (create_tables(&tx, definition, Names::LIVE)?, Checkpoint::START, Form::Current)
        }
    };
    tx.commit()?;
    Ok(live)
}

/// Returns the checkpoint of a rebuild of `definition` after the process ended during the rebuild.
pub(super) fn find_next(
    db: &Connection,
    definition: &Definition,
) -> rusqlite::Result<Option<(Names, Checkpoint)>> {
    let found = find(db, &format!("{}{}", definition.name, Names::NEXT))?;
    let found = found.filter(|found| found.version == definition.version);
    Ok(found.map(|found| (Names::new(Names::NEXT, found.generation), found.checkpoint)))
}

/// Creates the empty tables of a rebuild.
pub(super) fn create_next(db: &mut Connection, definition: &Definition) -> rusqlite::Result<Names> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    drop_tables(&tx, definition, Names::NEXT)?;
    let names = create_tables(&tx, definition, Names::NEXT)?;
    crash_point!("rebuild-begun-before-commit");
    tx.commit()?;
    Ok(names)
}

/// Drops the tables of a rebuild.
pub(super) fn drop_next(db: &mut Connection, definition: &Definition) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    drop_tables(&tx, definition, Names::NEXT)?;
    tx.commit()
}

/// Replaces the live tables by the rebuilt tables. A query reads either the old rows with
/// the old checkpoint or the new rows with the new checkpoint, since the swap is one transaction.
pub(super) fn swap(db: &mut Connection, definition: &Definition) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    drop_tables(&tx, definition, Names::LIVE)?;
    // Indexes keep their names, which no other set of tables ever has.
    for table in definition.tables {
        tx.execute_batch(&format!("ALTER TABLE \"{table}{}\" RENAME TO \"{table}\"", Names::NEXT))?;
    }
    let rename = "UPDATE checkpoints SET name = ?1 WHERE name = ?1 || ?2";
    tx.execute(rename, [definition.name, Names::NEXT])?;
    crash_point!("in-swap-before-commit");
    tx.commit()
}

fn create_tables(
    tx: &Transaction<'_>,
    definition: &Definition,
    suffix: &'static str,
) -> rusqlite::Result<Names> {
    let generation: u64 =
        tx.query_row("SELECT coalesce(max(generation), 0) + 1 FROM checkpoints", [], |row| row.get(0))?;
    let names = Names::new(suffix, generation);
    (definition.create)(tx, &names)?;
    let (name, tables) = (names.table(definition.name), definition.tables.join(" "));
    tx.execute(
        "INSERT INTO checkpoints (name, version, generation, tables, position, hash)
         VALUES (?1, ?2, ?3, ?4, 0, ?5)",
        params![name, definition.version, generation, tables, Hash::ZERO.0],
    )?;
    Ok(names)
}

/// Drops the tables listed in `checkpoints` for a set, which may differ from today's.
fn drop_tables(tx: &Transaction<'_>, definition: &Definition, suffix: &str) -> rusqlite::Result<()> {
    let delete = "DELETE FROM checkpoints WHERE name = ?1 || ?2 RETURNING tables";
    let tables: Option<String> =
        tx.query_row(delete, [definition.name, suffix], |row| row.get(0)).optional()?;
    for table in tables.iter().flat_map(|tables| tables.split(' ')) {
        tx.execute_batch(&format!("DROP TABLE IF EXISTS \"{table}{suffix}\""))?;
    }
    Ok(())
}

/// Notes that the rows of a projection do not answer before reaching the head, which is still unknown.
fn begin_fill(tx: &Connection, definition: &Definition) -> rusqlite::Result<()> {
    let sql = "INSERT INTO fills (name, until) VALUES (?1, NULL) ON CONFLICT DO NOTHING";
    tx.execute(sql, [definition.name]).map(drop)
}

/// Returns the position to reach before the rows answer: `u64::MAX` while the head is
/// unknown, `None` when the rows have answered once.
pub(super) fn fill(db: &Connection, definition: &Definition) -> rusqlite::Result<Option<u64>> {
    let sql = "SELECT until FROM fills WHERE name = ?1";
    let until = db.query_row(sql, [definition.name], |row| row.get::<_, Option<u64>>(0)).optional()?;
    Ok(until.map(|until| until.unwrap_or(u64::MAX)))
}

pub(super) fn save_fill(db: &Connection, name: &str, fill: Option<u64>) -> rusqlite::Result<()> {
    let changed = match fill {
        None => db.execute("DELETE FROM fills WHERE name = ?1", [name]),
        Some(until) => db.execute("UPDATE fills SET until = ?2 WHERE name = ?1", params![name, until]),
    };
    changed.map(drop)
}
