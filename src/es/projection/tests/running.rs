//! The promises of a projector with threads.

use super::*;

/// How long a test waits for an expected change.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_running_projector_follows_the_log_and_wakes_who_waits() {
    let (path, feed) = (TempPath::new(), LogFeed::new(Log::new(1)));
    let running = open(&path).start(feed.clone(), Duration::from_millis(50)).unwrap();
    for number in ["1", "2", "3"] {
        let position = feed.append(7, "Added", number);
        assert!(running.watch("sums").unwrap().wait_for(position, PATIENCE) >= position);
    }
    assert_eq!(sum(&path), 6);
    running.stop();
}

/// Notes the longest wait that it was asked for, in milliseconds.
#[derive(Clone)]
struct Patience(LogFeed, Arc<AtomicU64>);

impl Feed for Patience {
    fn next_page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        self.1.fetch_max(wait.as_millis() as u64, Ordering::SeqCst);
        self.0.next_page(after, limit, wait)
    }
}

#[test]
fn a_feed_is_asked_to_wait_for_as_long_as_the_program_says() {
    let (path, longest) = (TempPath::new(), Arc::new(AtomicU64::new(0)));
    let feed = Patience(LogFeed::new(log_of(&["1"])), Arc::clone(&longest));
    let running = open(&path).start(feed, Duration::from_secs(60)).unwrap();
    until("it polls", || longest.load(Ordering::SeqCst) == 60_000);
    drop(running);
}

/// Has one page, and is then away.
#[derive(Clone)]
struct OnePage(LogFeed);

impl Feed for OnePage {
    fn next_page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        if after == 0 { self.0.next_page(after, limit, wait) } else { Err(FeedError::new("away")) }
    }
}

#[test]
fn what_was_taken_is_committed_when_the_next_page_does_not_come() {
    let (path, page) = (TempPath::new(), MAX_PAGE as usize);
    let feed = OnePage(LogFeed::new(log_of(&vec!["1"; page + NEAR as usize])));
    let running = open(&path).start(feed.clone(), Duration::from_millis(50)).unwrap();
    let reached = running.watch("sums").unwrap().wait_for(1, PATIENCE);
    assert_eq!((reached, sum(&path)), (page as u64, page as i64));
    drop(running);
    assert!(open(&path).catch_up(&mut feed.clone(), u64::MAX).is_err());
    assert_eq!(sum(&path), page as i64);
}

#[test]
fn a_rebuild_runs_beside_a_running_projector() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1"; 1000])));
    let running = open(&path).start(feed.clone(), Duration::from_millis(50)).unwrap();
    assert_eq!(running.watch("sums").unwrap().wait_for(1000, PATIENCE), 1000);
    running.rebuild("sums").unwrap();
    assert_eq!(running.rebuild("nothing"), Err(RebuildRefused::UnknownProjection));
    feed.append(7, "Added", "1");
    until("the rebuild ends", || running.status()[0].rebuild.is_none());
    assert!(running.watch("sums").unwrap().wait_for(1001, PATIENCE) >= 1001);
    assert_eq!(sum(&path), 1001);
}

#[test]
fn of_two_rebuilds_at_once_one_is_refused() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1"])));
    let projector = caught_up(&path, &mut feed.clone());
    assert!(projector.board.claim_rebuild("sums").is_ok());
    assert_eq!(projector.board.claim_rebuild("sums"), Err(RebuildRefused::Running));
}

#[test]
fn a_feed_that_is_unsound_shows_as_stalled_and_heals() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2", "3"])));
    let removed = feed.log.lock().unwrap().events.remove(1);
    let running = open(&path).start(feed.clone(), Duration::from_millis(20)).unwrap();
    let all = |state| move |running: &RunningProjector| running.status().iter().all(|s| s.state == state);
    until("it stalls", || all(ProjectionState::Stalled)(&running));
    assert!(running.status()[0].error.as_ref().unwrap().contains("gap"));
    feed.log.lock().unwrap().events.insert(1, removed);
    until("it goes on", || all(ProjectionState::Live)(&running));
    assert_eq!(sum(&path), 6);
}

/// A feed that fails when the first switch is on, and then turns the second on.
#[derive(Clone)]
struct Breaking(LogFeed, Arc<[AtomicBool; 2]>);

impl Feed for Breaking {
    fn next_page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        let Self(feed, switches) = self;
        let [fails, has_failed] = &**switches;
        if fails.load(Ordering::SeqCst) {
            has_failed.store(true, Ordering::SeqCst);
            return Err(FeedError::new("it is away"));
        }
        feed.next_page(after, limit, wait)
    }
}

