//! The problems of the read side.
//!
//! Read next: `src/http/problem.rs`, the problems of all services.

use crate::http::problem_types;

problem_types! {
    ACCOUNT_NOT_FOUND = 404 "account-not-found", "There is no such account",
        "No account was opened with this id, or not yet at the version or time that was asked for. `Event-Position` says how far the read model has come: an account that was opened after that is found with `?min_position=`.";
    READ_MODEL_BEHIND = 503 "read-model-behind", "The read model has not come that far",
        "The position given as `min_position` was not reached in time, or the read model is being built from the first event and does not answer yet. `Event-Position` says how far the read model has come. Try again after `Retry-After`, or with a longer `wait`.";
    PROJECTION_NOT_FOUND = 404 "projection-not-found", "There is no such projection",
        "`GET /projections` lists the projections.";
    REBUILD_NOT_FOUND = 404 "rebuild-not-found", "No rebuild is running",
        "The projection is not being rebuilt, so there is no rebuild to give up. `GET /projections` shows what is.";
    REBUILD_RUNNING = 409 "rebuild-running", "A rebuild is running",
        "The projection is being rebuilt already. `GET /projections` shows how far it has come.";
    STORAGE_FAILED = 503 "storage-failed", "The storage fails",
        "The read database cannot be read now. Try again later, or ask another instance.";
    UNHEALTHY = 503 "unhealthy", "The service cannot do its job",
        "The detail says why. The rows still answer, but some of them get no newer. Ask another instance, or see `GET /projections`.";
}

/// Seconds until a client retries.
pub(super) const RETRY_AFTER: &str = "1";
