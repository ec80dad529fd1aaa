//! Tenants as a log each: a directory, an executor and a projector for each tenant, opened on demand.
//!
//! `cargo run --example tenants` runs the program; `tests/examples/` runs it with every `cargo test`.
//!
//! Read next: `docs/how-to/tenants.md`, with the threads and the files that an open tenant costs.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tally::es::{
    Aggregate, Context, Definition, EventLog, Executor, KnownKinds, Names, Projection, ProjectionError,
    Projector, RecordedEvent, Report, RunningProjector, SqliteDatabase, backup, rusqlite,
};
use uuid::Uuid;

tally::es::events! {
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) enum NoteEvent {
        Taken(Taken) = "NoteTaken",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Taken {
    text: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Notebook {}

impl Aggregate for Notebook {
    const STREAM_TYPE: &'static str = "notebook";
    type Command = String;
    type Event = NoteEvent;
    type Rejection = ();

    fn decide(&self, text: &String) -> Result<Vec<NoteEvent>, ()> {
        Ok(vec![NoteEvent::Taken(Taken { text: text.clone() })])
    }

    fn evolve(self, NoteEvent::Taken(_): &NoteEvent) -> Self {
        self
    }
}

/// The projection: the number of notes.
struct Notes(String);

impl Projection for Notes {
    const NAME: &'static str = "notes";
    const VERSION: u32 = 1;
    const TABLES: &'static [&'static str] = &["notes"];

    fn new(names: &Names) -> Self {
        Self(format!("UPDATE {} SET count = count + 1", names.table("notes")))
    }

    fn create(db: &rusqlite::Connection, names: &Names) -> rusqlite::Result<()> {
        let notes = names.table("notes");
        db.execute_batch(&format!("CREATE TABLE {notes} (count INTEGER); INSERT INTO {notes} VALUES (0)"))
    }

    fn apply(
        &mut self,
        db: &rusqlite::Connection,
        _event: &RecordedEvent<'_>,
    ) -> Result<(), ProjectionError> {
        Ok(db.prepare_cached(&self.0)?.execute([]).map(drop)?)
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

/// A tenant that is open. Dropped in this order: the projector, the writer, the log.
pub(crate) struct Tenant {
    running: RunningProjector,
    executor: Executor,
    directory: PathBuf,
}

impl Tenant {
    fn open(directory: PathBuf) -> Result<Self, Box<dyn Error>> {
        let log = EventLog::open(SqliteDatabase::open(directory.join("log"))?)?;
        let executor = Executor::start(Arc::clone(&log), |_commit| ())?;
        let projector = Projector::open(&directory.join("rows"), &[Definition::of::<Notes>()])?;
        Ok(Self { running: projector.start(log, PATIENCE)?, executor, directory })
    }

    /// Takes a note, and returns the number of notes.
    pub(crate) fn take(&self, text: &str) -> Result<u64, Box<dyn Error>> {
        let taken = self.executor.execute::<Notebook>(Uuid::nil(), text.into(), Context::default())?;
        self.running.wait_for(Notes::NAME, taken.position(), PATIENCE);
        let rows = rusqlite::Connection::open(self.directory.join("rows"))?;
        Ok(rows.query_row("SELECT count FROM notes", [], |row| row.get(0))?)
    }
}

/// All tenants: each is a directory, and at most `most` of them are open.
pub(crate) struct Tenants {
    root: PathBuf,
    most: usize,
    open: Mutex<HashMap<Uuid, (Arc<Tenant>, Instant)>>,
}

impl Tenants {
    /// Opens the directory, and finishes deletions that a crash cut off.
    pub(crate) fn open(root: &Path, most: usize) -> std::io::Result<Self> {
        for entry in std::fs::read_dir(root)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deleted") {
                std::fs::remove_dir_all(path)?;
            }
        }
        Ok(Self { root: root.to_owned(), most, open: Mutex::default() })
    }

    pub(crate) fn create(&self, id: Uuid) -> std::io::Result<()> {
        std::fs::create_dir(self.directory(id))
    }

    /// Returns the tenant, opened if need be. The tenant stays open as long as the caller keeps it.
    pub(crate) fn get(&self, id: Uuid, now: Instant) -> Result<Arc<Tenant>, Box<dyn Error>> {
        let mut open = self.opened();
        if let Some((tenant, used)) = open.get_mut(&id) {
            *used = now;
            return Ok(Arc::clone(tenant));
        }
        // Without this check, a mistyped id would create a tenant.
        if !self.directory(id).is_dir() {
            return Err(format!("there is no tenant {id}").into());
        }
        if open.len() >= self.most {
            let idle = open.iter().filter(|(_, (tenant, _))| is_idle(tenant));
            let oldest = idle.min_by_key(|(_, (_, used))| *used).map(|(id, _)| *id);
            open.remove(&oldest.ok_or("all open tenants are in use")?);
        }
        // A tenant that cannot be opened takes no place.
        let tenant = Arc::new(Tenant::open(self.directory(id))?);
        open.insert(id, (Arc::clone(&tenant), now));
        Ok(tenant)
    }

    /// Closes each tenant that is not in use, and was asked for last before the given time.
    pub(crate) fn close_idle(&self, before: Instant) {
        self.opened().retain(|_, (tenant, used)| *used >= before || !is_idle(tenant));
    }

    /// Deletes a tenant for ever. A crash leaves either the whole tenant, or none and files to remove.
    pub(crate) fn delete(&self, id: Uuid) -> Result<(), Box<dyn Error>> {
        let mut open = self.opened();
        if open.get(&id).is_some_and(|(tenant, _)| !is_idle(tenant)) {
            return Err("the tenant is in use".into());
        }
        // Closed before the files go: the writer and the projector hold them.
        open.remove(&id);
        let leaving = self.directory(id).with_extension("deleted");
        std::fs::rename(self.directory(id), &leaving)?;
        Ok(std::fs::remove_dir_all(leaving)?)
    }

    /// Backs a tenant up, whether the tenant is open or not.
    pub(crate) fn back_up(&self, id: Uuid, copy: &Path) -> Result<Report, tally::es::Error> {
        let kinds = KnownKinds::new().and::<Notebook>(|_, _| Ok(()));
        backup(&self.directory(id).join("log"), copy, &kinds)
    }

    pub(crate) fn directory(&self, id: Uuid) -> PathBuf {
        self.root.join(id.to_string())
    }

    pub(crate) fn opened(&self) -> MutexGuard<'_, HashMap<Uuid, (Arc<Tenant>, Instant)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Only the map has the tenant. It stays so during the map's lock: new users come through the map.
fn is_idle(tenant: &Arc<Tenant>) -> bool {
    Arc::strong_count(tenant) == 1
}

/// Runs the program: three tenants, of which two are open at a time.
pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::temp_dir().join(format!("tally-tenants-{}", Uuid::now_v7()));
    std::fs::create_dir_all(&root)?;
    let tenants = Tenants::open(&root, 2)?;
    (1..=3).try_for_each(|id| tenants.create(Uuid::from_u128(id)))?;
    for round in 1..=3 {
        for id in (1..=3).map(Uuid::from_u128) {
            assert_eq!(tenants.get(id, Instant::now())?.take("hello")?, round);
        }
    }
    tenants.close_idle(Instant::now());
    assert!(tenants.back_up(Uuid::from_u128(1), &root.join("copy"))?.is_sound());
    tenants.delete(Uuid::from_u128(1))?;
    Ok(std::fs::remove_dir_all(&root)?)
}
