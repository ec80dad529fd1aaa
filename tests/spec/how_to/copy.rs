//! A copy of the tree with the diffs of a guide, its builds and its tests.
//!
//! All guides share one copy and one build in `target/how-to/`, which stay: a file that is equal to the one before
//! is not written again, so that a second build compiles only what differs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::guide::{Guide, Step, git_apply, root};
use crate::support::{Binary, Directory, Launch, Process};

/// The copy belongs to one test at a time.
static TURN: Mutex<()> = Mutex::new(());

pub(super) struct Copy {
    room: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

/// What a run of cargo printed.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) is_success: bool,
    pub(super) text: String,
}

impl Copy {
    /// The tree as it is now, changed by the diffs.
    pub(super) fn with<'a>(diffs: impl Iterator<Item = &'a str>) -> Self {
        // A failed test leaves nothing behind that the next one would not overwrite.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let room = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../how-to");
        std::fs::create_dir_all(&room).unwrap();
        let copy = Self { room: room.canonicalize().unwrap(), _turn: turn };
        let fresh = copy.room.join("fresh");
        // Left behind by a run that was killed.
        let _ = std::fs::remove_dir_all(&fresh);
        for file in files(root()) {
            write(&fresh.join(&file), &std::fs::read(root().join(&file)).unwrap());
        }
        for diff in diffs {
            let (applied, said) = git_apply(&fresh, &[], diff);
            assert!(applied, "{said}");
        }
        mirror(&fresh, &copy.tree());
        std::fs::remove_dir_all(&fresh).unwrap();
        copy
    }

    fn tree(&self) -> PathBuf {
        self.room.join("tree")
    }

    /// Runs cargo in the copy.
    pub(super) fn cargo(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO"));
        command.args(arguments).current_dir(self.tree());
        command.env("CARGO_TARGET_DIR", self.room.join("build"));
        // Without debug information, which takes most of the time of a build, and without colours.
        command.envs([("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_PROFILE_TEST_DEBUG", "0")]);
        command.env("CARGO_TERM_COLOR", "never");
        let output = command.output().unwrap();
        let text = [output.stderr, output.stdout].concat();
        Ran { is_success: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() }
    }

    /// Builds the `tally` binary of the copy and starts it, with all three services on free ports.
    pub(super) fn start(&self, directory: &Directory) -> Process {
        self.cargo(&["build", "--locked", "--bin", "tally"]).expect_success();
        Launch::on_free_port(Binary::Tally, directory).from(self.room.join("build/debug/tally")).start()
    }

    /// Runs the tests of the library and of the specification whose names contain one of the texts.
    pub(super) fn tests(&self, names: &[&str]) -> Ran {
        self.cargo(
            &[&["test", "--locked", "--no-fail-fast", "--lib", "--test", "spec", "--"], names].concat(),
        )
    }
}

impl Guide {
    /// A copy of the tree with all diffs of the guide.
    pub(super) fn carried_out(&self) -> Copy {
        Copy::with(self.steps.iter().map(|step| step.diff.as_str()))
    }

    /// Leaves out each step in turn, and fails unless the compiler or the tests say what the guide says.
    pub(super) fn assert_each_forgotten_step_is_found(&self) {
        for (forgotten, Step { line, found_by, .. }) in self.steps.iter().enumerate() {
            let place = format!("{}:{line}", self.path);
            let Some(found_by) = found_by else {
                panic!("{place}: the guide does not say what finds a forgotten diff");
            };
            if found_by.is_empty() {
                continue;
            }
            let others = self.steps.iter().enumerate().filter(|(index, _)| *index != forgotten);
            let names: Vec<_> = found_by.iter().map(String::as_str).collect();
            let ran = Copy::with(others.map(|(_, step)| step.diff.as_str())).tests(&names);
            for found in found_by {
                assert!(ran.says(found), "{place}: {found} does not find its absence:\n{}", ran.text);
            }
            eprintln!("{place}: forgotten, found by {}", found_by.join(" and "));
        }
    }
}

impl Ran {
    #[track_caller]
    pub(super) fn expect_success(&self) {
        assert!(self.is_success, "{}", self.text);
    }

    /// Whether an error of the compiler has this text, or a test of this name has failed.
    fn says(&self, found: &str) -> bool {
        let has_failed = |line: &str| {
            line.strip_prefix("test ").is_some_and(|rest| rest.starts_with(found) && rest.ends_with("FAILED"))
        };
        let is_error = found.starts_with("error");
        self.text.lines().any(|line| if is_error { line.starts_with(found) } else { has_failed(line) })
    }
}

/// The files of a directory that git tracks or would track.
fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(directory);
    let output = git.output().expect("git is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    let names = names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    // A file that was removed is tracked until the removal is committed.
    names.filter(|name| directory.join(name).is_file()).collect()
}

/// Writes a file and its folders.
fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Makes `to` equal to `from`, and leaves equal files as they are.
fn mirror(from: &Path, to: &Path) {
    let (wanted, present) = (all_below(from), all_below(to));
    for file in &wanted {
        let content = std::fs::read(from.join(file)).unwrap();
        if std::fs::read(to.join(file)).ok().as_ref() != Some(&content) {
            write(&to.join(file), &content);
        }
    }
    for file in present.difference(&wanted) {
        std::fs::remove_file(to.join(file)).unwrap();
    }
}

/// All files below a directory, relative to it.
fn all_below(directory: &Path) -> BTreeSet<PathBuf> {
    let (mut folders, mut files) = (vec![directory.to_owned()], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(directory).unwrap().to_owned());
            }
        }
    }
    files
}

#[test]
fn a_copy_follows_the_tree_and_rewrites_only_what_differs() {
    let directory = Directory::fresh();
    let (from, to) = (directory.join("from"), directory.join("to"));
    for (file, text) in [("a/equal", "1"), ("a/changed", "2"), ("new", "3")] {
        write(&from.join(file), text.as_bytes());
    }
    for (file, text) in [("a/equal", "1"), ("a/changed", "0"), ("a/gone", "4")] {
        write(&to.join(file), text.as_bytes());
    }
    let written_at = || std::fs::metadata(to.join("a/equal")).unwrap().modified().unwrap();
    let before = written_at();
    mirror(&from, &to);
    assert_eq!(all_below(&to), all_below(&from));
    assert_eq!(std::fs::read_to_string(to.join("a/changed")).unwrap(), "2");
    assert_eq!(written_at(), before);
}
