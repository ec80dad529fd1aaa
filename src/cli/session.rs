//! One run of a command: its arguments, the services, and where its output goes.
//!
//! Read next: `services.rs`, `terminal.rs`.

use uuid::Uuid;

use super::arguments::Arguments;
use super::failure::CommandFailure;
use super::services::Services;
use super::terminal::Terminal;

/// What a command works with.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) given: Arguments,
    pub(super) services: Services,
    pub(super) terminal: Terminal,
}

impl Session {
    pub(super) fn of(given: Arguments) -> Result<Self, CommandFailure> {
        let (services, terminal) = (Services::of(&given)?, Terminal::of_process(given.has("json")));
        Ok(Self { given, services, terminal })
    }

    /// Returns the operand of that number as the id of an account.
    pub(super) fn id(&self, index: usize, name: &str) -> Result<Uuid, CommandFailure> {
        self.given.operand_parsed(index, name, "a UUID")
    }
}
