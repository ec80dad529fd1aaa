//! Decides whether this write service may register as the writer of a log.
//!
//! A copy of a database has the same log id as the original. A write service on a copy, started to try a
//! backup, must not be followed by read services. So a write service looks for another live write service of
//! the same log id before the registration, and serves without a registration while another lives.
//!
//! **Invariant:** after a first registration, the service registers again without a look.
//!
//! Read next: `src/discovery/heartbeat.rs`, the thread that asks here.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::discovery::{
    Advertised, BaseUrl, Candidate, DiscoveryError, LOG_ID, LiveInstance, Permission, log_tips,
};
use crate::es::EventLog;
use crate::lock::lock;

/// Whether two write services may register for the same log from two databases, of which one is a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// Serve without a registration while the other service lives.
    Refused,
    /// Register beside the other service.
    Allowed,
}

/// How long the other write service must be gone before this service registers: longer than a restart takes.
/// A restart of the original must not make a copy the log.
const TAKES_OVER_AFTER: Duration = Duration::from_secs(60);

/// The most instances asked before a registration. Two are a mistake already.
const MAX_ASKED: usize = 8;

/// The metadata key of the database's identity.
const DATABASE: &str = "database";

/// The state of a write service among the write services of the same log. The registration thread changes
/// the state, and the health route shows it.
#[derive(Debug)]
pub struct Standing {
    log: Arc<EventLog>,
    /// The identity of the database: equal for the same file, also after a restart, but not for a copy.
    database: String,
    copies: Copies,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Unregistered,
    Registered,
    /// Another write service of this log is live, or was live a short time ago.
    Withheld(Other),
}

/// Another write service of the same log, as seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Other {
    address: String,
    head: u64,
    seen: Instant,
}

impl Standing {
    /// Returns the standing of a service with the log `log` in the file `db`.
    ///
    /// # Errors
    /// When the file does not exist.
    pub fn new(log: Arc<EventLog>, db: &Path, copies: Copies) -> std::io::Result<Self> {
        let database = identity(db)?;
        Ok(Self { log, database, copies, state: Mutex::new(State::Unregistered) })
    }

    /// Returns the reason why the service does not register, or `None` when the service may.
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

    /// Decides whether to register beside `other`, the only other live writer of the log, if any.
    fn decide(&self, other: Option<Other>, now: Instant) -> Permission {
        // The heartbeat threads of all registries decide here, one after another, about a single state.
        let mut state = self.lock();
        let before = match &*state {
            // After a restart of the registry, the original must not wait for a copy that came first.
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
                // This log must have all events of the other log, or events would be lost without a question.
                if !is_gone || self.log.head().value() < before.head {
                    return Permission::Withheld;
                }
                log::warn!("registering: the write service at {} is gone", before.address);
            }
        }
        *state = State::Registered;
        Permission::Granted
    }

    /// Returns the other live writer with the longest log among `instances`.
    fn find_other(&self, instances: &[LiveInstance], own: Option<&BaseUrl>) -> Option<Other> {
        let log_id = self.log.log_id().to_string();
        // The same database means this service itself, or its predecessor whose lease still runs.
        let claims = |instance: &&LiveInstance| {
            instance.metadata.get(LOG_ID) == Some(&log_id)
                && instance.metadata.get(DATABASE) != Some(&self.database)
        };
        let urls = instances.iter().filter(claims).filter_map(LiveInstance::base_url);
        // The own address is the entry of an earlier process of this service, and would be answered by this
        // process.
        let urls: Vec<_> = urls.filter(|url| Some(url) != own).take(MAX_ASKED).collect();
        // A lease outlives a dead service by up to a TTL, so each service is asked.
        let answers = urls.iter().zip(log_tips(&urls));
        let live =
            answers.filter_map(|(url, tip)| Some((url, tip.filter(|tip| tip.log_id == self.log.log_id())?)));
        let longest = live.max_by_key(|(_, tip)| tip.head);
        longest.map(|(url, tip)| Other { address: url.to_string(), head: tip.head, seen: Instant::now() })
    }

    /// Ignores the poison of the lock: the state is a single value, so a panic leaves no half of a change.
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Returns a short text of device, inode and boot of the machine, which identify the file at `db` among all
/// files on all machines.
fn identity(db: &Path) -> std::io::Result<String> {
    let metadata = std::fs::metadata(db)?;
    // On a system without names for boots, device and inode alone identify the file.
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    (metadata.dev(), metadata.ino(), boot).hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

/// A write service, as a candidate for registration under an address.
#[derive(Debug)]
pub struct Writer {
    standing: Arc<Standing>,
    address: Advertised,
}

impl Writer {
    /// Returns the candidate with this standing, at this address.
    pub fn at(address: Advertised, standing: Arc<Standing>) -> Self {
        Self { standing, address }
    }
}

impl Candidate for Writer {
    /// Returns the address with metadata. Clients ask the service itself for the present head.
    fn advertised(&self) -> Advertised {
        let Standing { log, database, .. } = &*self.standing;
        let metadata = [
            (LOG_ID, log.log_id().to_string()),
            ("head_at_registration", log.head().value().to_string()),
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
        // Without a look-up: a registered service that renews its entry does not depend on other instances.
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
    use crate::es::fixtures::TempPath;

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
