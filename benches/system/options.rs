//! The command line: `cargo bench --bench system -- [--quick] [--json] [GROUP...]`.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use crate::Result;
use crate::load::Span;

pub(crate) const USAGE: &str = "cargo bench --bench system -- [OPTIONS] [GROUP...]

  --quick            about 15 seconds, and as much less to be trusted
  --long-log EVENTS  the long log of the group `log` (default 1000000; the target is for 10000000)
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
    /// Events in the log that the feed is read from and read models are rebuilt from.
    pub(crate) events: u64,
    /// Events in the longest log and the longest stream.
    pub(crate) long_log_events: u64,
    pub(crate) long_stream_events: u64,
    /// Accounts that queries go over.
    pub(crate) queried_accounts: u64,
    /// Samples of what takes milliseconds.
    pub(crate) samples: usize,
}

impl Plan {
    const FULL: Self = Self {
        rounds: 3,
        span: Span { warm_up: Duration::from_millis(150), measured: Duration::from_millis(850) },
        events: 1_000_000,
        long_log_events: 1_000_000,
        long_stream_events: 1_000_000,
        queried_accounts: 100_000,
        samples: 20,
    };

    const QUICK: Self = Self {
        rounds: 1,
        span: Span { warm_up: Duration::from_millis(80), measured: Duration::from_millis(250) },
        events: 50_000,
        long_log_events: 50_000,
        long_stream_events: 20_000,
        queried_accounts: 5_000,
        samples: 5,
    };
}

/// Reads the command line of this process.
pub(crate) fn task() -> Result<Task> {
    let mut parser = Parser::from_env();
    let (mut plan, mut groups, mut output, mut long_log) = (Plan::FULL, Vec::new(), Output::Table, None);
    while let Some(argument) = parser.next()? {
        match argument {
            // Cargo says so to each benchmark.
            Arg::Long("bench") => {}
            Arg::Long("quick") => plan = Plan::QUICK,
            Arg::Long("long-log") => long_log = Some(parser.value()?.parse()?),
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
    plan.long_log_events = long_log.unwrap_or(plan.long_log_events);
    Ok(Task::Measure { plan, groups, output })
}
