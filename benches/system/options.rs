//! The command line: `cargo bench --bench system -- [--quick] [--json] [GROUP...]`.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use crate::Result;
use crate::load::Span;

pub(crate) const USAGE: &str = "cargo bench --bench system -- [OPTIONS] [GROUP...]

  --quick            about 15 seconds, and as much less to be trusted
  --events COUNT     events in the long log and in the long stream (default 300000; the targets are
                     for 1000000, and 10000000 in the group `log`: minutes, and gigabytes)
  --json             JSON on stdout in place of the table
  --compare OLD NEW  compare two files of --json
  --list             the groups there are
";

/// What this process is to do.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    Measure {
        plan: Plan,
        groups: Vec<String>,
        output: Output,
    },
    Compare {
        old: PathBuf,
        new: PathBuf,
    },
    List,
    Help,
    /// Serve the engine's constant response: what [`crate::baseline`] starts.
    ServeConstant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Table,
    Json,
}

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How often a figure and its limit are measured in turn; medians are shown.
    pub(crate) rounds: usize,
    /// One load.
    pub(crate) span: Span,
    /// Events in the log that the feed is read from and read models are rebuilt from, in the long log
    /// and in the long stream.
    pub(crate) events: u64,
    /// Accounts that queries go over.
    pub(crate) queried_accounts: u64,
    /// Samples of what takes milliseconds.
    pub(crate) samples: usize,
}

impl Plan {
    const FULL: Self = Self {
        rounds: 5,
        span: Span { warm_up: Duration::from_millis(100), measured: Duration::from_millis(500) },
        events: 300_000,
        queried_accounts: 100_000,
        samples: 20,
    };

    const QUICK: Self = Self {
        rounds: 1,
        span: Span { warm_up: Duration::from_millis(80), measured: Duration::from_millis(250) },
        events: 50_000,
        queried_accounts: 5_000,
        samples: 5,
    };
}

/// Fewer make no long stream beside a short one.
const MIN_EVENTS: u64 = 1000;

/// Reads the command line of this process.
pub(crate) fn task() -> Result<Task> {
    let mut parser = Parser::from_env();
    let (mut plan, mut groups, mut output, mut events) = (Plan::FULL, Vec::new(), Output::Table, None);
    while let Some(argument) = parser.next()? {
        match argument {
            // Cargo says so to each benchmark.
            Arg::Long("bench") => {}
            Arg::Long("quick") => plan = Plan::QUICK,
            Arg::Long("events") => events = Some(parser.value()?.parse()?),
            Arg::Long("json") => output = Output::Json,
            Arg::Long("list") => return Ok(Task::List),
            Arg::Long("help") => return Ok(Task::Help),
            Arg::Long("serve-constant") => return Ok(Task::ServeConstant),
            Arg::Long("compare") => {
                let (old, new) = (parser.value()?.into(), parser.value()?.into());
                return Ok(Task::Compare { old, new });
            }
            Arg::Value(group) => groups.push(group.string()?),
            Arg::Long(_) | Arg::Short(_) => return Err(argument.unexpected().into()),
        }
    }
    plan.events = events.unwrap_or(plan.events).max(MIN_EVENTS);
    Ok(Task::Measure { plan, groups, output })
}
