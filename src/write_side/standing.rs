//! Whether this write service may register as the writer of its log.
//!
//! A copy of the database has the log id of its original. A write service that is started on the copy, to
//! try a backup out, must not be followed. So a write service looks for another live one of its log id
//! before it registers, and does not register while there is one. It serves all the same.
//!
//! **Invariant:** a service that has registered once registers again without a look: after a restart of
//! the registry, the original must not wait for a copy that came first.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::discovery::{
    Advertised, BaseUrl, Candidate, DiscoveryError, LOG_ID, LiveInstance, Permission, log_tips,
};
use crate::es::EventLog;

/// What to do while another live write service serves the same log from another database: one of the
/// two is a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// Serve, but do not register.
    Refused,
    /// Register all the same.
    Allowed,
}

/// How long the other write service must be gone before this one takes its place: longer than a
/// restart takes. A copy must not become the log because the original is restarted.
const TAKES_OVER_AFTER: Duration = Duration::from_secs(60);

/// How many other instances are asked before one registration. More than one is a mistake already.
const MAX_ASKED: usize = 8;

/// The metadata key that tells databases apart.
const DATABASE: &str = "database";

/// Where a write service stands among those of its log. Shared by the registration and the health route.
#[derive(Debug)]
pub struct Standing {
    log: Arc<EventLog>,
    /// Names the database: equal for the same file, also after a restart, and for no copy of it.
    database: String,
    copies: Copies,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Unregistered,
    Registered,
    /// Another write service of this log is live, or was a short time ago.
    Withheld(Other),
}

/// Another write service of the same log, as it was seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Other {
    address: String,
    head: u64,
    seen: Instant,
}

impl Standing {
    /// Returns the standing of a service that writes that log, which is in the file `db`.
    ///
    /// # Errors
    /// When the file is not there.
    pub fn new(log: Arc<EventLog>, db: &Path, copies: Copies) -> std::io::Result<Self> {
        let database = identity(db)?;
        Ok(Self { log, database, copies, state: Mutex::new(State::Unregistered) })
    }

    /// Returns why the service does not register, if it does not.
    pub fn withheld(&self) -> Option<String> {
        match &*self.lock() {
            State::Withheld(other) => Some(self.explain(other)),
            State::Unregistered | State::Registered => None,
        }
    }

    fn explain(&self, other: &Other) -> String {
        format!(
            "the write service at {} serves log {} too, from another database; its log ends at {}, this one at {}. \
             One is a copy of the other: stop the wrong one, then restart this one if it is the right one, \
             or start it with --allow-copy to register beside the other",
            other.address,
            self.log.log_id(),
            other.head,
            self.log.head().value()
        )
    }

    /// Decides whether to register, when `other` is the only other live writer of the log or there is
    /// none.
    fn decide(&self, other: Option<Other>, now: Instant) -> Permission {
        let mut state = self.lock();
        let before = match &*state {
            State::Registered => return Permission::Granted,
            State::Unregistered => None,
            State::Withheld(before) => Some(before.clone()),
        };
        match (before, other) {
            (None, None) => {}
            (before, Some(other)) => {
                if before.is_none_or(|before| before.address != other.address) {
                    log::error!("not registering: {}", self.explain(&other));
                }
                *state = State::Withheld(other);
                return Permission::Withheld;
            }
            (Some(before), None) => {
                let is_gone = now.saturating_duration_since(before.seen) >= TAKES_OVER_AFTER;
                // A log that lacks events that the other one had must not replace it unasked.
                if !is_gone || self.log.head().value() < before.head {
                    return Permission::Withheld;
                }
                log::warn!("registering: the write service at {} is gone", before.address);
            }
        }
        *state = State::Registered;
        Permission::Granted
    }

    /// Returns the longest of the other live writers of this log among those instances.
    fn find_other(&self, instances: &[LiveInstance], own: Option<&BaseUrl>) -> Option<Other> {
        let log_id = self.log.log_id().to_string();
        let claims = |instance: &&LiveInstance| {
            instance.metadata.get(LOG_ID) == Some(&log_id)
                && instance.metadata.get(DATABASE) != Some(&self.database)
        };
        let urls = instances.iter().filter(claims).filter_map(LiveInstance::base_url);
        let urls: Vec<_> = urls.filter(|url| Some(url) != own).take(MAX_ASKED).collect();
        // A lease may outlive its service by one TTL, so each is asked.
        let answers = urls.iter().zip(log_tips(&urls));
        let live =
            answers.filter_map(|(url, tip)| Some((url, tip.filter(|tip| tip.log_id == self.log.log_id())?)));
        let longest = live.max_by_key(|(_, tip)| tip.head);
        longest.map(|(url, tip)| Other { address: url.to_string(), head: tip.head, seen: Instant::now() })
    }

