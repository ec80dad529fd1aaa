//! The read database: opening it safely, and where each projection stands in it.
//!
//! Beside the tables of the projections it holds two of its own. `checkpoints` has a row for
//! each build of a projection: the live one under the projection's name, one that is being
//! rebuilt under `<name>_next`. A query reads `checkpoints.position` in the same statement as the
//! rows, and so knows exactly how fresh they are. `feed` remembers whose history this is.
//!
//! Everything in the file can be made again from the log. So the file is never repaired and never
//! migrated: what is outdated is dropped and replayed. A file that is not ours is not touched.
//!
//! **Invariant:** `checkpoints.position` changes in the transaction that changes the rows.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use crate::es::database_file::{Access, DatabaseFile, DatabasePath, Holder, OLDEST_SQLITE, PathError};
use crate::es::projection::definition::{Definition, Names};
use crate::es::projection::status::Fill;
use crate::es::{Hash, RecordedEvent};

/// Marks the file as a read database: "TalR" in ASCII.
const APPLICATION_ID: u32 = 0x5461_6C52;
/// The form of the two tables below.
const SCHEMA_VERSION: u32 = 1;
/// Pages (of 4 KiB) in the write-ahead log before a commit moves them into the database. The sync of
/// so many takes a few milliseconds, in which no row becomes visible; with eight times as many
/// each pause was longer than the slowest hundredth of all waits may be.
pub(in crate::es) const CHECKPOINT_PAGES: u32 = 500;
/// The same during a replay: several of its transactions, since most of them write the same pages
/// again.
pub(in crate::es) const REPLAY_CHECKPOINT_PAGES: u32 = 4_000;
/// Pages that the writer keeps, in KiB. A replay's transaction that touches more moves the rest into the
/// write-ahead log before its commit: that costs time, and no row is seen earlier. It is taken as needed,
/// and given back at the head of the log.
const CACHE_KIB: i64 = 16 << 10;
/// What the write-ahead log is cut back to after it grew, in bytes.
const WAL_LIMIT: u32 = 32 << 20;
/// Statements that stay compiled: more than all projections use together.
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

/// How far a build has come: the position of the last event it has taken, and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::es) struct Checkpoint {
    pub(in crate::es) position: u64,
    pub(in crate::es) hash: Hash,
}

impl Checkpoint {
    pub(in crate::es) const START: Self = Self { position: 0, hash: Hash::ZERO };

    pub(in crate::es) fn after(event: &RecordedEvent<'_>) -> Self {
        Self { position: event.position, hash: event.hash }
    }
}

/// Opens the database in `file`, and creates it where that is empty.
///
/// # Errors
/// When the file is not a read database of this or an earlier version; it is not touched then.
pub(in crate::es) fn open(file: &DatabaseFile) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(OpenError::OldSqlite);
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
    checkpoint_at(&db, CHECKPOINT_PAGES)?;
    db.pragma_update(None, "journal_size_limit", WAL_LIMIT)?;
    // Beside the schema, whose version is that of 0.1.0: a build of that version passes over the table.
    db.execute_batch("CREATE TABLE IF NOT EXISTS fills (name TEXT PRIMARY KEY, until INTEGER) STRICT")?;
    // A first read, with which SQLite opens the write-ahead log.
    log_id(&db)?;
    file.watch();
    Ok(db)
}

/// Lets a commit that finds so many pages in the write-ahead log move them.
pub(in crate::es) fn checkpoint_at(db: &Connection, pages: u32) -> rusqlite::Result<()> {
    db.pragma_update(None, "wal_autocheckpoint", pages)
}

