//! Crash points: named places at which a test ends the process as a crash would, at once and with the files
//! as they are.
//!
//! Without the cargo feature `crash-points`, the macro `crash_point!` expands to no code. With the feature, the
//! environment variable `TALLY_CRASH_POINT` names the place, and behind a colon the pass at which the process
//! ends: `before-sync:3` ends the process at the third commit.
//!
//! **Invariant:** every name stands in `CRASH_POINTS`, and a test kills a process at each name.
//!
//! Read next: `tests/spec/crashes/points.rs`, the test.

/// Ends the process here if the environment asks for a crash at this place.
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "crash-points")]
        $crate::es::crash_point::reach($name);
    };
}

#[cfg(feature = "crash-points")]
pub use places::CRASH_POINTS;
#[cfg(feature = "crash-points")]
pub(super) use places::reach;

#[cfg(feature = "crash-points")]
mod places {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    const VARIABLE: &str = "TALLY_CRASH_POINT";

    /// The places, in the order in which a command and its event pass them.
    pub const CRASH_POINTS: [&str; 15] = [
        "log-created-before-commit",
        "between-two-events",
        "between-events-and-key",
        "in-snapshot",
        "before-sync",
        "after-sync-before-receipt",
        "read-database-created-before-commit",
        "between-rows-and-checkpoint",
        "before-checkpoint-commit",
        "after-checkpoint-commit",
        "rebuild-begun-before-commit",
        "in-rebuild",
        "in-swap-before-commit",
        "after-swap",
        "backup-copied-before-name",
    ];

    /// The place at which the process ends, and the passes left until then.
    struct Wanted {
        name: String,
        left: AtomicU64,
    }

    pub(in crate::es) fn reach(name: &str) {
        static WANTED: OnceLock<Option<Wanted>> = OnceLock::new();
        let wanted = WANTED.get_or_init(|| std::env::var(VARIABLE).ok().map(|text| wanted(&text)));
        // `NAME:3` means the third pass: a single call finds the count 1 before its subtraction.
        if let Some(wanted) = wanted.as_ref().filter(|wanted| wanted.name == name)
            && wanted.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            // Like SIGKILL from inside: the process neither unwinds nor flushes.
            std::process::abort();
        }
    }

    fn wanted(text: &str) -> Wanted {
        let (name, times) = text.split_once(':').unwrap_or((text, "1"));
        Wanted { name: name.to_owned(), left: AtomicU64::new(times.parse().unwrap_or(1)) }
    }
}
