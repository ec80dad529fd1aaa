//! The state of the write side: the executor of commands, the log, and the limits on the readers of the log.
//!
//! **Invariant:** pages of the feed are built by a bounded number of threads at once.
//!
//! Read next: `routes.rs` and `feed.rs`, which use the state.

use std::sync::Arc;
use std::time::Duration;

use super::commands::{self, Command};
use super::headers::Headers;
use super::problems;
use super::standing::Standing;
use crate::es::{Error, EventLog, Execution, Executor, Timing};
use crate::gate::{Gate, Pass};
use crate::http::{LongPolls, Problem, ProblemType, Request};

/// The longest wait of a request for a turn to build a page: thousands of pages are built meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// The state of the service.
#[derive(Debug)]
pub struct WriteSide {
    pub(super) bank: Executor,
    pub(super) log: Arc<EventLog>,
    pub(super) long_polls: LongPolls,
    /// Bounds how many pages are built at once, also in the form of CloudEvents.
    pages: Gate,
    /// `None` for a service without a registration.
    pub(super) standing: Option<Arc<Standing>>,
}

impl WriteSide {
    /// Returns the service on the log `log`.
    pub fn new(bank: Executor, log: Arc<EventLog>, long_polls: LongPolls) -> Self {
        Self { bank, log, long_polls, pages: Gate::for_computing(), standing: None }
    }

    /// Adds the standing, which `/health` shows: whether the service is registered as the writer of the log.
    pub fn with_standing(self, standing: Arc<Standing>) -> Self {
        Self { standing: Some(standing), ..self }
    }

    /// Waits for the turn to build a page.
    pub(super) fn turn(&self) -> Result<Pass<'_>, Problem> {
        let busy = || problems::of_error(&Error::Overloaded);
        self.pages.enter(PATIENCE).ok_or_else(busy)
    }

    pub(super) fn execute(
        &self,
        request: &Request,
        command: Command,
    ) -> Result<(Execution, Timing), Problem> {
        commands::execute(&self.bank, command, Headers::of(request)?)
    }

    /// Checks whether commands can be recorded; a failure is a problem of that kind.
    pub(super) fn check(&self, kind: &'static ProblemType) -> Result<(), Problem> {
        // The log first: a file that was moved away explains failed commits.
        self.log.check().and_then(|()| self.bank.check()).map_err(|error| {
            Problem::new(kind, format!("commands cannot be recorded: {error}"))
                .with_header("Retry-After", problems::RETRY_AFTER)
        })
    }

    /// Returns the number of commands in the writer's queue.
    pub fn waiting_commands(&self) -> usize {
        self.bank.waiting()
    }

    /// Returns the number of long polls of the feed.
    pub fn waiting_readers(&self) -> usize {
        self.long_polls.waiting()
    }

    /// Ends all long polls, rejects new commands, and finishes the queued commands.
    pub fn close(&self) {
        // The long polls first: the writer's last commits may take a while.
        self.log.head().close();
        self.bank.stop();
    }
}