/// Moves the write-ahead log into the database and cuts it back, unless a reader is in the way.
pub(in crate::es) fn shorten_wal(db: &Connection) -> rusqlite::Result<()> {
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Looks at the file's header with plain reads: SQLite itself would recover a foreign database's
/// journal on opening it.
pub(in crate::es) fn check_file(file: &DatabaseFile) -> Result<(), OpenError> {
    let path = file.path();
    let unreadable = |error| OpenError::Io(path.to_path_buf(), error);
    if file.length().map_err(unreadable)? == 0 {
        return Ok(());
    }
    let mut header = [0; 100];
    let is_whole = file.read_header(&mut header).map_err(unreadable)?;
    if !is_whole || !header.starts_with(b"SQLite format 3\0") {
        return Err(OpenError::Foreign(path.to_path_buf()));
    }
    // "Database file format", sections 1.3.12 and 1.3.14: big-endian at 60 and 68.
    let number = |at: usize| header[at..at + 4].iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    if number(68) != APPLICATION_ID {
        return Err(OpenError::Foreign(path.to_path_buf()));
    }
    if number(60) > SCHEMA_VERSION {
        return Err(OpenError::Newer { path: path.to_path_buf(), found: number(60) });
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

/// Returns the log that the rows of a read database come from, once one has been seen.
///
/// # Errors
/// Those of SQLite, also when the file is no read database.
pub fn log_id(db: &Connection) -> rusqlite::Result<Option<Uuid>> {
    let id = db.query_row("SELECT log_id FROM feed", [], |row| row.get::<_, [u8; 16]>(0)).optional()?;
    Ok(id.map(Uuid::from_bytes))
}

pub(in crate::es) fn remember_log(db: &Connection, log_id: Uuid) -> rusqlite::Result<()> {
    db.execute("INSERT INTO feed (id, log_id) VALUES (1, ?1)", [log_id.as_bytes()])?;
    Ok(())
}

/// Where the build of that name stands, when there is one of that version.
pub(in crate::es) fn checkpoint(
    db: &Connection,
    name: &str,
    version: u32,
) -> rusqlite::Result<Option<(Checkpoint, u64)>> {
    db.query_row(
        "SELECT position, hash, generation FROM checkpoints WHERE name = ?1 AND version = ?2",
        params![name, version],
        |row| Ok((Checkpoint { position: row.get(0)?, hash: Hash(row.get(1)?) }, row.get(2)?)),
    )
    .optional()
}

/// Moves the checkpoint of the build of that name.
///
/// # Errors
/// When it does not stand where this process left it: another one writes to the same file.
pub(in crate::es) fn advance(
    tx: &Connection,
    name: &str,
    from: Checkpoint,
    to: Checkpoint,
) -> rusqlite::Result<()> {
    let moved = tx
        .prepare_cached("UPDATE checkpoints SET position = ?3, hash = ?4 WHERE name = ?1 AND position = ?2")?
        .execute(params![name, from.position, to.position, to.hash.0])?;
    if moved == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(moved)) }
}

/// The live rows of a projection as they were found.
pub(in crate::es) struct Live {
    pub(in crate::es) names: Names,
    pub(in crate::es) checkpoint: Checkpoint,
    pub(in crate::es) fill: Fill,
    pub(in crate::es) form: Form,
}

/// Whether this build can go on with rows that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::es) enum Form {
    /// They are of this version.
    Current,
    /// They are of another version, and stay as they are until new ones replace them.
    Outdated,
}

/// The live build of `definition`: the one that is there, or a new, empty one that is to be filled.
pub(in crate::es) fn live(db: &mut Connection, definition: &Definition) -> rusqlite::Result<Live> {
    let sql = "SELECT position, hash, generation, version FROM checkpoints WHERE name = ?1";
    let found = db.query_row(sql, [definition.name], |row| {
        let checkpoint = Checkpoint { position: row.get(0)?, hash: Hash(row.get(1)?) };
        Ok((checkpoint, row.get::<_, u64>(2)?, row.get::<_, u32>(3)?))
    });
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (names, checkpoint, form) = match found.optional()? {
        Some((checkpoint, generation, version)) => {
            let names = Names::new(Names::LIVE, generation);
            if version == definition.version {
                (names, checkpoint, Form::Current)
            } else {
                if !(definition.readable_from..definition.version).contains(&version) {
                    begin_fill(&tx, definition.name)?;
                }
                (names, checkpoint, Form::Outdated)
            }
        }
        None => {
            drop_build(&tx, definition, Names::NEXT)?;
            begin_fill(&tx, definition.name)?;
            (create_build(&tx, definition, Names::LIVE)?, Checkpoint::START, Form::Current)
        }
    };
    let fill = fill(&tx, definition.name)?;
    tx.commit()?;
    Ok(Live { names, checkpoint, fill, form })
}

/// Notes that the rows of a projection do not answer before they have reached a head, which is not known
/// yet.
fn begin_fill(tx: &Connection, name: &str) -> rusqlite::Result<()> {
    tx.execute("INSERT INTO fills (name, until) VALUES (?1, NULL) ON CONFLICT DO NOTHING", [name])?;
    Ok(())
}

fn fill(db: &Connection, name: &str) -> rusqlite::Result<Fill> {
    let until = db.query_row("SELECT until FROM fills WHERE name = ?1", [name], |row| row.get(0));
    Ok(match until.optional()? {
        None => Fill::Done,
        Some(None) => Fill::Begun,
        Some(Some(until)) => Fill::Until(until),
    })
}

/// Keeps how far the first rows of a projection have to come.
pub(in crate::es) fn keep_fill(db: &Connection, name: &str, fill: Fill) -> rusqlite::Result<()> {
    match fill {
        Fill::Done => db.execute("DELETE FROM fills WHERE name = ?1", [name])?,
        Fill::Begun => 0,
        Fill::Until(until) => {
            db.execute("UPDATE fills SET until = ?2 WHERE name = ?1", params![name, until])?
        }
    };
    Ok(())
}

/// The build of `definition` that is to replace the live one, empty.
pub(in crate::es) fn begin_next(db: &mut Connection, definition: &Definition) -> rusqlite::Result<Names> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    drop_build(&tx, definition, Names::NEXT)?;
    let names = create_build(&tx, definition, Names::NEXT)?;
    crash_point!("rebuild-begun-before-commit");
    tx.commit()?;
    Ok(names)
}

