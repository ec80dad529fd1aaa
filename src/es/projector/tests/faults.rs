//! The promises of a projector whose database fails for a while: what it has begun is neither lost nor
//! hung, and nobody is told that all is well.

use super::*;

/// A trigger stands for any failure; it is the same database that fails, and heals.
fn sabotage(path: &TempPath, change: &str) {
    let trigger = format!("CREATE TRIGGER crash BEFORE {change} BEGIN SELECT RAISE(ABORT, 'crash'); END");
    Connection::open(&**path).unwrap().execute_batch(&trigger).unwrap();
}

fn heal(path: &TempPath) {
    Connection::open(&**path).unwrap().execute_batch("DROP TRIGGER crash").unwrap();
}

/// A log so long that its first page stays in an open transaction.
fn long_log() -> Log {
    log_of(&vec!["1"; MAX_PAGE as usize + NEAR as usize])
}

/// Takes the next page at the front.
fn take_one(projector: &mut Projector, feed: &mut LogFeed) -> Result<(), CatchUpError> {
    let request = projector.wanted_at_front(Duration::ZERO).unwrap();
    let page = feed.page(request.after, request.limit, Duration::ZERO).unwrap();
    projector.take(&request, &CheckedPage::read(page).unwrap())
}

#[test]
fn a_rebuild_that_cannot_begin_can_be_asked_for_again() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(long_log()));
    let mut projector = open(&path);
    sabotage(&path, "UPDATE ON checkpoints");
    take_one(&mut projector, &mut feed).unwrap();
    assert!(projector.is_open(), "the rebuild has to commit it first");
    let index = projector.published.claim_rebuild("sums").unwrap();
    assert!(projector.begin_rebuild(index).is_err());
    assert!(projector.status()[0].error.as_ref().unwrap().contains("crash"));
    heal(&path);
    assert_eq!(projector.published.claim_rebuild("sums"), Ok(index));
    projector.begin_rebuild(index).unwrap();
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    assert_eq!(projector.status()[0].state, ProjectionState::Live);
}