    /// Each state is one value: nothing can be half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns a short text for the file at `db` that no other file has on any machine that runs now: its
/// device and inode, and the boot of the machine.
fn identity(db: &Path) -> std::io::Result<String> {
    let metadata = std::fs::metadata(db)?;
    // Where the system does not name its boots, device and inode alone must do.
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    (metadata.dev(), metadata.ino(), boot).hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

/// A write service that asks to be registered under an address.
#[derive(Debug)]
pub struct Writer {
    standing: Arc<Standing>,
    address: Advertised,
}

impl Writer {
    /// Returns the service that stands so, at that address.
    pub fn at(address: Advertised, standing: Arc<Standing>) -> Self {
        Self { standing, address }
    }
}

impl Candidate for Writer {
    /// The head is that of the moment; clients that need the present one ask the service.
    fn advertised(&self) -> Advertised {
        let Standing { log, database, .. } = &*self.standing;
        let metadata = [
            (LOG_ID, log.log_id().to_string()),
            ("head", log.head().value().to_string()),
            (DATABASE, database.clone()),
        ];
        let metadata: BTreeMap<_, _> = metadata.map(|(key, value)| (key.to_owned(), value)).into();
        Advertised { metadata, ..self.address.clone() }
    }

    fn may_register(
        &self,
        instances: &dyn Fn() -> Result<Vec<LiveInstance>, DiscoveryError>,
    ) -> Result<Permission, DiscoveryError> {
        let standing = &self.standing;
        let is_registered = matches!(*standing.lock(), State::Registered);
        if is_registered || standing.copies == Copies::Allowed {
            return Ok(Permission::Granted);
        }
        let own = self.address.host.parse().ok().and_then(|host| BaseUrl::of(host, self.address.port));
        let other = standing.find_other(&instances()?, own.as_ref());
        Ok(standing.decide(other, Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::es::SqliteDatabase;
    use crate::es::tests::TempPath;

    const SECOND: Duration = Duration::from_secs(1);

    fn standing(path: &TempPath) -> Standing {
        let log = EventLog::open(SqliteDatabase::open(&**path).unwrap()).unwrap();
        Standing::new(log, path, Copies::Refused).unwrap()
    }

    fn other(head: u64, seen: Instant) -> Option<Other> {
        Some(Other { address: "http://127.0.0.1:1".to_owned(), head, seen })
    }

    #[test]
    fn a_service_without_another_of_its_log_registers_and_then_stays_registered() {
        let (path, now) = (TempPath::new(), Instant::now());
        let standing = standing(&path);
        assert_eq!(standing.decide(None, now), Permission::Granted);
        assert_eq!(standing.decide(other(9, now), now), Permission::Granted);
        assert_eq!(standing.withheld(), None);
    }

    #[test]
    fn a_restart_of_the_original_does_not_make_a_copy_the_log() {
        let (path, now) = (TempPath::new(), Instant::now());
        let standing = standing(&path);
        assert_eq!(standing.decide(other(0, now), now), Permission::Withheld);
        assert!(standing.withheld().unwrap().contains("http://127.0.0.1:1"));
        assert_eq!(standing.decide(None, now + 59 * SECOND), Permission::Withheld);
        assert_eq!(standing.decide(None, now + 60 * SECOND), Permission::Granted);
        assert_eq!(standing.withheld(), None);
    }

    #[test]
    fn a_copy_that_is_shorter_than_the_original_was_never_takes_its_place() {
        let (path, now) = (TempPath::new(), Instant::now());
        let standing = standing(&path);
        assert_eq!(standing.decide(other(1, now), now), Permission::Withheld);
        assert_eq!(standing.decide(None, now + 3_600 * SECOND), Permission::Withheld);
    }

    #[test]
    fn a_copy_of_a_database_is_another_database_and_another_path_to_it_is_not() {
        let (path, copy, link) = (TempPath::new(), TempPath::new(), TempPath::new());
        std::fs::write(&*path, "x").unwrap();
        std::fs::copy(&*path, &*copy).unwrap();
        std::os::unix::fs::symlink(&*path, &*link).unwrap();
        assert_eq!(identity(&path).unwrap(), identity(&link).unwrap());
        assert_ne!(identity(&path).unwrap(), identity(&copy).unwrap());
    }
}
