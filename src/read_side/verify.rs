//! `read-service --verify`: compares the read models with a replay of the log.
//!
//! Read next: `src/es/audit/read_model.rs`, which replays and compares.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::projections;
use super::service::followed_log;
use super::upstream::{HttpFeed, Upstream};
use crate::discovery::BaseUrl;
use crate::es::{
    CatchUpError, DatabaseFile, DatabasePath, Feed, FeedError, MAX_PAGE, Page, Scratch, Verified,
    VerifyError, verify_projection,
};

/// The longest absence of the write side before the verification fails.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Replays the log into a scratch database beside `db`, and compares every projection with the replay.
/// The read service may be running.
///
/// # Errors
/// When a database or the log cannot be read.
pub fn verify(
    db: &Path,
    registries: Vec<BaseUrl>,
    write_side: Option<BaseUrl>,
) -> Result<Vec<Verified>, VerifyFailed> {
    let file = DatabaseFile::existing(db).map_err(|error| VerifyFailed::Projection(error.into()))?;
    let followed = followed_log(&Arc::new(file));
    let upstream = Upstream::start(registries, write_side, followed).map_err(VerifyFailed::Thread)?;
    let mut feed = Patient(HttpFeed::new(Arc::clone(&upstream)));
    let verified = verify_with(db, &mut feed);
    // Ends the look-up thread, after a failed verification too.
    upstream.close();
    verified
}

fn verify_with(db: &Path, feed: &mut dyn Feed) -> Result<Vec<Verified>, VerifyFailed> {
    let db = &DatabasePath::resolve(db).map_err(|error| VerifyFailed::Projection(error.into()))?;
    let verified = |definition| {
        // In the same directory: the likeliest place with room for another database of this size.
        let scratch = Scratch::beside(db).map_err(VerifyFailed::Scratch)?;
        verify_projection(db, &scratch.file("replay.sqlite3"), definition, feed)
            .map_err(VerifyFailed::Projection)
    };
    projections().iter().map(verified).collect()
}

/// A feed with retries: a failure counts only after [`PATIENCE`].
struct Patient<F>(F);

impl<F: Feed> Feed for Patient<F> {
    fn next_page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.0.next_page(after, limit.min(MAX_PAGE), wait) {
                // A short absence of the write side must not end a long replay, which begins at the first
                // event.
                Err(_) if Instant::now() < deadline => thread::sleep(PAUSE),
                settled => return settled,
            }
        }
    }

    fn rejected(&mut self) {
        self.0.rejected();
    }
}

/// Why the read models could not be verified.
#[derive(Debug)]
pub enum VerifyFailed {
    /// A database or the log cannot be read.
    Projection(VerifyError),
    /// The replay has no room beside the database.
    Scratch(std::io::Error),
    /// The system gives no thread.
    Thread(std::io::Error),
}

impl fmt::Display for VerifyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Projection(VerifyError::Replay(CatchUpError::FeedAway(reason))) => write!(
                f,
                "the rows are compared with a replay of the log, so a write side must answer: {reason}. Start \
                 the write side and its registry, or give another address with --registry or --write-side"
            ),
            Self::Projection(error) => error.fmt(f),
            Self::Scratch(error) => {
                write!(f, "the log cannot be replayed beside the read database: {error}; check the directory")
            }
            Self::Thread(error) => write!(f, "the system gives no thread: {error}"),
        }
    }
}

impl std::error::Error for VerifyFailed {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::es::Projector;
    use crate::es::fixtures::{Log, LogFeed, TempPath};

    #[test]
    fn an_account_that_was_tampered_with_is_found_by_account_and_field() {
        let mut log = Log::new(1);
        log.append(1, "AccountCreated", r#"{"owner":"Ada","currency":"EUR"}"#);
        log.append(1, "MoneyDeposited", r#"{"amount":500,"currency":"EUR"}"#);
        let (mut feed, path) = (LogFeed::new(log), TempPath::new());
        Projector::open(&path, &projections()).unwrap().catch_up(&mut feed, u64::MAX).unwrap();
        let sound = verify_with(&path, &mut feed).unwrap();
        assert!(sound.iter().all(|verified| verified.difference.is_none() && verified.rows > 0), "{sound:?}");
        let db = rusqlite::Connection::open(&*path).unwrap();
        db.execute_batch("UPDATE accounts SET balance = 5000").unwrap();
        let found = verify_with(&path, &mut feed).unwrap()[0].to_string();
        let expected =
            "account_id=00000000-0000-0000-0000-000000000001: balance is 5000, a replay of the log says 500";
        assert!(found.contains(expected), "{found}");
        let left = std::fs::read_dir(path.parent().unwrap()).unwrap();
        let scratch = format!("{}-scratch", path.file_name().unwrap().to_str().unwrap());
        assert!(!left.flatten().any(|file| file.file_name().to_str().unwrap().starts_with(&scratch)));
    }
}
