//! Exports and imports: the same log afterwards, or the line that differs and no file.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tally::account::known_kinds;
use tally::es::{Error, Report, export, import, verify};

use super::{Served, command};
use crate::bank::fill;
use crate::support::{Directory, wait_until};

/// A log with receipts and transfers; the services have ended.
fn history() -> (Directory, PathBuf) {
    let served = Served::start();
    let (ada, bob) = (served.open(), served.open());
    served.run(&["deposit", &ada, "500", "--idempotency-key", "it's-\"quoted\"-\\-ok"]);
    served.run(&["transfer", &ada, &bob, "250"]);
    let Served { process, directory } = served;
    assert_eq!(process.stop().status.code(), Some(0));
    let path = directory.join("write_db.sqlite3");
    (directory, path)
}

fn exported(db: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    export(db, &mut text).unwrap();
    text
}

fn imported(text: &[u8], to: &Path) -> Result<Report, Error> {
    import(&mut BufReader::new(text), to, &known_kinds())
}

#[test]
fn an_import_is_the_log_that_was_exported() {
    let (directory, db) = history();
    let text = exported(&db);
    let copy = directory.join("copy.sqlite3");
    let report = imported(&text, &copy).unwrap();
    let before = verify(&db, &known_kinds()).unwrap();
    assert_eq!((report.log_id, report.head, report.last_hash), (before.log_id, 5, before.last_hash));
    assert!(report.receipts == before.receipts && report.receipts >= 4);
    assert_eq!(exported(&copy), text, "to the byte, receipts and all");
    let again = imported(&text, &copy).unwrap_err().to_string();
    assert!(again.contains("it exists"), "{again}");
}

/// Each kind of damage: what is done to the lines, and what the error names.
type Damage = (&'static str, fn(&mut Vec<String>), &'static str);

const DAMAGES: [Damage; 13] = [
    (
        "an event is missing",
        |lines| drop(lines.remove(2)),
        "line 3 of the export: expected event 2, found event 3",
    ),
    (
        "an event is there twice",
        |lines| lines.insert(2, lines[2].clone()),
        "line 4 of the export: expected event 3",
    ),
    (
        "an event was altered",
        |lines| lines[3] = lines[3].replace("500", "900"),
        "line 4 of the export: event 3 was altered",
    ),
    ("a hash is wrong", |lines| lines[5] = turned(&lines[5]), "line 6 of the export: event 5 was altered"),
    ("a line is not JSON", |lines| lines[4] = "{".into(), "line 5 of the export: expected event 4"),
    ("the end is missing", |lines| drop(lines.pop()), "the export was cut off"),
    ("events are cut off", |lines| lines.truncate(3), "line 4 of the export: expected event 3"),
    ("a receipt is missing", |lines| drop(lines.remove(6)), "receipts before this line"),
    (
        "a receipt was altered",
        |lines| lines[7] = lines[7].replace("\"version\":", "\"version\":1"),
        "altered",
    ),
    ("a receipt is there twice", |lines| lines.insert(7, lines[7].clone()), "the key is taken"),
    ("another line follows", |lines| lines.push("{}".into()), "found another line"),
    (
        "the format is another",
        |lines| lines[0] = lines[0].replace("export\":1", "export\":2"),
        "found format 2",
    ),
    ("the header names another log", |lines| lines[0] = turned(&lines[0]), "the hash of the last event"),
];

/// The line with another last digit before its end.
fn turned(line: &str) -> String {
    let (rest, digit) = line.trim_end_matches("\"}").split_at(line.len() - 3);
    format!("{rest}{}\"}}", if digit == "0" { "1" } else { "0" })
}

#[test]
fn each_kind_of_damage_is_named_by_its_line_and_leaves_no_file() {
    let (directory, db) = history();
    let text = String::from_utf8(exported(&db)).unwrap();
    let before = files(&directory);
    for (what, damage, part) in DAMAGES {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        damage(&mut lines);
        let error = imported((lines.join("\n") + "\n").as_bytes(), &directory.join("copy.sqlite3"));
        let error = error.map(|_| what).unwrap_err().to_string();
        assert!(error.contains(part), "{what}: {error}");
        assert_eq!(files(&directory), before, "{what}");
    }
    // Cut at any byte of the last two lines.
    for length in [0, 10, text.len() - 2, text.len() - 200] {
        assert!(imported(&text.as_bytes()[..length], &directory.join("copy.sqlite3")).is_err(), "{length}");
    }
}

fn files(directory: &Directory) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn the_command_line_exports_and_imports_without_a_service() {
    let (directory, _db) = history();
    let ended = command(&directory, &["export", "log.jsonl"]).run();
    assert!(ended.status.code() == Some(0) && ended.stderr.contains("exported log"), "{ended:?}");
    let again = command(&directory, &["export", "log.jsonl"]).run();
    assert_eq!(again.status.code(), Some(1), "an existing file stays: {again:?}");
    let lines = command(&directory, &["export"]).run().stdout;
    assert!(lines.iter().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    let ended = command(&directory, &["import", "log.jsonl", "--db", "copy.sqlite3"]).run();
    assert_eq!(
        (ended.status.code(), ended.stdout.last().map(String::as_str)),
        (Some(0), Some("sound")),
        "{ended:?}"
    );
    for (arguments, status, part) in [
        (&["import", "log.jsonl"][..], 1, "it exists"),
        (&["import", "absent", "--db", "new"], 1, "No such file"),
        (&["export", "--db", "absent"], 1, "absent"),
        (&["verify", "--db", "copy.sqlite3"], 0, ""),
        (&["backup", "backup.sqlite3"], 0, ""),
        (&["backup", "backup.sqlite3"], 1, "it exists"),
        (&["verify", "--db", "log.jsonl"], 1, "log.jsonl"),
    ] {
        let ended = command(&directory, arguments).run();
        assert_eq!(ended.status.code(), Some(status), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(part), "{arguments:?}: {ended:?}");
    }
    assert!(!directory.join("new").exists() && !directory.join("absent").exists());
}

/// A hundred thousand events through one process, whose memory is looked at while it works.
#[test]
fn a_long_log_is_exported_and_imported_in_bounded_memory() {
    const EVENTS: u64 = 100_000;
    const MOST_KIB: u64 = 64 << 10;
    let directory = Directory::fresh();
    fill(&directory, EVENTS);
    for arguments in [&["export", "log.jsonl"][..], &["import", "log.jsonl", "--db", "copy.sqlite3"]] {
        let process = command(&directory, arguments).spawn();
        let mut most = 0;
        wait_until("the command ends", || {
            let status =
                std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let peak = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok());
            most = most.max(peak.unwrap_or(0));
            // A process that has ended has no memory.
            peak.is_none()
        });
        let ended = process.ended();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(0 < most && most < MOST_KIB, "{arguments:?} took {most} KiB");
    }
    let [before, after] = ["write_db.sqlite3", "copy.sqlite3"]
        .map(|name| verify(&directory.join(name), &known_kinds()).unwrap());
    assert_eq!((after.head, after.last_hash), (EVENTS, before.last_hash));
}