/// Where a rebuild of `definition` stood when the process ended in the middle of it.
pub(in crate::es) fn unfinished_next(
    db: &Connection,
    definition: &Definition,
) -> rusqlite::Result<Option<(Names, Checkpoint)>> {
    let found = checkpoint(db, &build_name(definition, Names::NEXT), definition.version)?;
    Ok(found.map(|(checkpoint, generation)| (Names::new(Names::NEXT, generation), checkpoint)))
}

/// Throws a rebuild away.
pub(in crate::es) fn discard_next(db: &mut Connection, definition: &Definition) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    drop_build(&tx, definition, Names::NEXT)?;
    tx.commit()
}

/// Puts the rebuilt tables in the place of the live ones. A query sees either the old rows with
/// the old checkpoint or the new ones with the new, since all of it is one transaction.
pub(in crate::es) fn swap(db: &mut Connection, definition: &Definition) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    drop_build(&tx, definition, Names::LIVE)?;
    for table in definition.tables {
        tx.execute_batch(&format!("ALTER TABLE {table}{} RENAME TO {table}", Names::NEXT))?;
    }
    tx.execute(
        "UPDATE checkpoints SET name = ?1 WHERE name = ?2",
        [definition.name, &build_name(definition, Names::NEXT)],
    )?;
    crash_point!("in-swap-before-commit");
    tx.commit()
}

pub(in crate::es) fn build_name(definition: &Definition, suffix: &str) -> String {
    format!("{}{suffix}", definition.name)
}

fn create_build(
    tx: &Transaction<'_>,
    definition: &Definition,
    suffix: &'static str,
) -> rusqlite::Result<Names> {
    let generation: u64 =
        tx.query_row("SELECT coalesce(max(generation), 0) + 1 FROM checkpoints", [], |row| row.get(0))?;
    let names = Names::new(suffix, generation);
    (definition.create)(tx, &names)?;
    tx.execute(
        "INSERT INTO checkpoints (name, version, generation, tables, position, hash)
         VALUES (?1, ?2, ?3, ?4, 0, ?5)",
        params![
            build_name(definition, suffix),
            definition.version,
            generation,
            definition.tables.join(" "),
            Hash::ZERO.0
        ],
    )?;
    Ok(names)
}

/// Drops a build, if there is one: the tables that it had, which may be others than today's.
fn drop_build(tx: &Transaction<'_>, definition: &Definition, suffix: &str) -> rusqlite::Result<()> {
    let name = build_name(definition, suffix);
    let tables: Option<String> = tx
        .query_row("DELETE FROM checkpoints WHERE name = ?1 RETURNING tables", [&name], |row| row.get(0))
        .optional()?;
    for table in tables.iter().flat_map(|tables| tables.split(' ')) {
        tx.execute_batch(&format!("DROP TABLE IF EXISTS \"{table}{suffix}\""))?;
    }
    Ok(())
}

/// Why a read database cannot be opened. Nothing was changed.
#[derive(Debug)]
pub enum OpenError {
    /// No database can be at that path, or the system refuses to open it. The text says what to do.
    Path(PathError),
    /// Another process has the database. Stop that one, or give another path.
    InUse {
        /// The file.
        path: PathBuf,
        /// The process that has it, where the system tells.
        process: Option<u32>,
    },
    /// The SQLite that is linked has a bug that corrupts databases. Link 3.51.3 or later.
    OldSqlite,
    /// The file is something else. Give another path.
    Foreign(PathBuf),
    /// A later version of this program wrote the file. Use that version, or delete the file: it is
    /// rebuilt from the log.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: u32,
    },
    /// The file cannot be read.
    Io(PathBuf, io::Error),
    /// SQLite refused. When the file is damaged, delete it: it is rebuilt from the log.
    Sqlite(rusqlite::Error),
}

impl OpenError {
    pub(in crate::es) fn in_use(path: &DatabasePath, holder: Option<Holder>) -> Self {
        Self::InUse { path: path.to_path_buf(), process: holder.map(|holder| holder.process) }
    }
}

impl From<PathError> for OpenError {
    fn from(error: PathError) -> Self {
        Self::Path(error)
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(error) => error.fmt(f),
            Self::InUse { path, process } => {
                let which = process.map(|process| format!(" (process {process})")).unwrap_or_default();
                write!(
                    f,
                    "{} is the read database of another process{which}: stop that one first, or give another \
                     path with --db",
                    path.display()
                )
            }
            Self::OldSqlite => {
                write!(f, "SQLite {} can corrupt databases; 3.51.3 or later is needed", rusqlite::version())
            }
            Self::Foreign(path) => {
                write!(f, "{} is not a read database; it was left alone. Give another path", path.display())
            }
            Self::Newer { path, found } => write!(
                f,
                "{} has schema {found}, this program knows {SCHEMA_VERSION}. Use the later program, or delete \
                 the file: it is rebuilt from the log",
                path.display()
            ),
            Self::Io(path, error) => write!(f, "{} cannot be read: {error}", path.display()),
            Self::Sqlite(error) => write!(
                f,
                "the read database cannot be opened: {error}. If it is damaged, delete it: it is rebuilt from \
                 the log"
            ),
        }
    }
}

impl std::error::Error for OpenError {}
