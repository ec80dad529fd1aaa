//! The promises of a projector about the file of its database.

use super::*;

#[test]
fn foreign_and_newer_files_are_refused_and_not_touched() {
    let foreign = TempPath::new();
    Connection::open(&*foreign).unwrap().execute_batch("CREATE TABLE a (b)").unwrap();
    let text = TempPath::new();
    std::fs::write(&*text, "these are the accounts of 1923").unwrap();
    let newer = TempPath::new();
    drop(open(&newer));
    Connection::open(&*newer).unwrap().pragma_update(None, "user_version", 2).unwrap();
    for (path, word) in [(&foreign, "not a read database"), (&text, "not a read"), (&newer, "schema 2")] {
        let before = std::fs::read(&**path).unwrap();
        let error = Projector::open(path, &definitions()).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert_eq!(std::fs::read(&**path).unwrap(), before);
    }
}

#[test]
fn a_foreign_file_is_refused_as_foreign_also_while_another_part_has_its_lock() {
    let path = TempPath::new();
    Connection::open(&*path).unwrap().execute_batch("CREATE TABLE a (b)").unwrap();
    let file = DatabaseFile::existing(&path).unwrap();
    let _lock = file.lock(Duration::ZERO).unwrap();
    let error = Projector::open(&path, &definitions()).unwrap_err().to_string();
    assert!(error.contains("is not a read database"), "{error}");
}

#[test]
fn a_second_projector_on_one_file_is_refused() {
    let path = TempPath::new();
    let first = open(&path);
    let error = Projector::open(&path, &definitions()).unwrap_err().to_string();
    assert!(error.contains("is open in this program"), "{error}");
    drop(first);
    open(&path);
}

#[test]
fn nothing_is_committed_to_a_file_that_has_lost_its_name() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1"])));
    let mut projector = caught_up(&path, &mut feed);
    let elsewhere = TempPath::new();
    std::fs::rename(&*path, &*elsewhere).unwrap();
    feed.append(7, "Added", "2");
    let error = projector.catch_up(&mut feed, u64::MAX).unwrap_err().to_string();
    assert!(error.contains("was removed or renamed"), "{error}");
    assert!(projector.begin_rebuild(0).is_err());
    assert_eq!(projector.status()[0].position, 1);
    std::fs::rename(&*elsewhere, &*path).unwrap();
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    assert_eq!(sum(&path), 3);
}

#[test]
fn a_rebuild_is_cancelled_also_while_the_database_refuses_to_commit() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let mut projector = caught_up(&path, &mut feed);
    projector.board.claim_rebuild("sums").unwrap();
    projector.begin_rebuild(0).unwrap();
    let elsewhere = TempPath::new();
    std::fs::rename(&*path, &*elsewhere).unwrap();
    assert!(projector.cancel_rebuild(0).is_err());
    assert_eq!(projector.status()[0].rebuild, None, "the caller waits for the end");
    std::fs::rename(&*elsewhere, &*path).unwrap();
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    assert_eq!(number(&path, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%next%'"), 0);
}
