//! The rules of the source text, held by reading it.
//!
//! The import rules are the architecture: pure modules do no I/O, mechanisms know neither the
//! domain nor each other, and the write side and the read side meet over HTTP alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 60;

/// What each module of `src/` may use of the others. Who is not named here is wiring and may use
/// all but what [`APART`] forbids.
const MAY_USE: [(&str, &[&str]); 11] = [
    ("account", &["es", "limits"]),
    ("es", &["gate", "lock", "time", "watch"]),
    ("http", &["gate", "host", "lock", "time", "watch"]),
    ("limits", &[]),
    ("time", &[]),
    ("lock", &[]),
    ("watch", &["lock"]),
    ("host", &[]),
    ("registry", &["gate", "host", "http", "limits", "lock", "time", "watch"]),
    ("discovery", &["host", "lock", "watch"]),
    ("gate", &["lock"]),
];

/// The import rule that is CQRS.
const APART: [(&str, &str); 2] = [("write_side", "read_side"), ("read_side", "write_side")];

/// Modules that compute and do nothing else, and what they must not name.
const PURE: [&str; 1] = ["account"];
const EFFECTS: [&str; 9] = [
    "std::fs",
    "std::io",
    "std::net",
    "std::thread",
    "std::env",
    "std::process",
    "SystemTime",
    "Instant::now",
    "now_v7",
];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn files(under: &str) -> Vec<Self> {
        let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(under)];
        let mut files = Vec::new();
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    files.push(Self { path, text });
                }
            }
        }
        assert!(!files.is_empty(), "nothing under {under}");
        files
    }

    /// The module of `src/` that the file belongs to: `http` for `src/http/router.rs`.
    fn module(&self) -> String {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let inside = self.path.strip_prefix(source).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        first.trim_end_matches(".rs").to_owned()
    }

    /// The lines of code: no comments, and so no links of the documentation.
    fn code(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter(|line| !line.trim_start().starts_with("//"))
    }

    /// The lines of code before the tests.
    fn code_without_tests(&self) -> Vec<&str> {
        if self.path.ends_with("tests.rs") || self.path.components().any(|part| part.as_os_str() == "tests") {
            return Vec::new();
        }
        self.code().take_while(|line| *line != "mod tests {").collect()
    }

    /// The modules of this crate that the code names.
    fn uses(&self) -> BTreeSet<String> {
        let code: Vec<_> = self.code().collect();
        used_modules(&code.join("\n"))
    }
}

/// The first names of all paths that begin with `crate::`, of `crate::{a, b::c}` too.
fn used_modules(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let names = match rest.strip_prefix('{') {
            Some(group) => top_level_names(group),
            None => vec![rest],
        };
        let word = |name: &str| {
            name.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned)
        };
        used.extend(names.into_iter().filter_map(word).filter(|name| !name.is_empty()));
    }
    used
}

fn top_level_names(group: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(&group[start..at]);
                start = at + 1;
            }
            _ => (),
        }
    }
    names
}

#[test]
fn the_reader_of_imports_finds_them_all() {
    let code = "use crate::es::Page;\nuse crate::{\n    http::{Request, Response},\n    watch,\n};\nlet x = crate::metrics::f();";
    let used: Vec<_> = used_modules(code).into_iter().collect();
    assert_eq!(used, ["es", "http", "metrics", "watch"]);
}

#[test]
fn mechanisms_know_neither_the_domain_nor_each_other() {
    for source in Source::files("src") {
        let module = source.module();
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            continue;
        };
        for used in source.uses() {
            assert!(
                used == module || allowed.contains(&used.as_str()),
                "{}: {module} must not use {used}",
                source.path.display()
            );
        }
    }
}

#[test]
fn the_write_side_and_the_read_side_never_import_each_other() {
    for source in Source::files("src") {
        for (side, other) in APART.iter().filter(|(side, _)| *side == source.module()) {
            assert!(
                !source.uses().contains(*other),
                "{}: {side} must not use {other}",
                source.path.display()
            );
        }
    }
}

#[test]
fn pure_modules_do_nothing_but_compute() {
    for source in Source::files("src").iter().filter(|source| PURE.contains(&source.module().as_str())) {
        for line in source.code() {
            let effect = EFFECTS.iter().find(|effect| line.contains(**effect));
            assert_eq!(effect, None, "{}: {line}", source.path.display());
        }
    }
}

#[test]
fn a_file_says_first_what_it_is_and_can_be_held_in_the_head() {
    for source in Source::files("src").iter().chain(&Source::files("tests")) {
        assert!(source.text.starts_with("//! "), "{}: begin with what it is", source.path.display());
        let lines = source.text.lines().count();
        assert!(lines <= MAX_FILE_LINES, "{}: {lines} lines", source.path.display());
    }
}

