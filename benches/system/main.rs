//! The benchmark of the system: the real binaries, on fresh data, over HTTP, each figure beside its
//! limit on this machine in the same run.
//!
//! `cargo bench --bench system` measures everything in about two minutes; `-- --help` says more.
//! Absolute figures depend on the machine and on what else it does; the ratios say how much of
//! what the machine can do is left to the client.
//!
//! Read next: `commands.rs`, a group of figures; `load.rs`, how they are measured.

mod baseline;
mod client;
mod commands;
mod compare;
mod feed;
mod figure;
mod fill;
mod footprint;
mod histogram;
mod length;
mod load;
mod options;
mod process;
mod queries;
mod rebuild;
mod registry;
mod samples;
mod system;

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use serde_json::json;

use figure::Figure;
use options::{Output, Plan, Task, USAGE};
use samples::Bench;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
type Group = fn(&Bench) -> Result<Vec<Figure>>;

/// In the order in which they run.
const GROUPS: &[(&str, Group)] = &[
    ("engine", baseline::engine),
    ("sqlite", baseline::sqlite),
    ("commands", commands::commands),
    ("queries", queries::queries),
    ("visible", queries::visible),
    ("replicas", queries::replicas),
    ("feed", feed::feed),
    ("rebuild", rebuild::rebuild),
    ("log", length::log),
    ("stream", length::stream),
    ("registry", registry::registry),
    ("footprint", footprint::footprint),
];

fn main() -> ExitCode {
    let done = options::task().and_then(|task| match task {
        Task::Measure { plan, groups, output } => measure(plan, &groups, output),
        Task::Compare { old, new } => compare::compare(&old, &new).and_then(|text| print(&text)),
        Task::List => GROUPS.iter().try_for_each(|(name, _)| print(&format!("{name}\n"))),
        Task::Help => print(USAGE),
        Task::ServeConstant => baseline::serve_constant(),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn measure(plan: Plan, names: &[String], output: Output) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| GROUPS.iter().all(|(group, _)| group != name)) {
        return Err(format!("no group is called {unknown}; --list shows them").into());
    }
    process::remove_leftovers()?;
    let (bench, begun) = (Bench::new(plan), Instant::now());
    let (mut figures, mut failed) = (Vec::new(), Vec::new());
    for (name, group) in GROUPS {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            let group_begun = Instant::now();
            match group(&bench) {
                Ok(measured) => figures.extend(measured),
                Err(error) => failed.push(format!("{name}: {error}")),
            }
            eprintln!("{name}: {:.1} s", group_begun.elapsed().as_secs_f64());
        }
    }
    match output {
        Output::Table => print(&figure::table(&figures))?,
        Output::Json => print(&format!("{:#}\n", as_json(&bench, &figures)))?,
    }
    eprintln!("all: {:.1} s", begun.elapsed().as_secs_f64());
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

fn as_json(bench: &Bench, figures: &[Figure]) -> serde_json::Value {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let figures: Vec<_> = figures.iter().map(Figure::to_json).collect();
    json!({"version": env!("CARGO_PKG_VERSION"), "cores": cores, "rounds": bench.plan.rounds, "figures": figures})
}
