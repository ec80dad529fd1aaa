//! One writer for one file, whatever it is called; and names that can be no database.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::bank::Bank;
use crate::database_file::{LOG, assert_ended, files, read_service, write_service};
use crate::support::{Binary, Directory, Launch};

// ------------------------------------------------------------ second names, second processes

#[test]
fn a_log_has_one_writer_whatever_name_it_is_given() {
    let bank = Bank::start();
    let account = bank.open();
    let (path, directory) = (bank.directory().join(LOG), bank.directory());
    std::os::unix::fs::symlink(&path, directory.join("link")).unwrap();
    std::os::unix::fs::symlink("link", directory.join("link-to-link")).unwrap();
    std::os::unix::fs::symlink(directory.path(), directory.join("folder")).unwrap();
    for name in ["link", "link-to-link", "folder/write_db.sqlite3", "./write_db.sqlite3"] {
        let second = write_service(directory).flag("--db", name).run();
        assert_ended(&second, 1, "another process writes to it");
        assert!(second.stderr.contains(&format!("process {}", bank.process.id())), "{second:?}");
    }
    bank.deposit(&account, 1).expect(200);
}

#[test]
fn a_link_to_a_log_keeps_its_files_beside_the_log() {
    let (data, directory) = (Directory::fresh(), Directory::fresh());
    std::fs::write(data.join(LOG), "").unwrap();
    std::os::unix::fs::symlink(data.join(LOG), directory.join("link")).unwrap();
    let process = write_service(&directory).flag("--db", "link").start();
    process.client().post("/accounts", &json!({"owner": "Ada"})).expect(201);
    assert_eq!(files(&data.join(LOG)).len(), 3);
    assert_eq!(files(&directory.join("link")).len(), 1);
    process.kill();
    assert_eq!(Bank::on(data).head(), 1);
}

#[test]
fn a_log_that_was_renamed_while_it_is_in_use_has_one_writer() {
    let bank = Bank::start();
    bank.open_holding(5);
    std::fs::rename(bank.directory().join(LOG), bank.directory().join("renamed")).unwrap();
    for flags in [&[][..], &["--verify"], &["--backup", "copy"]] {
        let launch = write_service(bank.directory()).flag("--db", "renamed");
        let second = flags.iter().fold(launch, |launch, flag| launch.argument(flag)).run();
        assert_ended(&second, 1, "under another name");
    }
    assert!(!bank.directory().join("renamed-wal").exists() && !bank.directory().join("copy").exists());
}

#[test]
fn a_file_with_several_hard_links_is_refused() {
    let bank = Bank::start();
    let account = bank.open();
    std::fs::hard_link(bank.directory().join(LOG), bank.directory().join("second")).unwrap();
    for name in ["second", LOG] {
        let ended = write_service(bank.directory()).flag("--db", name).run();
        assert_ended(&ended, 2, "2 names (hard links)");
    }
    let ended = read_service(bank.directory()).flag("--db", "second").run();
    assert_ended(&ended, 2, "2 names (hard links)");
    bank.deposit(&account, 1).expect(200);
}

#[test]
fn a_log_that_is_mounted_in_a_second_place_has_one_writer() {
    let bank = Bank::start();
    bank.open();
    let other = Directory::fresh();
    let script = format!(
        "touch m.sqlite3 && mount --bind {} m.sqlite3 && exec \"$0\" \"$@\"",
        bank.directory().join(LOG).display()
    );
    let mounted = ["unshare", "--mount", "sh", "-c", &script];
    if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: mounts are not allowed here");
        return;
    }
    let second = write_service(&other).flag("--db", "m.sqlite3").under(&mounted).run();
    assert_ended(&second, 1, "under another name");
}

// ---------------------------------------------------------------------------- bad paths

