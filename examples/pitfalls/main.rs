//! Classic mistakes of event sourcing, each as a small program that fails, and the right way beside it.
//!
//! ```console
//! $ cargo run --example pitfalls                  # lists the pitfalls
//! $ cargo run --example pitfalls -- float-money   # runs one
//! $ cargo run --example pitfalls -- all
//! ```
//!
//! Each pitfall is a module with a `mistake` and a `right_way`; `tests/examples/pitfalls.rs` asserts the
//! figures of both. `README.md` beside this file is an overview, with the projects in which each mistake was
//! seen.
//!
//! Read next: `purse.rs`, the aggregate that most pitfalls use; then any pitfall.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

mod purse;

pub(crate) mod skipped_event;

pub(crate) mod dual_write;

pub(crate) mod float_money;

pub(crate) mod retry_without_key;

pub(crate) mod replaced_history;

// The lease table belongs to the registry, one of the services.
#[cfg(feature = "services")]
pub(crate) mod double_lease;

pub(crate) mod replay_by_time;

pub(crate) mod checkpoint_apart;

pub(crate) mod rule_in_fold;

pub(crate) mod rebuild_in_place;

pub(crate) mod version_read_again;

pub(crate) mod skipped_poison;

pub(crate) mod whole_replay;

pub(crate) mod thundering_herd;

// `Scene`, a log with its executor in a directory of its own, and `Directory`.
include!("../es/scene.rs");

/// Why a program could not run: the machine, never the mistake.
type Failure = Box<dyn Error + Send + Sync>;
type Result<T, E = Failure> = std::result::Result<T, E>;

/// A mistake, and the right way.
pub(crate) struct Pitfall {
    /// The argument that runs the pitfall.
    pub(crate) name: &'static str,
    /// What goes wrong.
    summary: &'static str,
    tell: fn() -> Result<Story>,
}

/// What the two programs of a pitfall did, in a sentence or two each.
struct Story {
    mistake: String,
    right_way: String,
}

pub(crate) const PITFALLS: &[Pitfall] = &[
    skipped_event::PITFALL,
    dual_write::PITFALL,
    float_money::PITFALL,
    retry_without_key::PITFALL,
    replaced_history::PITFALL,
    #[cfg(feature = "services")]
    double_lease::PITFALL,
    replay_by_time::PITFALL,
    checkpoint_apart::PITFALL,
    rule_in_fold::PITFALL,
    rebuild_in_place::PITFALL,
    version_read_again::PITFALL,
    skipped_poison::PITFALL,
    whole_replay::PITFALL,
    thundering_herd::PITFALL,
];

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    match run(&asked, &mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pitfalls: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lists the pitfalls, or runs those that are `asked` for.
pub(crate) fn run(asked: &[String], out: &mut impl Write) -> Result<()> {
    if asked.is_empty() {
        writeln!(out, "Run one with `cargo run --example pitfalls -- NAME`, or `all`:\n")?;
        for Pitfall { name, summary, .. } in PITFALLS {
            writeln!(out, "{name:<20} {summary}")?;
        }
        return Ok(());
    }
    for name in asked {
        let mut found = PITFALLS.iter().filter(|pitfall| name == "all" || name == pitfall.name).peekable();
        if found.peek().is_none() {
            return Err(format!("there is no pitfall {name:?}; without arguments, all are listed").into());
        }
        for Pitfall { name, summary, tell } in found {
            let Story { mistake, right_way } = tell()?;
            writeln!(out, "{name}: {summary}\n  mistake    {mistake}\n  right way  {right_way}\n")?;
        }
    }
    Ok(())
}
