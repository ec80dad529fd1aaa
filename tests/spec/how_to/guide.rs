//! A guide as its readers follow it: the diffs, and for each diff, how a reader who forgets it finds out.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the guides are.
const FOLDER: &str = "docs/how-to";
/// Begins the paragraph after a diff that names, in backquotes, what finds the diff's absence: an error of the
/// compiler such as `error[E0004]`, or a test. Every one of them must find the absence.
const FORGOTTEN: &str = "Forgotten?";

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A guide with its diffs, in order.
#[derive(Debug)]
pub(super) struct Guide {
    pub(super) path: String,
    pub(super) steps: Vec<Step>,
}

/// A diff, and what finds its absence.
#[derive(Debug)]
pub(super) struct Step {
    /// The line of the guide on which the diff begins.
    pub(super) line: usize,
    pub(super) diff: String,
    /// Empty when only a reader finds the absence; nothing when the guide does not say.
    pub(super) found_by: Option<Vec<String>>,
}

impl Guide {
    /// Reads a guide; the path is relative to the repository.
    pub(super) fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        Self { path: path.to_owned(), steps: steps(&text) }
    }

    /// Every guide that has diffs.
    pub(super) fn all() -> Vec<Self> {
        let entries = std::fs::read_dir(root().join(FOLDER)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let guides = names.filter(|name| name.ends_with(".md"));
        let guides = guides.map(|name| Self::read(&format!("{FOLDER}/{name}")));
        guides.filter(|guide| !guide.steps.is_empty()).collect()
    }

    /// Fails unless the diffs apply to the tree, each alone and all together.
    pub(super) fn assert_applies(&self) {
        for Step { line, diff, .. } in &self.steps {
            let refusal = refusal_of(diff);
            assert_eq!(refusal, None, "{}:{line}: the tree has changed, and the diff must follow", self.path);
        }
        let whole: String = self.steps.iter().map(|step| step.diff.as_str()).collect();
        assert_eq!(refusal_of(&whole), None, "{}: the diffs do not apply together", self.path);
    }
}

/// The steps of a text.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut is_diff, mut is_about_forgetting) = (false, false);
    for (index, line) in text.lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            is_diff = language == "diff";
            if is_diff {
                steps.push(Step { line: index + 1, diff: String::new(), found_by: None });
            }
            continue;
        }
        let Some(step) = steps.last_mut() else { continue };
        if is_diff {
            step.diff.extend([line, "\n"]);
            continue;
        }
        is_about_forgetting = line.starts_with(FORGOTTEN) || is_about_forgetting && !line.is_empty();
        if is_about_forgetting {
            let found_by = step.found_by.get_or_insert_default();
            found_by.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    steps
}

/// What git says against a diff, if it does not apply to the tree.
fn refusal_of(diff: &str) -> Option<String> {
    let (applied, said) = git_apply(root(), &["--check"], diff);
    (!applied).then_some(said)
}

/// Runs `git apply` in a directory, and returns whether the diff applied and what git said.
pub(super) fn git_apply(directory: &Path, options: &[&str], diff: &str) -> (bool, String) {
    let mut command = Command::new("git");
    command.arg("apply").args(options).arg("-").current_dir(directory);
    // A repository above the directory is none of its business: git would skip what lies elsewhere.
    command.env("GIT_CEILING_DIRECTORIES", directory.parent().unwrap()).env_remove("GIT_DIR");
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut git = command.spawn().expect("git is installed");
    git.stdin.take().unwrap().write_all(diff.as_bytes()).unwrap();
    let output = git.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_guide_is_read_as_diffs_and_what_finds_their_absence() {
    let text = "# Title\n\n```diff\n--- a/x\n+++ b/x\n```\n\nWhy `this`.\n\nForgotten? The compiler says\n`error[E1]`, or `a::b`.\n\n`c`\n\n\
                ```rust\n-no\n```\n\n```diff\n+y\n```\n";
    let steps = steps(text);
    let found: Vec<_> = steps.iter().map(|step| (step.line, step.diff.as_str())).collect();
    assert_eq!(found, [(3, "--- a/x\n+++ b/x\n"), (19, "+y\n")]);
    assert_eq!(steps[0].found_by, Some(["error[E1]", "a::b"].map(str::to_owned).into()));
    assert_eq!(steps[1].found_by, None);
}

#[test]
fn a_diff_that_does_not_fit_the_tree_is_refused() {
    let text = std::fs::read_to_string(root().join("rustfmt.toml")).unwrap();
    let diff = |line: &str| {
        let rest: String = text.lines().skip(1).map(|line| format!(" {line}\n")).collect();
        let (old, new) = (text.lines().count(), text.lines().count() + 1);
        format!(
            "--- a/rustfmt.toml\n+++ b/rustfmt.toml\n@@ -1,{old} +1,{new} @@\n {line}\n+# A comment.\n{rest}"
        )
    };
    assert_eq!(refusal_of(&diff(text.lines().next().unwrap())), None);
    assert!(refusal_of(&diff("no such line")).unwrap().contains("rustfmt.toml"));
}