#[test]
fn a_function_fits_on_a_screen() {
    for source in Source::files("src").iter().chain(&Source::files("tests")) {
        let lines: Vec<_> = source.text.lines().collect();
        for first in (0..lines.len()).filter(|first| is_function(&lines[*first..])) {
            // The code is formatted, so a function ends where its indentation comes back.
            let indent = lines[first].len() - lines[first].trim_start().len();
            let end = format!("{}}}", &lines[first][..indent]);
            let length = lines[first..].iter().position(|line| *line == end).map_or(1, |last| last + 1);
            let place = format!("{}:{}", source.path.display(), first + 1);
            assert!(length <= MAX_FUNCTION_LINES, "{place}: {length} lines: {}", lines[first].trim());
        }
    }
}

/// Whether a function with a body begins at the first of `lines`.
fn is_function(lines: &[&str]) -> bool {
    let words = lines[0].trim_start();
    let after_visibility = match words.strip_prefix("pub(") {
        Some(restricted) => restricted.split_once(") ").map_or("", |(_, rest)| rest),
        None => words.strip_prefix("pub ").unwrap_or(words),
    };
    let opening = lines.iter().find(|line| line.ends_with(['{', ';']));
    after_visibility.strip_prefix("const ").unwrap_or(after_visibility).starts_with("fn ")
        && opening.is_some_and(|line| line.ends_with('{'))
}

#[test]
fn input_is_never_unwrapped_and_no_queue_is_unbounded() {
    for source in Source::files("src") {
        for line in source.code_without_tests() {
            for forbidden in [".unwrap()", "mpsc::channel", " channel()", "unimplemented!", "todo!"] {
                assert!(!line.contains(forbidden), "{}: {}", source.path.display(), line.trim());
            }
        }
    }
}

/// Where results of the storage come by. `drop(..)` says that one is known not to matter, and a comment why.
const NEAR_THE_STORAGE: [&str; 5] =
    ["src/es", "src/read_side", "src/write_side", "src/service", "src/registry"];

/// These write to the terminal, into a string, and to a channel of this process.
const FAR_FROM_IT: [&str; 4] =
    ["service/config/", "service/logger.rs", "service/metrics/", "service/shutdown.rs"];

#[test]
fn no_result_of_the_storage_is_discarded_in_passing() {
    let is_near = |source: &Source| {
        let path = source.path.to_string_lossy();
        !FAR_FROM_IT.iter().any(|part| path.contains(part))
    };
    for source in NEAR_THE_STORAGE.into_iter().flat_map(Source::files).filter(is_near) {
        for line in source.code_without_tests() {
            let line = line.trim();
            let discards = line.starts_with("let _ =") || (line.ends_with(".ok();") && !line.contains(" = "));
            assert!(!discards, "{}: {line}", source.path.display());
        }
    }
}

#[test]
fn tests_wait_for_conditions_and_never_sleep() {
    // Taken apart, so that this line does not find itself.
    let sleep = ["thread::", "sleep("].concat();
    for source in Source::files("tests") {
        assert!(!source.text.contains(&sleep), "{}: wait for a condition", source.path.display());
    }
    for source in Source::files("src") {
        let tests = source.text.split_once("mod tests {").map_or("", |(_, tests)| tests);
        assert!(!tests.contains(&sleep), "{}: wait for a condition", source.path.display());
    }
}

/// The texts for people. They name places, and places move.
const DOCUMENTS: [&str; 3] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"];
/// A view from above: longer, and nobody keeps it true.
const MAX_ARCHITECTURE_LINES: usize = 150;

#[test]
fn every_file_and_test_that_a_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for document in DOCUMENTS {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        // Outside of blocks, what stands between backquotes is every second piece.
        let quoted = text.split("```").step_by(2).flat_map(|text| text.split('`').skip(1).step_by(2));
        for name in quoted.filter(|quoted| is_a_place(quoted)) {
            let (file, test) = name.split_once("::").map_or((name, None), |(file, test)| (file, Some(test)));
            assert!(root.join(file).exists(), "{document} names {name}, but there is no {file}");
            if let Some(test) = test {
                let source = std::fs::read_to_string(root.join(file)).unwrap();
                let is_there = source.contains(&format!("fn {test}("));
                assert!(is_there, "{document} names {name}, but there is no such test");
            }
        }
    }
}

/// `src/es/log/event_log.rs`, `schema.sql`, `tests/spec/tidy.rs::a_function_fits_on_a_screen`.
fn is_a_place(quoted: &str) -> bool {
    let file = quoted.split("::").next().unwrap_or(quoted);
    let ends = [".rs", ".sql", ".md", ".sh", ".toml", ".jsonl"].iter().any(|end| file.ends_with(end));
    let begins = ["src/", "tests/", "benches/", "examples/", "openapi/", ".ci/"];
    let is_one_word = !file.contains([' ', '*', '{']);
    is_one_word && (ends || begins.iter().any(|begin| file.starts_with(begin)))
}

#[test]
fn the_architecture_is_told_on_a_few_pages() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    assert!(text.lines().count() < MAX_ARCHITECTURE_LINES);
}
