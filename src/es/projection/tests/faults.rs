//! The promises of a projector with a failing database: work in progress is neither lost nor
//! hung, and no report says that all is well.

use super::*;

/// A trigger stands for any failure; the same database fails and heals.
pub(in crate::es) fn sabotage(path: &TempPath, change: &str) {
    let trigger = format!("CREATE TRIGGER crash BEFORE {change} BEGIN SELECT RAISE(ABORT, 'crash'); END");
    Connection::open(&**path).unwrap().execute_batch(&trigger).unwrap();
}

pub(in crate::es) fn heal(path: &TempPath) {
    Connection::open(&**path).unwrap().execute_batch("DROP TRIGGER crash").unwrap();
}

/// A log so long that the first page stays in an open transaction.
pub(in crate::es) fn long_log() -> Log {
    log_of(&vec!["1"; MAX_PAGE as usize + NEAR as usize])
}

/// Takes the next page at the front.
fn take_one(projector: &mut Projector, feed: &mut LogFeed) -> Result<(), CatchUpError> {
    let request = projector.wanted_at_front(Duration::ZERO).unwrap();
    let page = request.fetch(feed).unwrap();
    projector.process(Some((&request, &page)))
}

#[test]
fn a_rebuild_that_cannot_begin_can_be_asked_for_again() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(long_log()));
    let mut projector = open(&path);
    sabotage(&path, "UPDATE ON checkpoints");
    take_one(&mut projector, &mut feed).unwrap();
    assert!(projector.is_open(), "the rebuild has to commit it first");
    let (index, _) = projector.board.claim_rebuild("sums").unwrap();
    assert!(projector.begin_rebuild(index).is_err());
    assert!(projector.status()[0].error.as_ref().unwrap().contains("crash"));
    heal(&path);
    assert_eq!(projector.board.claim_rebuild("sums"), Ok((index, 1)));
    projector.begin_rebuild(index).unwrap();
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    assert_eq!(projector.status()[0].state, ProjectionState::Live);
}

#[test]
fn a_rebuild_that_cannot_be_swapped_in_yet_is_swapped_in_later() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let mut projector = caught_up(&path, &mut feed);
    for name in ["sums", "count"] {
        let (index, _) = projector.board.claim_rebuild(name).unwrap();
        projector.begin_rebuild(index).unwrap();
    }
    sabotage(&path, "UPDATE OF name ON checkpoints");
    assert!(refusal(&mut projector, &mut feed).contains("crash"));
    heal(&path);
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    assert!(projector.status().iter().all(|status| status.state == ProjectionState::Live));
    assert_eq!(number(&path, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%next%'"), 0);
    assert_eq!((sum(&path), count(&path)), (3, 2));
}

#[test]
fn a_feed_is_sound_again_only_once_a_page_of_it_is_committed() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(long_log()));
    let mut projector = open(&path);
    assert_eq!(projector.board.record_failure("the disk is full"), Changed::Yes);
    sabotage(&path, "UPDATE ON checkpoints");
    take_one(&mut projector, &mut feed).unwrap();
    assert!(projector.is_open());
    assert_eq!(projector.status()[0].error.as_deref(), Some("the disk is full"));
    assert!(projector.commit().is_err());
    assert!(projector.status()[0].error.is_some());
    heal(&path);
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    assert_eq!(projector.status()[0].error, None);
}

#[test]
fn a_page_at_which_nothing_stands_proves_nothing() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let mut projector = caught_up(&path, &mut feed);
    projector.doubt();
    let wanted = projector.wanted_at_front(Duration::ZERO).unwrap();
    assert!(wanted.overlaps);
    let elsewhere = PageRequest { after: wanted.after - 1, ..wanted };
    let page = elsewhere.fetch(&mut feed).unwrap();
    projector.process(Some((&elsewhere, &page))).unwrap();
    assert_eq!(projector.wanted_at_front(Duration::ZERO), Some(wanted));
    take_one(&mut projector, &mut feed).unwrap();
    assert!(!projector.wanted_at_front(Duration::ZERO).unwrap().overlaps);
}

#[test]
fn rows_that_cannot_be_written_are_blamed_on_all_events_that_may_have_made_them() {
    for (events, blamed) in
        [(&["1", "2", "3"][..], "events 1 to 3 cannot be applied: "), (&["1"], "event 1 ")]
    {
        let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(events)));
        let mut projector = open(&path);
        sabotage(&path, "INSERT ON sums");
        projector.catch_up(&mut feed, u64::MAX).unwrap();
        let error = projector.status()[0].error.clone().unwrap();
        assert!(error.starts_with(blamed) && error.contains("crash"), "{error}");
        assert_eq!(count(&path), events.len() as i64, "the other one goes on");
    }
}
