//! The limits: what engine, disk and SQLite can do on this machine when nothing else is asked of
//! them. A figure means little without them, since machines differ by more than programs do.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use tally::http::{self, Response, serve};

use crate::Result;
use crate::client::{Request, get};
use crate::figure::{Figure, Unit};
use crate::histogram::Histogram;
use crate::load::{Load, Measured};
use crate::options::Plan;
use crate::process::{Directory, Process};
use crate::samples::{Bench, median};

/// As long as the answer to a query of one account.
const CONSTANT: &str = r#"{"account_id":"01890a5d-ac96-774b-bcce-b302099a8057","owner":"Somebody 123456","currency":"EUR","balance":1234567,"status":"open","version":12,"opened_at":"2026-01-31T12:00:00.000000Z","updated_at":"2026-01-31T12:00:00.000000Z"}"#;

/// The write-ahead log is written over from its start when it has grown to about this size.
const SYNCED_FILE_BYTES: u64 = 4 << 20;

/// Serves a constant response with the services' own engine, until it is killed.
pub(crate) fn serve_constant() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = serve(listener, http::Options::default(), |_| {
        Response::new(200, "application/json", CONSTANT.as_bytes().to_vec())
    })?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "constant listening on http://{}", server.local_addr())?;
    stdout.flush()?;
    loop {
        std::thread::park();
    }
}

/// The engine's constant response, in a process of its own.
#[derive(Debug)]
pub(crate) struct Constant {
    process: Process,
    requests: Vec<Request>,
}

impl Constant {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self { process: Process::myself(&["--serve-constant"])?, requests: vec![get("/constant")] })
    }

    pub(crate) fn measure(&self, plan: &Plan, clients: usize) -> Result<Measured> {
        Load::closed(self.process.address(), clients, &self.requests, plan.span).run()
    }
}

/// The group `engine`.
pub(crate) fn engine(bench: &Bench) -> Result<Vec<Figure>> {
    let constant = Constant::start()?;
    let mut figures = Vec::new();
    for clients in [1, 16, 64] {
        let measured = bench.rounds(|| constant.measure(&bench.plan, clients))?;
        let what = format!("engine: constant response, {clients} client(s)");
        figures.push(Figure::per_second(format!("engine.{clients}.rate"), &what, median(&measured)));
        let p99 = merged(&measured).quantile(0.99);
        figures.push(Figure::seconds(format!("engine.{clients}.p99"), format!("{what}, p99"), p99));
    }
    Ok(figures)
}

pub(crate) fn merged(measured: &[Measured]) -> Histogram {
    let mut all = Histogram::default();
    measured.iter().for_each(|one| all.add(&one.latency));
    all
}

/// A file that is written and synced as SQLite does it with its write-ahead log.
#[derive(Debug)]
pub(crate) struct SyncedFile {
    file: File,
    content: Vec<u8>,
}

impl SyncedFile {
    /// In that directory; each write has so many bytes.
    pub(crate) fn new(directory: &Directory, bytes: usize) -> Result<Self> {
        let path = directory.join("synced");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        file.write_all(&vec![1; usize::try_from(SYNCED_FILE_BYTES)?])?;
        file.sync_all()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file, content: vec![2; bytes] })
    }

    /// One write, and its sync.
    pub(crate) fn sync(&mut self) -> Result<Duration> {
        if self.file.stream_position()? + self.content.len() as u64 > SYNCED_FILE_BYTES {
            self.file.seek(SeekFrom::Start(0))?;
        }
        let begun = Instant::now();
        self.file.write_all(&self.content)?;
        self.file.sync_data()?;
        Ok(begun.elapsed())
    }
}

/// Rows a second into a plain table of the events' columns, so many in each durable commit.
pub(crate) fn insert_batches(path: &Path, batch: u64, duration: Duration) -> Result<f64> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS plain (position INTEGER PRIMARY KEY, event_id TEXT, stream_id TEXT,
            stream_type TEXT, version INTEGER, type TEXT, schema_version INTEGER, data TEXT,
            metadata TEXT, recorded_at TEXT, hash BLOB) STRICT;
         CREATE UNIQUE INDEX IF NOT EXISTS plain_streams ON plain (stream_id, version)",
    )?;
    let mut insert = connection.prepare(
        "INSERT INTO plain VALUES (?1, ?2, ?3, 'account', ?1, 'MoneyDeposited', 1, ?4, ?5, ?6, ?7)",
    )?;
    let mut position: u64 = connection.query_row("SELECT count(*) FROM plain", [], |row| row.get(0))?;
    let (first, begun) = (position, Instant::now());
    while begun.elapsed() < duration {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for _ in 0..batch {
            position += 1;
            let event_id = uuid::Uuid::now_v7().to_string();
            // A thousand streams, as in the load of commands.
            let stream_id = format!("01890a5d-ac96-774b-bcce-{:012x}", position % 1000);
            let (data, metadata) = (r#"{"amount":1,"currency":"EUR"}"#, r#"{"causation_id":null}"#);
            let recorded_at = "2026-01-31T12:00:00.000000Z";
            insert.execute(params![
                position,
                event_id,
                stream_id,
                data,
                metadata,
                recorded_at,
                [7_u8; 32]
            ])?;
        }
        connection.execute_batch("COMMIT")?;
    }
    Ok((position - first) as f64 / begun.elapsed().as_secs_f64())
}

/// Rows a second when SQLite reads a whole log in order, each column of it.
pub(crate) fn scan(path: &Path) -> Result<f64> {
    let connection = Connection::open(path)?;
    let mut statement = connection.prepare("SELECT * FROM events ORDER BY position")?;
    let columns = statement.column_count();
    let begun = Instant::now();
    let mut rows = statement.query([])?;
    let mut count = 0_u64;
    while let Some(row) = rows.next()? {
        for column in 0..columns {
            std::hint::black_box(row.get_ref(column)?);
        }
        count += 1;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// The group `sqlite`.
pub(crate) fn sqlite(bench: &Bench) -> Result<Vec<Figure>> {
    let directory = Directory::fresh("sqlite")?;
    let mut figures = Vec::new();
    for batch in [1, 64, 1000] {
        let path = directory.join(&format!("plain-{batch}.sqlite3"));
        let rate = insert_batches(&path, batch, bench.plan.span.measured)?;
        let what = format!("sqlite: plain inserts, {batch} in a commit");
        figures.push(Figure::new(format!("sqlite.insert.{batch}"), what, rate, Unit::PerSecond));
    }
    Ok(figures)
}
