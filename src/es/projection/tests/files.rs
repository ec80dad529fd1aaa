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

fn count_as(name: &'static str, tables: &'static [&'static str]) -> Definition {
    Definition { name, tables, ..Definition::of::<Count>() }
}

/// Returns the refusal of these definitions, and checks that the file is untouched.
fn refused(definitions: &[Definition]) -> String {
    let path = TempPath::new();
    let error = Projector::open(&path, definitions).unwrap_err();
    assert!(matches!(error, OpenError::Definition { .. }), "{error}");
    assert!(!path.exists());
    error.to_string()
}

#[test]
fn a_definition_that_contradicts_itself_is_refused_by_projection_and_table() {
    for name in ["", "Count", "count-1", "1count", "count_next", "\u{e9}"] {
        assert!(refused(&[count_as(name, &["count"])]).contains("NAME must have only"), "{name}");
    }
    for table in ["", "a b", "count_next", "checkpoints", "Count"] {
        let error = refused(&[count_as("count", Vec::leak(vec!["count", table]))]);
        assert!(error.starts_with(&format!("projection count: TABLES has {table:?}, but")), "{error}");
    }
    let count = count_as("count", &["count"]);
    assert!(refused(&[count, count]).contains("another projection has the same NAME"));
    let thief = refused(&[count, count_as("thief", &["count"])]);
    assert!(thief.starts_with("projection thief: TABLES has \"count\", which is listed"), "{thief}");
}

#[test]
fn tables_that_are_listed_and_not_made_or_made_and_not_listed_are_named() {
    let error = refused(&[count_as("count", &["count", "ghost"])]);
    assert_eq!(error, "projection count: TABLES has \"ghost\", but create makes no Names::table(\"ghost\")");
    let error = refused(&[count_as("count", &[])]);
    assert!(error.contains("create makes the table \"count\", which is"), "{error}");
    let literal = |db: &Connection, _: &Names| db.execute_batch("CREATE TABLE count (events INTEGER)");
    let error = refused(&[Definition { create: literal, ..count_as("count", &["count"]) }]);
    assert!(error.contains("create fails beside the live tables: table count already exists"), "{error}");
}

#[test]
fn sql_that_cannot_work_is_blamed_on_the_projection_and_not_on_the_database() {
    let create =
        |db: &Connection, names: &Names| db.execute_batch(&format!("CREATE {}", names.table("count")));
    let error = refused(&[Definition { create, ..count_as("count", &["count"]) }]);
    assert!(
        error.starts_with("projection count: create fails: near") && !error.contains("damaged"),
        "{error}"
    );
}

#[test]
fn a_rebuild_whose_table_was_dropped_is_given_up_with_the_reason() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let mut projector = caught_up(&path, &mut feed);
    let claim = projector.board.claim_rebuild("sums").unwrap();
    projector.begin_rebuild(0).unwrap();
    Connection::open(&*path).unwrap().execute_batch("DROP TABLE sums_next").unwrap();
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    let outcome = projector.board.wait_for_rebuild(claim, Duration::ZERO);
    assert!(
        matches!(&outcome, Ok(RebuildOutcome::Failed(error)) if error.contains("no such table")),
        "{outcome:?}"
    );
    assert_eq!(sum(&path), 3);
}

#[test]
fn a_rebuild_that_cannot_be_renamed_into_place_is_given_up() {
    let (path, mut feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let mut projector = caught_up(&path, &mut feed);
    // As an older build would have listed it, whose definitions were not checked.
    projector.sets[0].definition.tables = &["sums", "ghost"];
    let claim = projector.board.claim_rebuild("sums").unwrap();
    projector.begin_rebuild(0).unwrap();
    projector.catch_up(&mut feed, u64::MAX).unwrap();
    let outcome = projector.board.wait_for_rebuild(claim, Duration::ZERO);
    assert!(
        matches!(&outcome, Ok(RebuildOutcome::Failed(error)) if error.contains("ghost_next")),
        "{outcome:?}"
    );
    assert_eq!(sum(&path), 3);
}
