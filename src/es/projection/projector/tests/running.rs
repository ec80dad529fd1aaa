//! The promises of a projector that follows its feed on threads of its own.

use super::*;

/// How long anything is waited for that has to come.
const PATIENCE: Duration = Duration::from_secs(20);

fn until(what: &str, mut condition: impl FnMut() -> bool) {
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

#[test]
fn a_projector_that_rests_while_nobody_asks_goes_on_when_somebody_does() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1"; 100])));
    let resting = open(&path).with_rests_of(10 * PATIENCE);
    let running = resting.start(feed.clone(), 10 * PATIENCE).unwrap();
    let watch = Arc::clone(running.watch("sums").unwrap());
    assert_eq!(watch.wait_for(100, PATIENCE), 100);
    for number in 101..300 {
        assert_eq!(feed.append(7, "Added", "1"), number);
    }
    assert_eq!(watch.wait_for(101, Duration::from_millis(50)), 100, "it rests");
    running.hurry();
    assert!(watch.wait_for(101, PATIENCE) > 100);
    until("nothing is left behind", || {
        running.hurry();
        watch.value() == 299
    });
}

#[test]
fn no_rest_is_longer_than_the_poll_interval() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1"; 100])));
    let resting = open(&path).with_rests_of(10 * PATIENCE);
    let running = resting.start(feed.clone(), Duration::from_millis(50)).unwrap();
    let watch = running.watch("sums").unwrap();
    assert_eq!(watch.wait_for(100, PATIENCE), 100);
    feed.append(7, "Added", "1");
    assert_eq!(watch.wait_for(101, PATIENCE), 101);
}

/// Has one page, and is away then.
#[derive(Clone)]
struct OnePage(LogFeed);

impl Feed for OnePage {
    fn page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        if after == 0 { self.0.page(after, limit, wait) } else { Err(FeedError::new("away")) }
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
    assert!(projector.published.claim_rebuild("sums").is_ok());
    assert_eq!(projector.published.claim_rebuild("sums"), Err(RebuildRefused::Running));
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

/// A feed that fails when it is told to, and then notes that it has.
#[derive(Clone)]
struct Breaking(LogFeed, Arc<[AtomicBool; 2]>);

impl Feed for Breaking {
    fn page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        let Self(feed, switches) = self;
        let [fails, has_failed] = &**switches;
        if fails.load(Ordering::SeqCst) {
            has_failed.store(true, Ordering::SeqCst);
            return Err(FeedError::new("it is away"));
        }
        feed.page(after, limit, wait)
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
    let notices = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&notices);
    let projector = open(&path).with_notice(move |notice| told.lock().unwrap().push(notice));
    faults::sabotage(&path, "UPDATE ON checkpoints");
    let running = projector.start(feed.clone(), Duration::from_millis(50)).unwrap();
    let begun = || feed.asked.lock().unwrap().iter().filter(|after| **after == 0).count();
    until("it tries some times", || begun() > 3);
    let told = notices.lock().unwrap().clone();
    assert!(matches!(&told[..], [Notice::FeedFails(error)] if error.contains("crash")), "{told:?}");
    faults::heal(&path);
    until("it goes on", || running.status().iter().all(|status| status.state == ProjectionState::Live));
    until("it says so", || notices.lock().unwrap().last() == Some(&Notice::FeedIsSound));
}

/// Says once that it has moved: when it is asked for a page that is not the first.
#[derive(Clone)]
struct Moving(LogFeed, Arc<AtomicBool>);

impl Feed for Moving {
    fn page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        if after > 0 && !self.1.swap(true, Ordering::SeqCst) {
            return Err(FeedError::new("it has moved"));
        }
        self.0.page(after, limit, wait)
    }
}

#[test]
fn a_feed_that_has_moved_while_a_page_was_read_ahead_gives_proof() {
    let (path, page) = (TempPath::new(), MAX_PAGE as usize);
    let feed = LogFeed::new(log_of(&vec!["1"; page + NEAR as usize / 2]));
    let running = open(&path).start(Moving(feed.clone(), Arc::default()), Duration::from_millis(50)).unwrap();
    let all = page as u64 + NEAR / 2;
    assert_eq!(running.watch("sums").unwrap().wait_for(all, PATIENCE), all);
    assert_eq!(feed.asked.lock().unwrap()[..3], [0, page as u64 - 1, page as u64]);
}

/// Panics once, and can be asked again.
#[derive(Clone)]
struct Panicking(LogFeed, Arc<AtomicBool>);

impl Feed for Panicking {
    fn page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        assert!(self.1.swap(true, Ordering::SeqCst), "as it is meant to in this test");
        self.0.page(after, limit, wait)
    }
}

#[test]
fn a_feed_that_panics_is_told_of_and_asked_again() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1"])));
    let notices = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&notices);
    let projector = open(&path).with_notice(move |notice| told.lock().unwrap().push(notice));
    let running = projector.start(Panicking(feed, Arc::default()), Duration::from_millis(50)).unwrap();
    assert_eq!(running.watch("sums").unwrap().wait_for(1, PATIENCE), 1);
    let panicked = Notice::FeedFails("the feed has panicked".into());
    assert_eq!(notices.lock().unwrap()[..2], [Notice::PageRefused, panicked]);
}
