//! Named places at which a test can end the process, as a crash would: at once, without a last
//! word, with the files as they are.
//!
//! Only with the cargo feature `crash-points`; without it, nothing of this is compiled. With it, the
//! environment variable `TALLY_CRASH_POINT` names the place, and behind a colon how often it is
//! passed before: `before-sync:3` ends the process at the third commit.
//!
//! **Invariant:** every name stands in [`CRASH_POINTS`], and a test kills a process at each.

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

/// Where the process is to end, and how many times it has still to come there.
struct Wanted {
    name: String,
    left: AtomicU64,
}

pub(super) fn reach(name: &str) {
    static WANTED: OnceLock<Option<Wanted>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| std::env::var(VARIABLE).ok().map(|text| wanted(&text)));
    if let Some(wanted) = wanted.as_ref().filter(|wanted| wanted.name == name)
        && wanted.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        // Nothing is unwound, nothing flushed: what SIGKILL does, but from inside.
        std::process::abort();
    }
}

fn wanted(text: &str) -> Wanted {
    let (name, times) = text.split_once(':').unwrap_or((text, "1"));
    Wanted { name: name.to_owned(), left: AtomicU64::new(times.parse().unwrap_or(1)) }
}