#[test]
fn a_feed_that_was_away_gives_proof_before_it_is_read_on() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let switches = Arc::new([const { AtomicBool::new(false) }; 2]);
    let [fails, has_failed] = &*switches;
    let running = open(&path).start(Breaking(feed.clone(), Arc::clone(&switches)), PATIENCE).unwrap();
    assert_eq!(running.watch("sums").unwrap().wait_for(2, PATIENCE), 2);
    for (numbers, state) in [(["1", "20"], ProjectionState::Stalled), (["1", "2"], ProjectionState::Live)] {
        fails.store(true, Ordering::SeqCst);
        until("it is away", || has_failed.swap(false, Ordering::SeqCst));
        restored(&feed, &numbers);
        feed.asked.lock().unwrap().clear();
        fails.store(false, Ordering::SeqCst);
        until("that is seen", || running.status().iter().all(|status| status.state == state));
        assert_eq!(feed.asked.lock().unwrap()[0], 1, "the last event is asked for first");
    }
}

#[test]
fn a_database_that_refuses_every_commit_is_told_of_once() {
    let (path, feed) = (TempPath::new(), LogFeed::new(faults::long_log()));
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let projector = open(&path).with_events(move |event| seen.lock().unwrap().push(event));
    faults::sabotage(&path, "UPDATE ON checkpoints");
    let running = projector.start(feed.clone(), Duration::from_millis(50)).unwrap();
    let begun = || feed.asked.lock().unwrap().iter().filter(|after| **after == 0).count();
    until("it tries some times", || begun() > 3);
    let seen = events.lock().unwrap().clone();
    assert!(matches!(&seen[..], [ProjectorEvent::Waiting(error)] if error.contains("crash")), "{seen:?}");
    faults::heal(&path);
    until("it goes on", || running.status().iter().all(|status| status.state == ProjectionState::Live));
    until("it says so", || events.lock().unwrap().last() == Some(&ProjectorEvent::Recovered));
}

/// Fails once as a moved feed: at the first request after the first page.
#[derive(Clone)]
struct Moving(LogFeed, Arc<AtomicBool>);

impl Feed for Moving {
    fn next_page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        if after > 0 && !self.1.swap(true, Ordering::SeqCst) {
            return Err(FeedError::new("it has moved"));
        }
        self.0.next_page(after, limit, wait)
    }
}

#[test]
fn a_feed_that_has_moved_while_a_page_was_read_ahead_gives_proof() {
    let (path, page) = (TempPath::new(), MAX_PAGE as usize);
    let feed = LogFeed::new(log_of(&vec!["1"; page + NEAR as usize / 2]));
    let running = open(&path).start(Moving(feed.clone(), Arc::default()), Duration::from_millis(50)).unwrap();
    let all = page as u64 + NEAR / 2;
    assert_eq!(running.watch("sums").unwrap().wait_for(all, PATIENCE), all);
    assert_eq!(feed.asked.lock().unwrap()[..2], [0, page as u64 - 1]);
}

/// Panics once, and can be asked again.
#[derive(Clone)]
struct Panicking(LogFeed, Arc<AtomicBool>);

impl Feed for Panicking {
    fn next_page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        assert!(self.1.swap(true, Ordering::SeqCst), "as it is meant to in this test");
        self.0.next_page(after, limit, wait)
    }
}

#[test]
fn a_feed_that_panics_is_told_of_and_asked_again() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1"])));
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let projector = open(&path).with_events(move |event| seen.lock().unwrap().push(event));
    let running = projector.start(Panicking(feed, Arc::default()), Duration::from_millis(50)).unwrap();
    assert_eq!(running.watch("sums").unwrap().wait_for(1, PATIENCE), 1);
    let panicked = ProjectorEvent::Waiting("the feed has panicked".into());
    assert_eq!(events.lock().unwrap()[0], panicked);
}

/// Counts rejected pages.
#[derive(Clone)]
struct Counting(LogFeed, Arc<AtomicU64>);

