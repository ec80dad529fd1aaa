//! The ways in which a command ends without success, and the exit status of each.
//!
//! Read next: `services.rs`, which makes refusals.

use crate::service::config::EXIT_USAGE;
use crate::service::process::ExitError;

/// Exit status after a refusal or a failure.
const EXIT_FAILED: u8 = 1;

/// Why a command ended without success.
#[derive(Debug)]
pub(super) enum CommandFailure {
    /// The command line is wrong: one line that names the argument.
    Usage(String),
    /// The command failed: the cause and the remedy.
    Failed(String),
    /// A service refused the request.
    Refused(Box<Refusal>),
    /// The reader of stdout has gone, as `head` does after its lines: a success.
    ClosedPipe,
}

/// The problem with which a service answered.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) slug: String,
    pub(super) title: String,
    pub(super) detail: String,
    /// What the client can do, as the service's own page about the problem says.
    pub(super) remedy: String,
    /// The answer as it came.
    pub(super) document: String,
}

impl CommandFailure {
    #[cold]
    #[inline(never)]
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    #[cold]
    #[inline(never)]
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// Returns the exit status. A closed pipe is a success: the reader has what the reader wanted.
    pub(super) fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => EXIT_USAGE,
            Self::Failed(_) | Self::Refused(_) => EXIT_FAILED,
            Self::ClosedPipe => 0,
        }
    }
}

impl From<ExitError> for CommandFailure {
    #[cold]
    #[inline(never)]
    fn from(error: ExitError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<crate::es::Error> for CommandFailure {
    #[cold]
    #[inline(never)]
    fn from(error: crate::es::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
