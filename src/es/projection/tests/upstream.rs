//! The head reported by the feed, kept no longer than the contact; and rows filled for the first time.

use super::*;

/// A feed that reports a wrong head once.
struct Lying<'f> {
    feed: &'f mut LogFeed,
    head: Option<u64>,
}

impl Feed for Lying<'_> {
    fn next_page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        let page = self.feed.next_page(after, limit, wait)?;
        let Some(head) = self.head.take() else { return Ok(page) };
        let (text, _) = std::str::from_utf8(&page.json).unwrap().rsplit_once("\"head\":").unwrap();
        Ok(Page { json: format!("{text}\"head\":{head}}}").into_bytes() })
    }
}

fn heads(projector: &Projector) -> Vec<Option<u64>> {
    projector.status().iter().map(|status| status.head).collect()
}

#[test]
fn a_head_that_was_too_high_once_is_corrected_by_the_next_page() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let mut projector = open(&path);
    projector.catch_up(&mut Lying { feed: &mut feed, head: Some(1_000_000) }, u64::MAX).unwrap();
    feed.append(7, "Added", "4");
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    assert_eq!(heads(&projector), [Some(3), Some(3)]);
    for status in projector.status() {
        assert_eq!((status.state, status.lag(), status.filling), (ProjectionState::Live, Some(0), false));
    }
}

#[test]
fn a_page_for_rows_that_lag_does_not_change_the_head() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let mut projector = caught_up(&path, &mut feed);
    projector.board.claim_rebuild("sums").unwrap();
    projector.begin_rebuild(0).unwrap();
    let request = projector.wanted_behind().unwrap();
    let page = request.fetch(&mut Lying { feed: &mut feed, head: Some(7) }).unwrap();
    projector.process(Some((&request, &page))).unwrap();
    assert_eq!(projector.board.head(), Some(2));
}

#[test]
fn what_the_feed_said_is_forgotten_at_a_doubt_and_learnt_anew() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2", "3", "4"])));
    let mut projector = open(&path);
    projector.catch_up(&mut feed, 2).unwrap();
    assert_eq!(heads(&projector), [Some(4), Some(4)]);
    projector.doubt();
    assert_eq!(heads(&projector), [None, None]);
    // The write side comes back with an older copy of the log.
    restored(&feed, &["1", "2"]);
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    assert_eq!(heads(&projector), [Some(2), Some(2)]);
    assert!(projector.status().iter().all(|status| status.state == ProjectionState::Live));
}

#[test]
fn a_rebuild_ends_though_the_log_was_restored_to_an_older_copy_meanwhile() {
    let far = 2 * NEAR as usize;
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let mut projector = caught_up(&path, &mut feed);
    projector.catch_up(&mut Lying { feed: &mut feed, head: Some(far as u64) }, u64::MAX).unwrap();
    projector.board.claim_rebuild("sums").unwrap();
    projector.begin_rebuild(0).unwrap();
    projector.doubt();
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    assert_eq!(projector.status()[0].rebuild, None);
}

#[test]
fn the_end_of_the_log_is_learnt_also_while_every_projection_is_stalled() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "null"])));
    let projector = Projector::open(&path, &definitions()[..1]).unwrap();
    let running = projector.start(feed.clone(), Duration::from_millis(20)).unwrap();
    let wait_for = |head: u64| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while running.status()[0].head != Some(head) {
            assert!(Instant::now() < deadline, "{:?}", running.status());
            std::thread::yield_now();
        }
    };
    wait_for(2);
    for head in 3..6 {
        feed.append(7, "Added", "1");
        wait_for(head);
    }
    let status = &running.status()[0];
    assert_eq!((status.state, status.position, status.lag()), (ProjectionState::Stalled, 1, Some(4)));
}

#[test]
fn rows_that_are_made_for_the_first_time_answer_when_they_have_reached_the_head_that_was_found_first() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2", "3"])));
    let filling = |projector: &Projector| projector.status().iter().any(|status| status.filling);
    let mut projector = open(&path);
    assert!(filling(&projector), "no feed was met");
    projector.catch_up(&mut feed, 2).unwrap();
    assert!(filling(&projector));
    drop(projector);
    feed.append(7, "Added", "4");
    let mut projector = open(&path);
    assert!(filling(&projector), "a restart in the middle changes nothing");
    projector.catch_up(&mut feed, 3).unwrap();
    assert!(!filling(&projector), "the log goes on growing, and rows that follow it answer");
    drop(projector);
    assert!(!filling(&open(&path)));
}

#[test]
fn an_empty_log_is_full_at_once() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(Log::new(1)));
    let mut projector = open(&path);
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    let request = projector.wanted_at_front(Duration::ZERO).unwrap();
    projector.process(Some((&request, &request.fetch(&mut feed).unwrap()))).unwrap();
    assert!(projector.status().iter().all(|status| !status.filling));
}

#[test]
fn rows_of_an_older_version_that_can_still_be_read_answer_until_the_new_ones_replace_them() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    caught_up(&path, &mut feed);
    feed.append(7, "Added", "4");
    let readable = Definition { readable_from: 1, ..Definition::of::<SumsV2>() };
    for restart in 0..2 {
        let projector = Projector::open(&path, &[readable, definitions()[1]]).unwrap();
        let sums = &projector.status()[0];
        assert_eq!(
            (sums.state, sums.position, sums.filling),
            (ProjectionState::Rebuilding, 2, false),
            "{restart}"
        );
    }
    assert_eq!(sum(&path), 3);
    let mut projector = Projector::open(&path, &[readable, definitions()[1]]).unwrap();
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    assert_eq!((sum(&path), projector.status()[0].state), (7, ProjectionState::Live));
}

#[test]
fn a_rebuild_that_is_not_wanted_any_more_leaves_nothing_behind() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let running = open(&path).start(feed.clone(), Duration::from_millis(20)).unwrap();
    let watch = Arc::clone(running.watch("sums").unwrap());
    assert_eq!(watch.wait_for(2, Duration::from_secs(20)), 2);
    assert_eq!(running.cancel_rebuild("sums"), Err(RebuildRefused::NotRunning.into()));
    assert_eq!(running.cancel_rebuild("none"), Err(RebuildRefused::UnknownProjection.into()));
    running.stop();
    drop(running);
    let mut projector = open(&path);
    projector.board.claim_rebuild("sums").unwrap();
    projector.begin_rebuild(0).unwrap();
    projector.cancel_rebuild(0).unwrap();
    assert_eq!(projector.status()[0].rebuild, None);
    assert_eq!(number(&path, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%next%'"), 0);
    assert_eq!(sum(&path), 3);
    projector.board.claim_rebuild("sums").unwrap();
}

#[test]
fn an_empty_page_requested_before_a_failure_does_not_bring_the_head_back() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let mut projector = caught_up(&path, &mut feed);
    let poll = projector.wanted_at_front(Duration::ZERO).unwrap();
    let empty = poll.fetch(&mut feed).unwrap();
    projector.process(Some((&poll, &empty))).unwrap();
    assert_eq!(heads(&projector), [Some(2), Some(2)], "an ordinary poll");
    projector.doubt();
    projector.process(Some((&poll, &empty))).unwrap();
    assert_eq!(heads(&projector), [None, None]);
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    assert_eq!(heads(&projector), [Some(2), Some(2)], "with proof");
}