impl Feed for Counting {
    fn next_page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        self.0.next_page(after, limit, wait)
    }

    fn rejected(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_database_that_fails_is_not_held_against_the_feed_and_a_gap_is() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2", "3"])));
    let counting = Counting(feed.clone(), Arc::default());
    let rejected = Arc::clone(&counting.1);
    let running = open(&path).start(counting, Duration::from_millis(20)).unwrap();
    assert_eq!(running.watch("sums").unwrap().wait_for(3, PATIENCE), 3);
    faults::sabotage(&path, "UPDATE ON checkpoints");
    feed.append(7, "Added", "4");
    until("it stalls", || running.status()[0].state == ProjectionState::Stalled);
    assert_eq!(rejected.load(Ordering::SeqCst), 0);
    faults::heal(&path);
    assert_eq!(running.watch("sums").unwrap().wait_for(4, PATIENCE), 4);
    feed.log.lock().unwrap().events.remove(3);
    feed.append(7, "Added", "5");
    until("the feed hears of it", || rejected.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_log_that_was_restored_is_found_though_nothing_is_recorded() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let running = open(&path).start(feed.clone(), Duration::from_millis(20)).unwrap();
    assert_eq!(running.watch("sums").unwrap().wait_for(2, PATIENCE), 2);
    restored(&feed, &["1", "20"]);
    until("it is found", || running.status()[0].state == ProjectionState::Stalled);
    assert!(running.status()[0].error.as_ref().unwrap().contains("event 2 of the feed is not the one"));
}

#[test]
fn a_rebuild_is_waited_for_until_its_rows_are_live_or_it_is_given_up() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let running = open(&path).start(feed.clone(), Duration::from_millis(20)).unwrap();
    assert_eq!(running.watch("sums").unwrap().wait_for(2, PATIENCE), 2);
    Connection::open(&*path).unwrap().execute_batch("UPDATE sums SET sum = 1000").unwrap();
    assert_eq!(running.rebuild_and_wait("sums", PATIENCE), Ok(()));
    assert_eq!(sum(&path), 3);
    let unknown = RebuildError::Refused(RebuildRefused::UnknownProjection);
    assert_eq!(running.rebuild_and_wait("nothing", PATIENCE), Err(unknown));
    feed.append(7, "Added", "null");
    until("it stalls", || running.status()[0].error.is_some());
    // A rebuild that has come as far as all others is complete, before it meets the poison.
    assert_eq!(running.watch("count").unwrap().wait_for(3, PATIENCE), 3);
    let given_up = running.rebuild_and_wait("sums", PATIENCE).unwrap_err();
    assert!(matches!(&given_up, RebuildError::GivenUp(why) if why.contains("event 3 ")), "{given_up}");
    // A blocked feed keeps the rebuild from ending.
    let held = feed.log.lock().unwrap();
    let late = running.rebuild_and_wait("count", Duration::from_millis(20));
    drop(held);
    assert_eq!(late, Err(RebuildError::TimedOut));
    running.stop();
    let stopped = running.rebuild_and_wait("sums", PATIENCE);
    assert_eq!(stopped, Err(RebuildError::Refused(RebuildRefused::Stopped)));
    // The undelivered request gave its claim back.
    assert_eq!(running.rebuild("sums"), Err(RebuildRefused::Stopped));
}

#[test]
fn a_projector_that_is_dropped_leaves_no_thread_and_no_file_but_its_database() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    // Each fetching thread has a clone of the feed, and each clone a part of this.
    let counting = Counting(feed, Arc::default());
    let parts = Arc::clone(&counting.1);
    let running = open(&path).start(counting, PATIENCE).unwrap();
    assert_eq!(running.watch("sums").unwrap().wait_for(2, PATIENCE), 2);
    let reader = DatabaseFile::existing(&path).unwrap().reader().unwrap();
    reader.query_row("SELECT count(*) FROM sums", [], |_| Ok(())).unwrap();
    assert!(beside(&path, "-wal").exists() && Arc::strong_count(&parts) == 3);
    drop(reader);
    drop(running);
    assert_eq!(Arc::strong_count(&parts), 1, "a fetching thread is left");
    for suffix in ["-wal", "-shm", "-reserve"] {
        assert!(!beside(&path, suffix).exists(), "{suffix}");
    }
}

fn beside(path: &TempPath, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[test]
fn each_of_two_rebuilds_after_another_is_waited_for_alone() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1"])));
    let board = &caught_up(&path, &mut feed).board;
    let first = board.claim_rebuild("sums").unwrap();
    assert_eq!(board.rebuilding("sums"), Ok(first));
    board.end_rebuild(first.0, RebuildOutcome::SwappedIn);
    let second = board.claim_rebuild("sums").unwrap();
    board.begin_rebuild(second.0, 0);
    assert_eq!(board.wait_for_rebuild(first, Duration::ZERO), Ok(RebuildOutcome::SwappedIn));
    assert_eq!(board.wait_for_rebuild(second, Duration::ZERO), Err(RebuildError::TimedOut));
}

#[test]
fn a_query_counts_as_waiting_until_its_wait_ends() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1"])));
    let running = open(&path).start(feed, PATIENCE).unwrap();
    let has_waiting = || running.board.demand.has_waiting();
    std::thread::scope(|scope| {
        scope.spawn(|| running.wait_for("sums", 1000, PATIENCE));
        until("the wait begins", has_waiting);
        running.end_waits();
        until("the wait ends", || !has_waiting());
    });
}