#[test]
fn a_path_that_can_be_no_database_is_one_line_and_exit_status_2() {
    let directory = Directory::fresh();
    assert!(Command::new("mkfifo").arg(directory.join("pipe")).status().unwrap().success());
    std::fs::create_dir(directory.join("folder")).unwrap();
    std::os::unix::fs::symlink("nowhere", directory.join("dangling")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(directory.join("socket")).unwrap();
    let bad = [
        ("", "empty"),
        (":memory:", "path of a file"),
        ("pipe", "a named pipe"),
        ("folder", "a directory"),
        ("dangling", "does not exist"),
        ("socket", "a socket"),
        ("/dev/null", "a device"),
        ("new/", "a directory"),
    ];
    for (path, reason) in bad {
        for launch in [
            write_service(&directory).flag("--db", path),
            write_service(&directory).flag("--db", path).argument("--verify"),
            write_service(&directory).flag("--db", path).flag("--backup", "copy"),
            read_service(&directory).flag("--db", path),
            read_service(&directory).flag("--db", path).argument("--verify"),
        ] {
            assert_ended(&launch.run(), 2, reason);
        }
    }
    let memory = write_service(&directory).flag("--event-store", "sqlite::memory:").run();
    assert_ended(&memory, 2, "path of a file");
    let memory = write_service(&directory).flag("--backup", ":memory:").run();
    assert_ended(&memory, 2, "path of a file");
    assert!(!directory.join(":memory:").exists() && !directory.join("nowhere").exists());
}

#[test]
fn a_file_beside_the_database_that_is_no_file_is_refused() {
    for suffix in ["-wal", "-shm", "-lock", "-journal"] {
        let directory = Directory::fresh();
        let pipe = directory.join(&format!("{LOG}{suffix}"));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_ended(&write_service(&directory).run(), 2, "a named pipe");
        assert!(!directory.join(LOG).exists());
    }
}

#[test]
fn a_path_is_a_path_whatever_sqlite_would_make_of_it() {
    let directory = Directory::fresh();
    for name in ["file:log.sqlite3", "file::memory:?cache=shared", "log.sqlite3?mode=memory", "a%41 b"] {
        let process = write_service(&directory).flag("--db", name).start();
        process.client().post("/accounts", &json!({"owner": "Ada"})).expect(201);
        assert_eq!(process.stop().status.code(), Some(0));
        assert!(std::fs::metadata(directory.join(name)).unwrap().len() > 0, "{name}");
        let copy = format!("{name}.copy");
        for flags in [&["--verify"][..], &["--backup", &copy]] {
            let launch = Launch::of(Binary::Write, &directory).flag("--db", name);
            let ended = flags.iter().fold(launch, |launch, flag| launch.argument(flag)).run();
            assert_eq!(ended.status.code(), Some(0), "{name}: {ended:?}");
        }
        assert!(std::fs::metadata(directory.join(&copy)).unwrap().len() > 0, "{copy}");
        let read = read_service(&directory).flag("--db", format!("{name}.read")).start();
        assert!(std::fs::metadata(directory.join(&format!("{name}.read"))).unwrap().is_file());
        assert_eq!(read.stop().status.code(), Some(0));
    }
}

#[test]
fn folders_of_a_database_are_made_where_they_are_missing_and_not_by_a_look() {
    let directory = Directory::fresh();
    let verified = write_service(&directory).flag("--db", "a/b/log.sqlite3").argument("--verify").run();
    assert_eq!((verified.status.code(), directory.join("a").exists()), (Some(1), false), "{verified:?}");
    write_service(&directory).flag("--db", "a/b/log.sqlite3").start();
    read_service(&directory).flag("--db", "c/d/rows.sqlite3").start();
    assert!(directory.join("a/b/log.sqlite3").exists() && directory.join("c/d/rows.sqlite3").exists());
    std::fs::write(directory.join("file"), "").unwrap();
    let ended = write_service(&directory).flag("--db", "file/log.sqlite3").run();
    assert_ended(&ended, 1, "cannot make the directory");
}

// ----------------------------------------------------------------------------- the lock file

#[test]
fn a_log_that_is_gone_is_known_for_a_loss_and_no_new_one_is_begun() {
    let bank = Bank::start();
    bank.open();
    let directory = bank.stopped();
    std::fs::rename(directory.join(LOG), directory.join("elsewhere")).unwrap();
    assert_ended(&write_service(&directory).run(), 1, "to begin another log, delete");
    assert!(!directory.join(LOG).exists());
    std::fs::rename(directory.join("elsewhere"), directory.join(LOG)).unwrap();
    assert_eq!(Bank::on(directory).head(), 1);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_lock_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let bank = Bank::start();
    let directory = bank.stopped();
    let lock = directory.join("write_db.sqlite3-lock");
    assert_eq!(mode(&lock), 0o600);
    std::fs::set_permissions(&lock, std::fs::Permissions::from_mode(0o644)).unwrap();
    let bank = Bank::on(directory);
    assert_eq!(mode(&bank.directory().join("write_db.sqlite3-lock")), 0o600);
}

#[test]
fn a_lock_that_keeps_the_service_from_starting_is_named_with_its_process() {
    for name in [LOG, "write_db.sqlite3-lock"] {
        let directory = Bank::start().stopped();
        let file = std::fs::File::open(directory.join(name)).unwrap();
        file.lock_shared().unwrap();
        let ended = write_service(&directory).run();
        assert_ended(&ended, 1, "as a shared lock");
        assert!(ended.stderr.contains(&format!("process {}", std::process::id())), "{ended:?}");
        file.unlock().unwrap();
        write_service(&directory).start();
    }
}

#[test]
fn a_look_by_another_process_does_not_keep_the_service_from_starting() {
    let mut directory = Bank::start().stopped();
    for _ in 0..5 {
        let verifying = Launch::of(Binary::Write, &directory).argument("--verify").spawn();
        directory = Bank::on(directory).stopped();
        let verified = verifying.ended();
        assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    }
}
