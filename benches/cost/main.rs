//! What one operation costs, each on a fixed workload: the same work in every run, whoever measures it.
//!
//! `cargo bench --bench cost` prints a table of nanoseconds, for a quick look; they depend on the
//! machine and on what else it does. `tests/cost.sh` counts instructions instead, which hardly do, and
//! compares them with `record.txt`.
//!
//! **Invariant:** preparing an operation costs the same however often it is carried out afterwards,
//! so that the difference of two runs is the operation and nothing else.
//!
//! Read next: `operations.rs`, the operations; `fixture.rs`, the history that they work on.

mod fixture;
mod operations;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use operations::{OPERATIONS, Operation};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "usage: cargo bench --bench cost                         a table of nanoseconds
       cargo bench --bench cost -- --list               the operations, and how often to carry them out
       cargo bench --bench cost -- --run NAME once|twice  carry one out that often, or twice as often";

/// The quickest of so many runs is shown: what disturbs a run only makes it slower.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => table(),
        ["--list"] => list(),
        ["--run", name, "once"] => find(name).and_then(|operation| run(operation, operation.times).map(drop)),
        ["--run", name, "twice"] => {
            find(name).and_then(|operation| run(operation, 2 * operation.times).map(drop))
        }
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn find(name: &str) -> Result<&'static Operation> {
    let found = OPERATIONS.iter().find(|operation| operation.name == name);
    found.ok_or_else(|| format!("there is no operation {name}; --list names them").into())
}

fn list() -> Result<()> {
    let mut stdout = std::io::stdout();
    for operation in OPERATIONS {
        writeln!(stdout, "{} {}", operation.name, operation.times)?;
    }
    Ok(())
}

fn table() -> Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{:<20} {:>12}  one operation is", "operation", "ns")?;
    for operation in OPERATIONS {
        let runs = std::iter::repeat_with(|| run(operation, 2 * operation.times)).take(ROUNDS);
        let quickest = runs.collect::<Result<Vec<_>>>()?.into_iter().min().unwrap_or_default();
        let nanos = quickest.as_nanos() / u128::from(2 * operation.times);
        writeln!(stdout, "{:<20} {nanos:>12}  {}", operation.name, operation.is)?;
    }
    Ok(())
}

/// Prepares for the most, carries the operation out that often, and says how long that took.
fn run(operation: &Operation, times: u32) -> Result<Duration> {
    let directory = Directory::new()?;
    let mut once = (operation.prepare)(&directory.0, 2 * operation.times)?;
    let begun = Instant::now();
    for _ in 0..times {
        once()?;
    }
    Ok(begun.elapsed())
}

/// A directory for the files of one run, removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Self> {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cost-{}", std::process::id()));
        // One run may follow another in this process.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
