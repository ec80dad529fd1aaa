//! The problems of the write side. Errors of the domain and of the machine become HTTP in this file alone.
//!
//! Read next: `src/http/problem.rs`, the problems of all services.

use super::headers::TRANSFER_KEY;
use crate::account::Rejection;
use crate::es::{Error, ExecuteError};
use crate::http::{Problem, problem_types, problems};

problem_types! {
    ACCOUNT_EXISTS = 409 "account-exists", "The account exists",
        "An account with this id was opened before. If that was you, retry with the same `Idempotency-Key` to get the first receipt; else choose another id, or leave it out.";
    ACCOUNT_NOT_FOUND = 404 "account-not-found", "There is no such account",
        "No account was opened with this id. Check the id, or open the account.";
    EVENT_NOT_FOUND = 404 "event-not-found", "There is no such event",
        "The log has no event at this position yet. `GET /events?after=…&wait=…` waits for the next event.";
    ACCOUNT_CLOSED = 422 "account-closed", "The account is closed",
        "The account was closed, and nothing happens to a closed account any more.";
    INSUFFICIENT_FUNDS = 422 "insufficient-funds", "The balance is too small",
        "The account holds less than the amount. Deposit more, or withdraw less.";
    BALANCE_LIMIT = 422 "balance-limit", "The balance would be too large",
        "The balance would exceed 9 007 199 254 740 991 minor units. Deposit less.";
    BALANCE_NOT_ZERO = 422 "balance-not-zero", "The account is not empty",
        "Only an account with a balance of 0 can be closed. Withdraw or transfer the rest first.";
    SAME_ACCOUNT = 422 "same-account", "The accounts are the same",
        "A transfer needs two different accounts.";
    CURRENCY_MISMATCH = 422 "currency-mismatch", "The currencies differ",
        "A transfer needs two accounts of one currency.";
    TRANSFER_EXISTS = 409 "transfer-exists", "The transfer exists",
        "Another transfer was recorded under this `transfer_id`, which names one transfer for ever. Choose another id, or leave it out.";
    VERSION_MISMATCH = 412 "version-mismatch", "The account is at another version",
        "The account is not at the version that `If-Match` asks for: another client was faster. Look at the account again, then decide again.";
    IDEMPOTENCY_KEY_REUSED = 422 "idempotency-key-reused", "The idempotency key belongs to another command",
        "This `Idempotency-Key` came with another command before. Use a new key for a new command.";
    OUTCOME_UNKNOWN = 503 "outcome-unknown", "The outcome is not known",
        "The storage did not answer in time, and the command may or may not have been carried out. Send it again with the same `Idempotency-Key`, which finds out.";
    STORAGE_FAILED = 503 "storage-failed", "The storage fails",
        "The disk is full or fails, or the database file is not in its place. Nothing was recorded, or its receipt can be had with the same `Idempotency-Key`. Try again later.";
    LOG_DAMAGED = 500 "log-damaged", "The account's history cannot be read",
        "The recorded history of the account is damaged or was written by a newer version of the service. Nothing was changed. The operator finds out more with `write-service --verify`.";
    UNHEALTHY = 503 "unhealthy", "The service cannot do its job",
        "The detail says why. Send commands to another instance, or try again later.";
}

/// Seconds until a client retries: a few commits.
pub(super) const RETRY_AFTER: &str = "1";

fn of_rejection(rejection: Rejection) -> Problem {
    let (kind, detail) = match rejection {
        Rejection::AccountExists => (&ACCOUNT_EXISTS, "an account with this id exists"),
        Rejection::AccountNotFound => (&ACCOUNT_NOT_FOUND, "no account was opened with this id"),
        Rejection::AccountClosed => (&ACCOUNT_CLOSED, "the account was closed"),
        Rejection::InsufficientFunds => (&INSUFFICIENT_FUNDS, "the account holds less than the amount"),
        Rejection::BalanceLimit => (&BALANCE_LIMIT, "the balance would exceed 9007199254740991"),
        Rejection::BalanceNotZero => (&BALANCE_NOT_ZERO, "the account's balance is not 0"),
        Rejection::SameAccount => (&SAME_ACCOUNT, "`from` and `to` are the same account"),
        Rejection::CurrencyMismatch => (&CURRENCY_MISMATCH, "the accounts are of different currencies"),
    };
    Problem::new(kind, detail)
}

pub(super) fn of_error(error: &Error) -> Problem {
    let kind = match error {
        Error::Unusable(_) | Error::Storage(_) => &STORAGE_FAILED,
        Error::Corrupt(_) => &LOG_DAMAGED,
        // Another program keeps its streams in this log: the id belongs to none of the bank's accounts.
        Error::WrongKind { .. } => &ACCOUNT_NOT_FOUND,
        // A stopping service is restarted or replaced: the client tries again, as under load.
        Error::Overloaded | Error::Stopped => &problems::OVERLOADED,
        Error::OutcomeUnknown => &OUTCOME_UNKNOWN,
        Error::Panicked | Error::InvalidDefinition(_) => &problems::INTERNAL_ERROR,
    };
    let problem = Problem::new(kind, error.to_string());
    // Waiting does not repair a damaged log or a bug, so only a 503 invites to another attempt.
    if kind.status == 503 { problem.with_header("Retry-After", RETRY_AFTER) } else { problem }
}

pub(super) fn of_execution(error: ExecuteError<Rejection>) -> Problem {
    match error {
        ExecuteError::Rejected(rejection) => of_rejection(rejection),
        ExecuteError::VersionMismatch { stream_id, actual } => {
            Problem::new(&VERSION_MISMATCH, format!("account {stream_id} is at version {actual}"))
                .with("version", actual)
        }
        ExecuteError::KeyReused { key } if key.starts_with(TRANSFER_KEY) => {
            Problem::new(&TRANSFER_EXISTS, "another transfer was recorded under this transfer_id")
        }
        ExecuteError::KeyReused { .. } => {
            Problem::new(&IDEMPOTENCY_KEY_REUSED, "the key came with another command before")
        }
        ExecuteError::Failed(error) => of_error(&error),
    }
}
