//! What the services cost when nobody asks them anything: bytes on disk, time to start, memory.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::client::{Client, get};
use crate::figure::{Figure, Target};
use crate::process::{Binary, Directory, Process};
use crate::samples::{Bench, bytes_of, median_of};
use crate::system::System;

const MIB: f64 = 1024.0 * 1024.0;
const IDLE_CONNECTIONS: usize = 1000;
/// Descriptors that this process needs besides.
const OWN_DESCRIPTORS: usize = 100;

/// The group `footprint`.
pub(crate) fn footprint(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for binary in Binary::ALL {
        let name = binary.name();
        figures.push(
            Figure::bytes(format!("{name}.bytes"), format!("{name}, binary"), bytes_of(binary.path()))
                .target(Target::Below(3.0 * MIB)),
        );
        figures.extend(start_up(bench, binary)?);
    }
    figures.extend(memory()?);
    Ok(figures)
}

fn start_up(bench: &Bench, binary: Binary) -> Result<Vec<Figure>> {
    let (name, directory) = (binary.name(), Directory::fresh("start-up")?);
    // Both sides begin with a file that is there, as after the first start.
    let db = match binary {
        Binary::Registry => None,
        Binary::Write | Binary::Read => Some(directory.join("db.sqlite3")),
    };
    drop(Process::service(binary, db.as_deref(), None)?);
    let (mut versions, mut starts) = (Vec::new(), Vec::new());
    for _ in 0..bench.plan.samples {
        versions.push(version(binary)?.as_secs_f64());
        starts.push(Process::service(binary, db.as_deref(), None)?.ready_after().as_secs_f64());
    }
    let p50 = |id: &str, what: &str, samples| {
        Figure::seconds(format!("{name}.{id}"), format!("{name}, {what}, p50"), median_of(samples))
            .target(Target::Below(20e-3))
    };
    Ok(vec![p50("version", "--version to exit", versions), p50("start", "start to listening", starts)])
}

fn version(binary: Binary) -> Result<Duration> {
    let begun = Instant::now();
    let status = Command::new(binary.path()).arg("--version").stdout(Stdio::null()).status()?;
    if status.success() { Ok(begun.elapsed()) } else { Err("--version failed".into()) }
}

fn memory() -> Result<Vec<Figure>> {
    let system = System::fresh("memory")?;
    let read = system.read("read_db.sqlite3")?;
    read.wait_for_position(0)?;
    // They have met each other, and each has beaten once.
    std::thread::sleep(Duration::from_millis(2500));
    let services =
        [(Binary::Registry, &system.registry), (Binary::Write, &system.write), (Binary::Read, &read)];
    let mut figures = Vec::new();
    for (binary, process) in services {
        let name = binary.name();
        figures.push(
            Figure::bytes(format!("{name}.rss"), format!("{name}, idle memory"), process.resident_bytes()?)
                .target(Target::Below(8.0 * MIB)),
        );
    }
    for (binary, process) in services {
        let name = binary.name();
        figures.push(
            Figure::bytes(
                format!("{name}.connections.rss"),
                format!("{name}, memory of {IDLE_CONNECTIONS} idle connections"),
                memory_of_connections(process)?,
            )
            .target(Target::Below(30.0 * MIB)),
        );
    }
    Ok(figures)
}

/// What so many idle keep-alive connections add, each of which has been used once.
fn memory_of_connections(process: &Process) -> Result<u64> {
    let count = IDLE_CONNECTIONS.min(descriptor_limit().saturating_sub(OWN_DESCRIPTORS)).max(1);
    let before = process.resident_bytes()?;
    let mut held = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(process.address())?;
        client.body_of(&get("/health"))?;
        held.push(client);
    }
    let added = process.resident_bytes()?.saturating_sub(before);
    drop(held);
    // The next service's turn begins when this one has taken note of the end of them all.
    let _ = TcpStream::connect(process.address())?;
    Ok(added * IDLE_CONNECTIONS as u64 / count as u64)
}

fn descriptor_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(1024)
}
